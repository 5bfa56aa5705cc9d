import type { ModelObject } from '@graft/contracts';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { ChildProcess } from 'node:child_process';
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import request from 'supertest';
import { pack } from 'tar-stream';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { writeTinyBase } from '../../../test/tiny-base.js';
import { deflatedZip } from './deflated-zip.js';
import { chats, importBase, startTestApi, until, type TestApi } from './fixture.js';

// Uploads are parsed in separate processes that can open only that file; the API's memory does not grow.

const GOLDEN = join(import.meta.dirname, '../../../test/golden/llama/lora');
const CONFIG = 'adapter_config.json';
const WEIGHTS = 'adapter_model.safetensors';
const [config, weights] = [CONFIG, WEIGHTS].map((name) => readFileSync(join(GOLDEN, name))) as [
  Buffer,
  Buffer,
];

let api: TestApi;
let started: ChildProcess[] = [];
const note = (message: unknown): number =>
  started.push((message as { process: ChildProcess }).process);

beforeAll(async () => {
  api = await startTestApi();
  await importBase(api);
  subscribe('child_process', note);
});
beforeEach(() => (started = []));
afterAll(async () => {
  unsubscribe('child_process', note);
  await api?.close();
});

/** Programs that the API started, in order, with their first argument. */
const programs = (): string[] =>
  started.map(({ spawnargs }) => {
    const at = spawnargs.findLastIndex((word) => /-process\.js$/.test(word));
    return `${basename(spawnargs[at] ?? '', '.js')} ${spawnargs[at + 1]}`;
  });

/** Paths in the API's home that its processes may open, other than their own input. */
const otherRules = (): string[] =>
  started.flatMap(({ spawnargs }) => {
    const own = spawnargs.at(-1) ?? '';
    return spawnargs.filter((word) => word.includes(api.home) && !word.endsWith(own));
  });

async function imported(id: string, folder: string): Promise<ModelObject['graft']> {
  await api.post('/models', { id, source: `dir:${folder}` });
  const model = async () => (await api.get<ModelObject>(`/models/${id}`)).graft;
  await until(async () => (await model())?.status !== 'importing', 200_000);
  return model();
}

function upload(files: Readonly<Record<string, Buffer>>): request.Test {
  const call = request(api.url).post('/v1/adapters').set(api.headers).field('model', 'tiny');
  for (const [name, content] of Object.entries(files)) void call.attach('file', content, name);
  return call;
}

const send = (content: Buffer, name: string): request.Test =>
  request(api.url)
    .post('/v1/files')
    .set(api.headers)
    .field('purpose', 'fine-tune')
    .attach('file', content, name);

const messageOf = async (answer: request.Test): Promise<string> =>
  ((await answer).body as { error: { message: string } }).error.message;

describe('a separate process reads', () => {
  afterEach(() => expect(otherRules()).toEqual([]));

  it('the files of a base', async () => {
    const folder = writeTinyBase(join(api.home, 'another'));
    expect(await imported('another', folder)).toMatchObject({ status: 'ready' });
    expect(programs()).toEqual(['inspect-process model']);
  });

  it('an adapter, as files and in a zip', async () => {
    expect((await upload({ [CONFIG]: config, [WEIGHTS]: weights })).status).toBe(200);
    expect(programs()).toEqual(['inspect-process adapter']);
    started = [];
    const zip = deflatedZip({ 'a/README.md': Buffer.from('# a'), [`a/${WEIGHTS}`]: weights, [`a/${CONFIG}`]: config }); // prettier-ignore
    expect((await upload({ 'a.zip': zip })).status).toBe(200);
    expect(programs()).toEqual([
      'inspect-process zip',
      'unpack-process entry',
      'unpack-process entry',
      'inspect-process adapter',
    ]);
  });

  it('a datasets folder in a zip', async () => {
    const zip = readFileSync(join(import.meta.dirname, 'datasets/pandas.zip'));
    expect((await send(zip, 'a.zip')).status).toBe(200);
    expect(programs()).toEqual([
      'unpack-process shards',
      'unpack-process entry',
      'table-process arrow',
    ]);
  });

  it('a gzip archive', async () => {
    const tar = pack();
    tar.entry({ name: 'a/1.png' }, 'no image');
    tar.finalize();
    const packed = gzipSync(await buffer(tar));
    expect((await send(packed, 'a.tar.gz')).status).toBe(400);
    expect(programs()).toEqual(['unpack-process tar', 'archive-process tar']);
  });
});

