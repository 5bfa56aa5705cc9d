import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import request from 'supertest';
import { pack } from 'tar-stream';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi } from './fixture.js';

// What strangers send is parsed in processes of its own, which see that file alone.

let api: TestApi;
let started: ChildProcess[] = [];
const note = (message: unknown): number =>
  started.push((message as { process: ChildProcess }).process);

beforeAll(async () => {
  api = await startTestApi();
  subscribe('child_process', note);
});
beforeEach(() => (started = []));
afterAll(async () => {
  unsubscribe('child_process', note);
  await api?.close();
});

/** What the API had done by other processes, in order: each program, and what it was asked. */
const programs = (): string[] =>
  started.map(({ spawnargs }) => {
    const at = spawnargs.findLastIndex((word) => /-process\.js$/.test(word));
    return `${basename(spawnargs[at] ?? '', '.js')} ${spawnargs[at + 1]}`;
  });

/** What of the API's folder its processes could open, beside the file or folder that they were given. */
const otherRules = (): string[] =>
  started.flatMap(({ spawnargs }) => {
    const own = spawnargs.at(-1) ?? '';
    return spawnargs.filter((word) => word.includes(api.home) && !word.endsWith(own));
  });

const send = (content: Buffer, name: string): request.Test =>
  request(api.url)
    .post('/v1/files')
    .set(api.headers)
    .field('purpose', 'fine-tune')
    .attach('file', content, name);

describe('a process of its own reads', () => {
  afterEach(() => expect(otherRules()).toEqual([]));

  it('a folder of datasets in a zip', async () => {
    const zip = readFileSync(join(import.meta.dirname, 'datasets/pandas.zip'));
    expect((await send(zip, 'a.zip')).status).toBe(200);
    expect(programs()).toEqual([
      'unpack-process shards',
      'unpack-process entry',
      'table-process arrow',
    ]);
  });

  it('what is packed by gzip', async () => {
    const tar = pack();
    tar.entry({ name: 'a/1.png' }, 'no picture');
    tar.finalize();
    const packed = gzipSync(await buffer(tar));
    expect((await send(packed, 'a.tar.gz')).status).toBe(400);
    expect(programs()).toEqual(['unpack-process tar', 'archive-process tar']);
  });
});
