import { credentials, Metadata } from '@grpc/grpc-js';
import { WorkerServiceClient, type BlobRef } from '@graft/contracts/grpc';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ControlPlane } from '../../test/control-plane.js';
import { fetchBlob } from './blob-transfer.js';
import { Blobs } from './blobs.js';

let folder: string;
let plane: ControlPlane;
let client: WorkerServiceClient;
let blobs: Blobs;
let files: Server | null;
const never = new AbortController().signal;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'graft-blobs-'));
  plane = new ControlPlane();
  plane.session = 'session';
  await plane.listen();
  client = new WorkerServiceClient(`127.0.0.1:${plane.port}`, credentials.createInsecure());
  blobs = new Blobs({
    line: line(),
    folder: join(folder, 'cache'),
    capBytes: 1e9,
    makeFolder: (path) => mkdir(path, { recursive: true }).then(() => undefined),
    log: pino({ level: 'silent' }),
    backoff: { minMs: 5, maxMs: 10 },
  });
  files = null;
});
afterEach(() => {
  client.close();
  files?.close();
  plane.vanish();
  rmSync(folder, { recursive: true, force: true });
});

function line(): { client: WorkerServiceClient; metadata: Metadata } {
  const metadata = new Metadata();
  metadata.set('authorization', 'Bearer session');
  return { client, metadata };
}

function written(size: number): { path: string; ref: BlobRef; data: Buffer } {
  const data = randomBytes(size);
  const path = join(folder, 'state');
  writeFileSync(path, data);
  return {
    path,
    data,
    ref: { name: 'state', sha256: createHash('sha256').update(data).digest('hex'), size },
  };
}

it('resumes an interrupted upload', async () => {
  const { path, ref, data } = written(3_000_000);
  plane.cutPutAfter = 1_000_000;
  await blobs.put({ jobId: 'j', attempt: 1 }, path, ref, never, () => undefined);
  expect(plane.putOffsets).toEqual([0, 1_000_000]);
  expect(plane.puts.at(-1)?.data.equals(data)).toBe(true);
});

it('fetches from a URL at any offset, and retries its failures like those of the connection', async () => {
  const { path, ref, data } = written(500_000);
  let answers = 0;
  files = createServer((request, response) => {
    answers++;
    if (request.url === '/broken') return void response.writeHead(500).end();
    const from = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1]);
    response.writeHead(206, { 'content-range': `bytes ${from}-${data.length - 1}/${data.length}` });
    response.end(readFileSync(path).subarray(from));
  });
  await new Promise<void>((resolve) => files?.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(files.address() as AddressInfo).port}`;
  plane.urls.set(ref.sha256, `${url}/blob`);
  const parts: Uint8Array[] = [];
  for await (const part of fetchBlob(line(), ref.sha256, 123_456, never)) parts.push(part);
  expect(Buffer.concat(parts).equals(data.subarray(123_456))).toBe(true);
  plane.urls.set(ref.sha256, `${url}/broken`);
  await expect(
    fetchBlob(line(), ref.sha256, 0, never)[Symbol.asyncIterator]().next(),
  ).rejects.toMatchObject({ code: 14 });
  expect(answers).toBe(2);
});

/** Returns a cached blob that is in use by a folder until the folder is released. */
async function fetched(name: string) {
  const ref = plane.blob(name, randomBytes(100));
  const { release } = await blobs.folder(join(folder, name), [ref], never);
  return { sha256: ref.sha256, release };
}
const cached = (): string[] => readdirSync(join(folder, 'cache', 'blobs')).sort();

it('removes deleted blobs that are not in use from the cache', async () => {
  await blobs.open();
  const [kept, deleted, used] = [
    await fetched('kept'),
    await fetched('gone'),
    await fetched('used'),
  ];
  await kept.release();
  await deleted.release();
  const cut = createHash('sha256').update('half').digest('hex');
  writeFileSync(join(folder, 'cache', 'partial', cut), 'ha');
  plane.deleted = new Set([deleted.sha256, used.sha256, cut, '../../state']);
  writeFileSync(join(folder, 'state'), 'of somebody else');
  await blobs.dropDeleted();
  expect(plane.heldBlobs.flat().sort()).toEqual(
    [kept, deleted, used]
      .map((one) => one.sha256)
      .concat(cut)
      .sort(),
  );
  expect(cached()).toEqual([kept.sha256, used.sha256].sort());
  expect(readdirSync(join(folder, 'cache', 'partial'))).toEqual([]);
  await used.release();
  await blobs.dropDeleted();
  expect(cached()).toEqual([kept.sha256]);
});

it('asks about many blobs in several requests', async () => {
  mkdirSync(join(folder, 'cache', 'blobs'), { recursive: true });
  const names = Array.from({ length: 1001 }, (_, n) =>
    createHash('sha256').update(String(n)).digest('hex'),
  );
  for (const name of names) writeFileSync(join(folder, 'cache', 'blobs', name), '');
  await blobs.open();
  plane.deleted = new Set(names);
  await blobs.dropDeleted();
  expect(plane.heldBlobs.map((part) => part.length)).toEqual([1000, 1]);
  expect(cached()).toEqual([]);
});

it('keeps its cache if the control plane is unavailable', async () => {
  await blobs.open();
  const one = await fetched('one');
  await one.release();
  plane.vanish();
  await blobs.dropDeleted();
  expect(cached()).toEqual([one.sha256]);
});
