import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ModelObject } from '@graft/contracts';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { writeTinyBase } from '../../../test/tiny-base.js';
import { startTestApi, until, type TestApi } from './fixture.js';
import { loseConnection } from './lost-connection.js';

// An import belongs to one API process at a time. Another process resumes it if that one dies.

const LEASE_MS = 1500;
let scratch: string;
let base: string;
let hub: Server;
let api: TestApi;
const children: ChildProcess[] = [];
/** Names of files whose content was requested, in order. */
let asked: string[] = [];
/** File whose responses stop half-way until `release` is called. */
let stuck: string | null = null;
let waiting: (() => void)[] = [];
/** Whether released responses are aborted instead of completed. */
let breaksOff = false;

/** Sends the whole content, or half of it and the rest after `release`. */
function send(response: ServerResponse, content: Buffer, isStuck: boolean): void {
  response.setHeader('content-length', content.length);
  if (!isStuck) return void response.end(content);
  const half = Math.floor(content.length / 2);
  response.write(content.subarray(0, half));
  waiting.push(() => (breaksOff ? response.destroy() : response.end(content.subarray(half))));
}

function serveHub(folder: string): Server {
  return createServer((request, response) => {
    const path = decodeURIComponent((request.url ?? '').split('?')[0] ?? '');
    if (path.startsWith('/api/models/Org/Tiny/tree/main')) {
      const list = readdirSync(folder).map((name) => ({
        type: 'file',
        path: name,
        size: statSync(join(folder, name)).size,
        oid: name,
      }));
      return void response.setHeader('content-type', 'application/json').end(JSON.stringify(list));
    }
    const name = /^\/Org\/Tiny\/resolve\/main\/([\w.-]+)$/.exec(path)?.[1] ?? '';
    const content = readFileSync(join(folder, name));
    response.setHeader('etag', `"${name}"`).setHeader('accept-ranges', 'bytes');
    const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
    if (request.method === 'HEAD')
      return void response.setHeader('content-length', content.length).end();
    if (from === undefined) {
      asked.push(name);
      return send(response, content, name === stuck);
    }
    const end = to ? Math.min(Number(to), content.length - 1) : content.length - 1;
    response.statusCode = 206;
    response.setHeader('content-range', `bytes ${from}-${end}/${content.length}`);
    // The client requests the first byte to get the size.
    if (end - Number(from) > 0) asked.push(name);
    send(response, content.subarray(Number(from), end + 1), name === stuck && end > Number(from));
  });
}

beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'graft-imports-'));
  base = writeTinyBase(join(scratch, 'base'));
  hub = serveHub(base).listen(0, '127.0.0.1');
  await until(() => hub.listening);
});
beforeEach(async () => {
  asked = [];
  stuck = null;
  waiting = [];
  breaksOff = false;
  api = await startTestApi({ leaseMs: LEASE_MS, importStallMs: 60_000, hubUrl: hubUrl() });
});
afterEach(async () => {
  release();
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await api?.close();
});
afterAll(() => {
  hub?.closeAllConnections();
  hub?.close();
  rmSync(scratch, { recursive: true, force: true });
});

const hubUrl = () => `http://127.0.0.1:${(hub.address() as AddressInfo).port}`;
function release(): void {
  stuck = null;
  for (const go of waiting.splice(0)) go();
}

/** Starts another API process with the same database and blobs. */
async function another() {
  const config = {
    home: mkdtempSync(join(scratch, 'home-')),
    databaseUrl: api.databaseUrl,
    queuePrefix: api.config.queuePrefix,
    blobs: join(api.home, 'blobs'),
    leaseMs: LEASE_MS,
    hubUrl: hubUrl(),
  };
  const child = spawn(
    process.execPath,
    [fileURLToPath(new URL('process.mjs', import.meta.url)), JSON.stringify(config)],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  );
  children.push(child);
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
  await until(() => /^ready .*\n/m.test(text), 30_000);
  const { url } = JSON.parse(/^ready (.*)\n/m.exec(text)?.[1] ?? '') as { url: string };
  return { child, url };
}

