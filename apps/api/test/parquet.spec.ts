// Parquet of other writers and hostile Parquet, decoded in separate processes so that a hostile file ends
// only its own process.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { constants, deflateRawSync } from 'node:zlib';
import type { FileObject } from '@graft/contracts';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startTestApi, until, type TestApi } from './fixture.js';
import { makeProject } from './projects.js';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api?.close());
afterEach(() => expect(readdirSync(join(api.home, 'blobs', 'incoming'))).toEqual([]));

const SCRIPT = join(import.meta.dirname, '../bundle/files/rows/table-process.js');
const decoders = (): string[] =>
  execFileSync('ps', ['-e', '-o', 'pid=,args='], { encoding: 'utf8' })
    .split('\n')
    .filter((line) => line.includes(SCRIPT) && line.includes(api.home));

function send(
  content: Uint8Array<ArrayBuffer>,
  signal?: AbortSignal,
  key = api.apiKey,
): Promise<Response> {
  const form = new FormData();
  form.append('purpose', 'fine-tune');
  form.append('file', new Blob([content]), 'train.parquet');
  const headers = { authorization: `Bearer ${key}` };
  const options = { method: 'POST', headers, body: form, ...(signal && { signal }) };
  return fetch(`${api.url}/v1/files`, options);
}

async function reasonOf(content: Uint8Array<ArrayBuffer>): Promise<string> {
  const answer = await send(content);
  expect(answer.status).toBe(400);
  return ((await answer.json()) as { error: { message: string } }).error.message;
}

const texts = (data: string[], options: object = {}): Uint8Array<ArrayBuffer> =>
  new Uint8Array(
    parquetWriteBuffer({ columnData: [{ name: 'text', data, type: 'STRING' }], ...options }),
  );

describe('files that pyarrow wrote', () => {
  const chat = (n: number) => ({
    messages: [
      { role: 'user', content: `${n} + 1?` },
      { role: 'assistant', content: `${n + 1}` },
    ],
  });

  it.each([
    'messages-zstd',
    'messages-gzip',
    'messages-pages-v2',
    'conversations-zstd',
    'conversations-gzip',
  ])('are read: %s', async (name) => {
    const path = join(import.meta.dirname, `parquet/${name}.parquet`);
    const file = (await (await send(new Uint8Array(readFileSync(path)))).json()) as FileObject;
    expect(file).toMatchObject({ status: 'processed', graft: { records: 12, problems: [] } });
    const lines = (await (await api.client.files.content(file.id)).text()).trimEnd().split('\n');
    expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual(
      Array.from({ length: 12 }, (_, n) => chat(n)),
    );
  });

  it('are rejected with the name of an unsupported compression', async () => {
    const content = texts(['a'], {
      codec: 'LZO',
      compressors: { LZO: (page: Uint8Array) => page },
    });
    expect(await reasonOf(content)).toBe(
      'the Parquet file cannot be read: its compression LZO is not supported; write it with snappy',
    );
  });
});

describe('a hostile file', () => {
  /** A file of a few kilobytes: all rows have the same long text. */
  const long = (rows: number): Uint8Array<ArrayBuffer> =>
    texts(new Array<string>(rows).fill('x'.repeat(1_500_000)), { rowGroupSize: rows });

  it("with long rows is rejected with its row numbers, without holding all rows in the API's memory", async () => {
    const before = process.memoryUsage.rss();
    let most = 0;
    const watch = setInterval(() => (most = Math.max(most, process.memoryUsage.rss())), 5);
    const file = (await (await send(long(256))).json()) as FileObject;
    clearInterval(watch);
    expect(file.graft?.problems).toEqual(['rows 1–256: the line is longer than 1048576 bytes']);
    expect((Math.max(most, process.memoryUsage.rss()) - before) / 1e6).toBeLessThan(300);
  }, 60_000);

  it('with pages that exceed all memory ends its own process', async () => {
    expect(await reasonOf(bomb())).toBe(
      'the Parquet file cannot be read: it needs too much memory',
    );
    expect(decoders()).toEqual([]);
    expect((await fetch(`${api.url}/healthz`)).status).toBe(200);
  }, 120_000);

  it('is no longer decoded after its client disconnects; two are decoded at a time, one per project', async () => {
    const content = long(100_000);
    const clients = [1, 2, 3].map(() => new AbortController());
    const keys = [api.apiKey, (await makeProject(api, 'second')).owner.key];
    const sent = clients.map(({ signal }, n) =>
      send(content, signal, keys[n >> 1]).catch(() => null),
    );
    const incoming = () => readdirSync(join(api.home, 'blobs', 'incoming')).length;
    // an upload and its converted file each
    await until(() => incoming() === 6 && decoders().length === 2);
    clients[2]!.abort();
    await sent[2];
    await until(() => incoming() === 4 && decoders().length === 1);
    clients.forEach((client) => client.abort());
    await Promise.all(sent);
    await until(() => decoders().length === 0 && incoming() === 0);
  }, 60_000);
});

/** Bytes by which the false page header is longer than the true one; the page's padding makes up for them. */
const LONGER = 4;

/** Returns a file whose single page declares and contains 2 GB: zeros in repeated deflate blocks. */
function bomb(): Uint8Array<ArrayBuffer> {
  const block = deflateRawSync(Buffer.alloc(16e6), { finishFlush: constants.Z_FULL_FLUSH });
  const page = Buffer.concat([
    ...new Array<Buffer>(125).fill(block),
    Buffer.from([3, 0]),
    Buffer.alloc(10),
  ]);
  const file = Buffer.from(texts(['a', 'b'], { codec: 'GZIP', compressors: { GZIP: () => page } }));
  const sizes = (claimed: number, compressed: number): Buffer =>
    Buffer.from([0x15, 6, 0x15, ...varint(2 * claimed), 0x15, ...varint(2 * compressed)]);
  // Both sizes include two bytes of levels.
  const [right, wrong] = [sizes(12, page.length + 2), sizes(2e9 + 2, page.length + 2 - LONGER)];
  expect([file.indexOf(right), wrong.length - right.length]).toEqual([4, LONGER]);
  const end = file.indexOf(page) + page.length;
  const body = file.subarray(4 + right.length, end - LONGER);
  return new Uint8Array(Buffer.concat([file.subarray(0, 4), wrong, body, file.subarray(end)]));
}

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value % 128) + 128, ...varint(Math.floor(value / 128))];
}