it.each([
  ['eight archives', () => send(deflatedZip({ 'a.txt': Buffer.from('no image') }), 'a.zip')],
  ['eight zips of adapters', () => upload({ 'a.zip': deflatedZip({ [CONFIG]: config }) })],
])('%s waiting for their turn do not block other files of the project', async (_, call) => {
  const stop = (message: unknown): void => {
    const { process: reader } = message as { process: ChildProcess };
    // The child's pid is set by then.
    process.nextTick(() => reader.kill('SIGSTOP'));
  };
  subscribe('child_process', stop);
  const calls = Array.from({ length: 8 }, async () => (await call()).status);
  try {
    const incoming = (): string[] => readdirSync(join(api.home, 'blobs', 'incoming'));
    await until(() => started.length === 1 && incoming().length === 8);
    expect((await send(Buffer.from(chats(3)), 'chats.jsonl')).status).toBe(200);
  } finally {
    unsubscribe('child_process', stop);
    for (const reader of started) reader.kill('SIGCONT');
  }
  expect(new Set(await Promise.all(calls))).toEqual(new Set([400]));
});

describe("rejects, without growth of the API's memory,", () => {
  const MOST_KIB = 256 * 1024;
  let before: number;
  beforeEach(() => (before = process.resourceUsage().maxRSS));
  afterEach(() => expect(process.resourceUsage().maxRSS - before).toBeLessThan(MOST_KIB));

  const base = (id: string, files: Readonly<Record<string, string | Buffer>>): string => {
    const folder = join(api.home, `given-${id}`);
    cpSync(join(api.home, 'source'), folder, { recursive: true });
    for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
    return folder;
  };

  it('a tokenizer of twenty million objects', async () => {
    const folder = base('objects', { 'tokenizer.json': `{"a":[${'{},'.repeat(20e6)}{}]}` });
    expect(await imported('objects', folder)).toMatchObject({
      status: 'error',
      status_details: "the model's files cannot be read: it needs too much memory",
    });
  }, 240_000);

  it('a tokenizer nested a million levels deep', async () => {
    const folder = base('deep', { 'tokenizer.json': '['.repeat(1e6) + ']'.repeat(1e6) });
    const { status, status_details } = (await imported('deep', folder)) ?? {};
    expect(status).toBe('error');
    expect(status_details).toContain('tokenizer.json');
  }, 240_000);

  it('a GGUF of 2^60 tensors', async () => {
    const header = Buffer.alloc(64);
    header.write('GGUF');
    header.writeUInt32LE(3, 4);
    header.writeBigUInt64LE(2n ** 60n, 8);
    const file = join(api.home, 'absurd.gguf');
    writeFileSync(file, header);
    const { status, status_details } = (await imported('absurd', file)) ?? {};
    expect(status).toBe('error');
    expect(status_details).toContain('tensors');
  });

  it('an adapter zip with a path outside its folder', async () => {
    const zip = deflatedZip({ [`../${CONFIG}`]: config, [WEIGHTS]: weights });
    expect(await messageOf(upload({ 'a.zip': zip }))).toMatch(
      /^the zip cannot be read: .*relative/,
    );
  });

  it('an adapter zip that unpacks to a thousand times its size', async () => {
    const zip = deflatedZip({ [CONFIG]: config, [WEIGHTS]: Buffer.alloc(400 * 2 ** 20) });
    before = process.resourceUsage().maxRSS;
    expect(await messageOf(upload({ 'a.zip': zip }))).toContain('is not a safetensors file');
  });

  it('an adapter whose config is nested a hundred thousand levels deep', async () => {
    const deep = Buffer.from('['.repeat(1e5) + ']'.repeat(1e5));
    expect(await messageOf(upload({ [CONFIG]: deep, [WEIGHTS]: weights }))).toContain(CONFIG);
  });
});
