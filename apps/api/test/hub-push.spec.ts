// Push of a model to the Hugging Face Hub, here a server with its paths: in one commit, with a token that is
// stored nowhere, only while the caller is connected, and to no other host unless the operator allows it.
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { ErrorBody, HubPushObject, JobObject } from '@graft/contracts';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { Hub } from './hub-server.js';
import { ask } from './projects.js';
import { ScriptedWorker, finished, started } from './scripted-worker.js';

const TOKEN = 'hf_aTokenThatIsKeptNowhere';
const WEIGHTS = 'w'.repeat(300_000);

const blobs = mkdtempSync(join(tmpdir(), 'graft-push-blobs-'));
let api: TestApi;
let hub: Hub;
let other: Hub;
let model: string;
beforeAll(async () => {
  hub = await Hub.start(TOKEN);
  other = await Hub.start(TOKEN);
  api = await startTestApi({ hubUrl: hub.url, blobs });
  await importBase(api);
  const worker = await new ScriptedWorker(api).connect();
  const body = { model: 'tiny', training_file: await uploadChats(api) };
  const { id } = await api.post<JobObject>('/fine_tuning/jobs', body);
  const lease = await worker.nextAssignment();
  const files = [
    await worker.put(lease, 'adapter_config.json', '{"peft_type":"LORA"}'),
    await worker.put(lease, 'adapter_model.safetensors', WEIGHTS),
  ];
  await worker.report(lease, started(0, 1), finished(1, files));
  const job = () => api.get<JobObject>(`/fine_tuning/jobs/${id}`);
  await until(async () => (await job()).fine_tuned_model !== null);
  model = (await job()).fine_tuned_model ?? '';
  worker.vanish();
});
beforeEach(() => {
  Object.assign(hub, { filesAt: null, holds: false, asked: () => undefined });
  hub.commits.length = 0;
});
afterEach(async () => {
  // The token must not be in the log or the database.
  expect(readFileSync(process.env['GRAFT_LOG_FILE'] ?? '', 'utf8')).not.toContain(TOKEN);
  const tables = await api.query<{ name: string }>(
    `SELECT quote_ident(table_schema) || '.' || quote_ident(table_name) AS name FROM information_schema.tables
     WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')`,
  );
  expect(tables.length).toBeGreaterThan(20);
  for (const { name } of tables)
    expect(await api.query(`SELECT 1 FROM ${name} AS one WHERE one::text LIKE '%${TOKEN}%'`)).toEqual([]); // prettier-ignore
});
afterAll(async () => {
  await api?.close();
  hub?.stop();
  other?.stop();
  rmSync(blobs, { recursive: true });
});

const send = (body: object, signal?: AbortSignal): Promise<Response> =>
  fetch(`${api.url}/v1/models/${model}/push`, {
    method: 'POST',
    headers: { ...api.headers, 'content-type': 'application/json' },
    body: JSON.stringify({ repo: 'someone/tuned', token: TOKEN, ...body }),
    ...(signal && { signal }),
  });
const refused = async (body: object): Promise<[number, ErrorBody['error']]> => {
  const answer = await send(body);
  const text = await answer.text();
  expect(text).not.toContain(TOKEN);
  return [answer.status, (JSON.parse(text) as ErrorBody).error];
};

it('uploads all files in one commit, and writes an audit entry', async () => {
  const answer = await send({ private: true });
  expect(answer.status).toBe(200);
  const done = (await answer.json()) as HubPushObject;
  expect(done).toMatchObject({ status: 'succeeded', url: `${hub.url}/someone/tuned`, model });
  expect(done.bytes_sent).toBe(done.total_bytes);
  expect(hub.created).toMatchObject([{ name: 'tuned', visibility: 'private' }]);
  const [commit] = hub.commits;
  expect(String(commit?.files.get('adapter_model.safetensors'))).toBe(WEIGHTS);
  expect([...(commit?.files.keys() ?? [])]).toContain('adapter_config.json');
  const log = await api.get<{ data: object[] }>('/organization/audit_logs?limit=1');
  expect(JSON.stringify(log.data)).toContain('model.pushed');
  expect(JSON.stringify(log.data)).toContain('someone/tuned');
});

