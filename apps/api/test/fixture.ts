// A real control plane for a test, with its own database and queue prefix. It uses the servers of this machine if there
// are any, otherwise the embedded Postgres.
import { startApi, type ApiConfig, type RunningApi } from '@graft/api';
import { mkdtempSync, rmSync, chmodSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import OpenAI, { APIError } from 'openai';
import pg from 'pg';
import { checkAnswers, undocumented } from './checked-answers.js';
import { POSTGRES_PORT, REDIS, uniqueName } from '../../../test/servers.js';
import { writeTinyBase } from '../../../test/tiny-base.js';
import { dropDatabase, listens, migratedDatabase } from './test-databases.js';

export { listens, POSTGRES_PORT, REDIS };

export interface TestApi extends RunningApi {
  readonly apiKey: string;
  readonly joinToken: string;
  readonly home: string;
  /** Config that the API was started with. */
  readonly config: ApiConfig;
  readonly databaseUrl: string;
  readonly client: OpenAI;
  readonly headers: Record<string, string>;
  /** Returns the rows of a query on the API's database, for data that no endpoint returns. */
  query<Row>(sql: string, values?: unknown[]): Promise<Row[]>;
  get<T>(path: string): Promise<T>;
  post<T>(path: string, body?: unknown): Promise<T>;
  /** Stops this API and starts another on the same database; `meanwhile` runs in between. */
  restart(meanwhile?: () => Promise<unknown>): Promise<void>;
}

export async function startTestApi(
  options: Partial<ApiConfig> & {
    redis?: boolean;
    embedded?: boolean;
    /** API that the new process joins, with the same database and home. It must be closed last. */
    beside?: TestApi;
    /** Port at which the API reaches the shared PostgreSQL, for tests that put a proxy between the two. */
    databasePort?: number;
  } = {},
): Promise<TestApi> {
  const { redis, embedded, beside, databasePort = POSTGRES_PORT, ...rest } = options;
  const home = beside?.home ?? mkdtempSync(join(tmpdir(), 'graft-api-'));
  chmodSync(home, 0o755);
  const shared = !embedded && !beside && (await listens(POSTGRES_PORT));
  const database = shared ? await migratedDatabase() : null;
  const config: ApiConfig = {
    // Most tests check whether blobs are deleted at all, not after what time.
    ...(beside?.config ?? { home, queuePrefix: uniqueName('api'), blobGraceMs: 0 }),
    ...(database
      ? { databaseUrl: `postgres://postgres@127.0.0.1:${databasePort}/${database}` }
      : {}),
    ...(redis ? { queueUrl: REDIS } : {}),
    ...rest,
  };
  const remove = async (): Promise<void> => {
    if (database) await dropDatabase(database);
    if (!beside) rmSync(home, { recursive: true, force: true });
  };
  let running = await startApi(config).catch(async (error: unknown) => {
    await remove();
    throw error;
  });
  await checkAnswers(running.url);
  const open = async (): Promise<pg.Pool> => {
    const connectionString = config.databaseUrl ?? (await embeddedUrl(home));
    const opened = new pg.Pool({ connectionString, max: 2 });
    // A test that kills its server must not fail on an idle connection.
    return opened.on('error', () => undefined);
  };
  let pool = await open();
  const headers = { authorization: `Bearer ${running.apiKey}` };
  const call = async <T>(method: string, path: string, body?: unknown): Promise<T> => {
    const response = await fetch(`${running.url}/v1${path}`, {
      method,
      headers: { ...headers, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const answer = (await response.json()) as T & { error?: { message: string } };
    if (!response.ok)
      throw new Error(`${method} ${path}: ${response.status} ${answer.error?.message}`);
    return answer;
  };
  return {
    get url() {
      return running.url;
    },
    get grpcUrl() {
      return running.grpcUrl;
    },
    get localGrpcUrl() {
      return running.localGrpcUrl;
    },
    get scalerUrl() {
      return running.scalerUrl;
    },
    get apiKey() {
      return running.apiKey ?? '';
    },
    get joinToken() {
      return running.joinToken ?? '';
    },
    get client() {
      return new OpenAI({ apiKey: running.apiKey, baseURL: `${running.url}/v1`, maxRetries: 0 });
    },
    get warnings() {
      return running.warnings;
    },
    home,
    config,
    databaseUrl: config.databaseUrl ?? '',
    headers,
    query: async <Row>(sql: string, values: unknown[] = []) =>
      (await pool.query(sql, values)).rows as Row[],
    get: (path) => call('GET', path),
    post: (path, body) => call('POST', path, body),
    restart: async (meanwhile) => {
      await running.close();
      await meanwhile?.();
      running = await startApi(config);
      await pool.end();
      // An embedded server restarts at another port.
      pool = await open();
    },
    drain: () => running.drain(),
    close: async () => {
      await pool.end();
      await running.close();
      await remove();
      const answers = undocumented();
      if (answers.length > 0)
        throw new Error(`not as the OpenAPI document has it:\n${answers.join('\n')}`);
    },
  };
}

async function embeddedUrl(home: string): Promise<string> {
  const { readFileSync } = await import('node:fs');
  const port = readFileSync(join(home, 'postgres', 'data', 'postmaster.pid'), 'utf8').split(
    '\n',
  )[3];
  const password = readFileSync(join(home, 'postgres', 'password'), 'utf8').trim();
  return `postgres://graft:${password}@127.0.0.1:${port}/graft`;
}

export const chats = (count: number): string =>
  Array.from({ length: count }, (_, n) =>
    JSON.stringify({
      messages: [
        { role: 'user', content: `${n}?` },
        { role: 'assistant', content: `${n}!` },
      ],
    }),
  ).join('\n') + '\n';

/** Imports the tiny base and waits until it is ready. */
export async function importBase(
  api: TestApi,
  id = 'tiny',
  dir = writeTinyBase(join(api.home, 'source')),
): Promise<void> {
  await api.post('/models', { id, source: `dir:${dir}` });
  await until(async () => {
    const { graft } = await api.get<{ graft: { status: string; status_details: string | null } }>(
      `/models/${id}`,
    );
    if (graft.status === 'error') throw new Error(graft.status_details ?? 'import failed');
    return graft.status === 'ready';
  });
}

export async function uploadChats(api: TestApi, count = 12): Promise<string> {
  const file = await api.client.files.create({
    file: new File([chats(count)], 'chats.jsonl'),
    purpose: 'fine-tune',
  });
  return file.id;
}

/**
 * Polls until a condition is true; the error names it. The interval grows up to 100 ms: most checks call an API, which
 * shares the processor with the work that they wait for.
 */
export async function until(
  holds: () => Promise<boolean> | boolean,
  limitMs = 15_000,
): Promise<void> {
  const begin = performance.now();
  while (!(await holds())) {
    const waited = performance.now() - begin;
    if (waited > limitMs)
      throw new Error(`not within ${limitMs} ms: ${holds.toString().slice(0, 200)}`);
    const pause = Math.min(100, Math.max(25, waited / 20));
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

/** Returns the error with which a call of the SDK fails. */
export async function caught(work: Promise<unknown>): Promise<APIError> {
  const error = await work.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof APIError)) throw new Error(`no refusal: ${String(error)}`);
  return error;
}

/** Returns the index of the API process that dispatches for a pool, in order of start; 0 is the oldest running one. */
export async function leaderOf(api: TestApi, pool: string): Promise<number> {
  const [leader] = await api.query<{ nth: number }>(
    `SELECT nth::int - 1 AS nth FROM (SELECT id, row_number() OVER (ORDER BY started_at) AS nth FROM gateway) AS gateway
     JOIN pg_stat_activity ON application_name = 'graft-' || gateway.id JOIN pg_locks USING (pid)
     WHERE locktype = 'advisory' AND granted AND datname = current_database() AND objid::int8 = hashtext($1)::int8 & 4294967295`,
    [pool],
  );
  return leader?.nth ?? -1;
}