const ask = (url: string) =>
  fetch(`${url}/v1/models`, {
    method: 'POST',
    headers: { ...api.headers, 'content-type': 'application/json' },
    body: JSON.stringify({ id: 'tiny', source: 'hub:Org/Tiny' }),
  });
const model = async () => (await api.get<ModelObject>('/models/tiny')).graft;

it('two processes that get the same request import once', async () => {
  const { url } = await another();
  const answers = await Promise.all([ask(api.url), ask(url), ask(api.url), ask(url)]);
  for (const { status } of answers) expect(status).toBe(200);
  await until(async () => (await model())?.status === 'ready');
  expect(asked.filter((name) => name === 'model.safetensors')).toHaveLength(1);
});

it('is resumed by another process after the first was killed, without repeating stored files', async () => {
  stuck = 'model.safetensors';
  const { child, url } = await another();
  expect((await ask(url)).status).toBe(200);
  await until(() => waiting.length > 0);
  child.kill('SIGKILL');
  release();
  await until(async () => (await model())?.status === 'ready');
  expect(asked.filter((name) => name === 'config.json')).toHaveLength(1);
  expect(asked.filter((name) => name === 'model.safetensors')).toHaveLength(2);
});

it('is resumed immediately after the first process was stopped, as in a rolling restart', async () => {
  stuck = 'model.safetensors';
  const { child, url } = await another();
  expect((await ask(url)).status).toBe(200);
  await until(() => waiting.length > 0);
  child.kill('SIGTERM');
  await until(() => child.exitCode !== null);
  release();
  await until(async () => (await model())?.status === 'ready');
  expect(asked.filter((name) => name === 'config.json')).toHaveLength(1);
});

it('stays with a slow process, which writes nothing after it has lost the import', async () => {
  stuck = 'model.safetensors';
  await ask(api.url);
  await until(() => waiting.length > 0);
  await another();
  await new Promise((resolve) => setTimeout(resolve, 2 * LEASE_MS));
  expect(waiting).toHaveLength(1);
  await api.query(
    `UPDATE model SET import_owner = 'somebody', import_until = now() + interval '1 hour'`,
  );
  release();
  await new Promise((resolve) => setTimeout(resolve, LEASE_MS));
  expect((await model())?.status).toBe('importing');
  const [row] = await api.query<{ files: { name: string }[] }>('SELECT files FROM model');
  expect(row?.files.map(({ name }) => name)).not.toContain('model.safetensors');
});

it('fails if no more bytes arrive, with the name of the file', async () => {
  await api.close();
  api = await startTestApi({ leaseMs: LEASE_MS, importStallMs: 800, hubUrl: hubUrl() });
  stuck = 'model.safetensors';
  await ask(api.url);
  await until(async () => (await model())?.status === 'error');
  expect((await model())?.status_details).toBe('model.safetensors: no bytes for 0.8 s');
  release();
  await ask(api.url);
  await until(async () => (await model())?.status === 'ready');
});

it('fails if the hub closes the connection, with the name of the file', async () => {
  stuck = 'model.safetensors';
  await ask(api.url);
  await until(() => waiting.length > 0);
  breaksOff = true;
  release();
  await until(async () => (await model())?.status === 'error');
  expect((await model())?.status_details).toContain(`${hubUrl()}: model.safetensors broke off`);
  expect(await api.query('SELECT files FROM model')).toEqual([{ files: [] }]);
});

it('continues after a lost database connection', async () => {
  stuck = 'model.safetensors';
  await ask(api.url);
  await until(() => waiting.length > 0);
  const lost = loseConnection(api, 'blob');
  release();
  await lost;
  // The request itself may have used a lost connection.
  const statusNow = () =>
    model().then(
      (found) => found?.status,
      () => 'importing',
    );
  await until(async () => (await statusNow()) !== 'importing');
  expect(await model()).toMatchObject({ status: 'ready', status_details: null });
});