it('limits concurrent and waiting pushes per project', async () => {
  hub.holds = true;
  const leaving = new AbortController();
  const answers: Promise<ErrorBody>[] = [];
  for (let n = 0; n < 4 + 16 + 1; n++)
    answers.push(send({}, leaving.signal).then((answer) => answer.json() as Promise<ErrorBody>));
  const { error } = await Promise.any(answers);
  expect(error).toMatchObject({
    code: 'unavailable',
    message: expect.stringContaining('too many models are being pushed for this project: 16 wait'),
  });
  leaving.abort();
  await Promise.allSettled(answers);
  hub.holds = false;
  expect((await send({})).status).toBe(200);
});

it('streams its progress if requested', async () => {
  const answer = await send({ stream: true });
  expect(answer.headers.get('content-type')).toContain('text/event-stream');
  const chunks = (await answer.text()).trim().split('\n\n').map((line) => line.slice(6)); // prettier-ignore
  expect(chunks.at(-1)).toBe('[DONE]');
  const reports = chunks.slice(0, -1).map((chunk) => JSON.parse(chunk) as HubPushObject);
  expect(reports[0]).toMatchObject({ status: 'running', bytes_sent: 0, url: null });
  expect(reports.at(-1)).toMatchObject({ status: 'succeeded', url: `${hub.url}/someone/tuned` });
});

/** Changes the model's stored files during a push. */
const eachBlob = (change: (path: string) => void): void => {
  for (const name of readdirSync(blobs, { recursive: true, encoding: 'utf8' }))
    if (/^[0-9a-f]{64}$/.test(basename(name))) change(join(blobs, name));
};

it('continues if a stored file is replaced by one with the same bytes', async () => {
  hub.asked = () =>
    eachBlob((path) => {
      copyFileSync(path, `${path}.new`);
      renameSync(`${path}.new`, path);
    });
  const answer = await send({ stream: true });
  expect(await answer.text()).toContain('"status":"succeeded"');
  expect(String(hub.commits[0]?.files.get('adapter_model.safetensors'))).toBe(WEIGHTS);
});

it('fails without a path in the error if its files disappear during the push', async () => {
  const away = `${blobs}-away`;
  hub.asked = () => void (existsSync(blobs) && renameSync(blobs, away));
  try {
    const answer = await send({ stream: true });
    const text = await answer.text();
    expect(text).toContain('a file of the model no longer exists');
    expect(text).not.toContain(blobs);
  } finally {
    renameSync(away, blobs);
  }
});

it('stops without a commit if the caller disconnects', async () => {
  hub.holds = true;
  const leaving = new AbortController();
  const answer = await send({ stream: true }, leaving.signal);
  const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
  let received = '';
  while (!received.includes('"bytes_sent":')) received += (await reader.read()).value ?? '';
  await until(() => hub.held > 0);
  leaving.abort();
  await until(() => hub.left > 0);
  expect(hub.commits).toEqual([]);
});

it('rejects what the hub rejects, and never returns the token', async () => {
  const [status, wrong] = await refused({ token: 'hf_wrong' });
  expect([status, wrong.param]).toEqual([400, 'token']);
  expect(wrong.message).toContain('Invalid token: Bearer [token]');
  expect(wrong.message).not.toContain('hf_wrong');
  for (const [body, param] of [
    [{ repo: 'tuned' }, 'repo'],
    [{ repo: '../x/y' }, 'repo'],
    [{ repo: '../..' }, 'repo'],
    [{ repo: 'someone/..' }, 'repo'],
    [{ token: '' }, 'token'],
    [{ token: `${TOKEN}\nX-Other: 1` }, 'token'],
    [{ token: { of: TOKEN } }, 'token'],
    [{ hub: 'https://example.org' }, 'hub'],
  ] as const)
    expect([400, param]).toEqual([(await refused(body))[0], (await refused(body))[1].param]);
  const base = await ask(api, api.apiKey, 'post', '/v1/models/tiny/push', {
    repo: 'a/b',
    token: TOKEN,
  });
  expect(base.text).toContain('only fine-tuned models and checkpoints');
});

it('sends no file to a private address that the hub returns', async () => {
  hub.filesAt = other.url;
  const [status, error] = await refused({});
  expect([status, error.code]).toEqual([503, 'unavailable']);
  expect(error.message).toContain('GRAFT_OUTBOUND_NETWORKS');
  expect(hub.commits).toEqual([]);
});

it('requires the scope to read files', async () => {
  const { secret } = await api.post<{ secret: string }>('/keys', {
    name: 'jobs only',
    scopes: ['jobs:read', 'models:read'],
  });
  const asked = await ask(api, secret, 'post', `/v1/models/${model}/push`, {});
  expect(asked.code).toBe('insufficient_scope');
});
