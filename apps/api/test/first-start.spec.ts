// Two real API processes that start at the same time on an empty database.
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { afterAll, describe, expect, it } from 'vitest';
import { freePort } from '../../../test/servers.js';
import { until } from './fixture.js';
import {
  dropDatabase,
  emptyDatabase,
  listens,
  migratedDatabase,
  POSTGRES,
  POSTGRES_PORT,
} from './test-databases.js';

const MAIN = fileURLToPath(new URL('process.mjs', import.meta.url));

interface Where {
  readonly url: string;
  readonly apiKey: string | null;
  readonly joinToken: string | null;
  readonly warnings: readonly string[];
}

describe.skipIf(!(await listens(POSTGRES_PORT)))('two processes on an empty database', () => {
  const ends: (() => unknown)[] = [];
  afterAll(async () => {
    for (const end of ends.reverse()) await end();
  });

  const ask = async <Row extends object>(url: string, sql: string): Promise<Row[]> => {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    return (await client.query<Row>(sql).finally(() => client.end())).rows;
  };

  const newDatabase = async (): Promise<string> => {
    const name = await emptyDatabase();
    ends.push(() => dropDatabase(name));
    return `${POSTGRES}/${name}`;
  };

  const folder = (): string => {
    const made = mkdtempSync(join(tmpdir(), 'graft-first-'));
    ends.push(() => rmSync(made, { recursive: true, force: true }));
    return made;
  };

  const start = (config: object): { child: ChildProcess; where: () => Promise<Where> } => {
    const child = spawn(process.execPath, [MAIN, JSON.stringify(config)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let out = '';
    child.stdout?.on('data', (text: Buffer) => (out += text.toString()));
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    ends.push(async () => {
      child.kill('SIGKILL');
      await gone;
    });
    const where = async (): Promise<Where> => {
      await until(() => out.includes('\n') || child.exitCode !== null, 60_000);
      return JSON.parse(out.slice(out.indexOf('{'))) as Where;
    };
    return { child, where };
  };

  const both = async (configs: readonly object[]): Promise<Where[]> =>
    Promise.all(configs.map(start).map(({ where }) => where()));

  const made = async (databaseUrl: string) =>
    (
      await ask(
        databaseUrl,
        `SELECT (SELECT count(*)::int FROM api_key) AS keys, (SELECT count(*)::int FROM join_token) AS tokens,
           (SELECT count(*)::int FROM installation) AS installations,
           (SELECT count(*)::int FROM gateway) AS gateways`,
      )
    )[0];

  it('with one home share the key and the token', async () => {
    const databaseUrl = await newDatabase();
    const home = folder();
    const [a, b] = await both([
      { home, databaseUrl },
      { home, databaseUrl },
    ]);
    expect(await made(databaseUrl)).toEqual({ keys: 1, tokens: 1, installations: 1, gateways: 2 });
    expect(a?.apiKey).toMatch(/^sk-graft-/);
    expect(b).toMatchObject({ apiKey: a?.apiKey, joinToken: a?.joinToken, warnings: [] });
  }, 90_000);

  it('with separate homes: one writes the credentials, the other writes none and warns', async () => {
    const databaseUrl = await newDatabase();
    const homes = [folder(), folder()];
    // The blob folder must be shared.
    const blobs = join(folder(), 'blobs');
    const all = await both(homes.map((home) => ({ home, databaseUrl, blobs })));
    expect(await made(databaseUrl)).toEqual({ keys: 1, tokens: 1, installations: 1, gateways: 2 });
    const first = all.findIndex(({ apiKey }) => apiKey !== null);
    const [withKey, without] = [all[first], all[1 - first]];
    expect(withKey?.warnings).toEqual([]);
    expect(without).toMatchObject({ apiKey: null, joinToken: null });
    expect(without?.warnings).toEqual([expect.stringContaining('no credentials.json was written')]);
    expect(existsSync(join(homes[1 - first] ?? '', 'credentials.json'))).toBe(false);
    expect(existsSync(join(homes[1 - first] ?? '', 'join-token'))).toBe(false);
    const written = readFileSync(join(homes[first] ?? '', 'credentials.json'), 'utf8');
    expect(JSON.parse(written)).toMatchObject({ api_key: withKey?.apiKey });
    for (const { url } of all) {
      const answer = await fetch(`${url}/v1/models`, {
        headers: { authorization: `Bearer ${withKey?.apiKey}` },
      });
      expect(answer.status).toBe(200);
    }
  }, 90_000);

  it('are not ready before the credentials are written', async () => {
    const name = await migratedDatabase();
    ends.push(() => dropDatabase(name));
    const databaseUrl = `${POSTGRES}/${name}`;
    const home = folder();
    // The first key cannot be written while this transaction is open.
    const holder = new pg.Client({ connectionString: databaseUrl });
    await holder.connect();
    ends.push(() => holder.end());
    await holder.query('BEGIN; LOCK TABLE api_key IN ACCESS EXCLUSIVE MODE');
    const port = await freePort();
    const { where } = start({ home, databaseUrl, port });
    const ready = async (): Promise<Response | null> =>
      fetch(`http://127.0.0.1:${port}/readyz`).catch(() => null);
    await until(async () => (await ready()) !== null, 60_000);
    const early = await ready();
    expect([early?.status, await early?.json()]).toMatchObject([503, { process: 'starting' }]);
    expect(existsSync(join(home, 'credentials.json'))).toBe(false);
    await holder.query('COMMIT');
    await until(async () => (await ready())?.status === 200, 60_000);
    expect(existsSync(join(home, 'credentials.json'))).toBe(true);
    await where();
  }, 90_000);
});
