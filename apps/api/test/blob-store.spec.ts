// The same contract for both blob backends: a folder, and a bucket of a real S3 server.
import { createHash, randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import {
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { DomainError } from '@graft/contracts';
import { InterruptedUpload } from '../dist/blobs/blob-receiver.js';
import { BlobStore } from '../dist/blobs/blob-store.js';
import { S3Backend } from '../dist/blobs/s3-backend.js';
import { Settings } from '../dist/config.js';
import { dataSource } from '../dist/database/data-source.js';
import { Database } from '../dist/database/database.js';
import { s3Program, startS3, type S3Server } from '../../../test/s3-server.js';
import { startTestApi, until, type TestApi } from './fixture.js';

const HOUR_MS = 3600 * 1000;
const sha = (data: Buffer): string => createHash('sha256').update(data).digest('hex');

async function* stream(data: Buffer, cutAfter = Infinity): AsyncGenerator<Buffer> {
  for (let at = 0; at < data.length; at += 64 * 1024) {
    if (at >= cutAfter) throw new Error('the line broke');
    yield data.subarray(at, at + 64 * 1024);
  }
}

describe.each(['folder', 's3'] as const)('the blob store in a %s', (kind) => {
  const skipped = kind === 's3' && s3Program === null;
  if (skipped) return it.skip('needs an S3 server', () => undefined);
  let api: TestApi;
  let s3: S3Server | null = null;
  let store: BlobStore;
  let database: Database;
  let source: Awaited<ReturnType<typeof dataSource>>;
  let n = 0;

  beforeAll(async () => {
    if (kind === 's3') {
      s3 = await startS3();
      for (const [name, value] of Object.entries(s3.env)) vi.stubEnv(name, value);
    }
    const where = s3
      ? { blobs: `s3://${s3.bucket}/blobs`, s3PathStyle: true, blobsPresign: true }
      : {};
    api = await startTestApi({ ...where, retentionMs: HOUR_MS });
    source = await dataSource(api.databaseUrl).initialize();
    database = new Database(source);
    store = new BlobStore(
      new Settings(
        { home: api.home, blobGraceMs: 0, storageStandsMs: 1000, ...where },
        api.databaseUrl,
      ),
      database,
    );
    await store.open();
  });
  afterAll(async () => {
    await source?.destroy();
    await api?.close();
    await s3?.stop();
    vi.unstubAllEnvs();
  });

  const root = (): string => (s3 ? join(s3.folder, 'blobs') : join(api.home, 'blobs'));
  const at = (sha256: string): string => join(root(), sha256.slice(0, 2), sha256);
  const incoming = (): string => join(api.home, 'blobs', 'incoming');
  /** Stores data as a file of a project; returns the file's id. */
  const put = async (data: Buffer, cutAfter = Infinity): Promise<string> => {
    const id = `file-${n++}`;
    await store.put(stream(data, cutAfter), (manager, blob) =>
      database.query(
        `INSERT INTO file (id, project_id, filename, purpose, bytes, sha256, status) VALUES ($1, 'p', 'f', 'fine-tune', $2, $3, 'processed') ON CONFLICT DO NOTHING`,
        [id, blob.size, blob.sha256],
        manager,
      ),
    );
    return id;
  };
  const read = async (sha256: string, offset = 0): Promise<Buffer> => {
    const parts: Buffer[] = [];
    for await (const part of store.read(sha256, offset)) parts.push(part as Buffer);
    return Buffer.concat(parts);
  };
  const mark = async (text: string): Promise<void> => {
    if (!s3) return writeFileSync(join(root(), 'installation'), text);
    const object = { Bucket: s3.bucket, Key: 'blobs/installation', Body: text };
    await new S3Client({ forcePathStyle: true }).send(new PutObjectCommand(object));
  };
  const unname = (id: string): Promise<unknown> =>
    database.query('DELETE FROM file WHERE id = $1', [id]);

  it.skipIf(kind === 'folder')('times out if the server hangs', async () => {
    const data = randomBytes(1024);
    await put(data);
    const { hang, goOn } = s3 as S3Server;
    hang();
    try {
      await expect(store.has(sha(data))).rejects.toMatchObject({ name: 'TimeoutError' });
      await expect(put(randomBytes(1024))).rejects.toMatchObject({ name: 'TimeoutError' });
    } finally {
      goOn();
    }
    expect(await store.has(sha(data))).toBe(true);
  });

  it('stores content once, and reads it from any offset', async () => {
    // More than one part of a multipart upload.
    const data = randomBytes(17 * 1024 * 1024 + 5);
    await put(data);
    await put(data);
    const name = sha(data);
    expect(sha(readFileSync(at(name)))).toBe(name);
    expect(await store.has(name)).toBe(true);
    expect(sha(await read(name))).toBe(name);
    expect(await read(name, data.length - 7)).toEqual(data.subarray(-7));
    expect((await read(name, data.length)).length).toBe(0);
    expect(sha(readFileSync(await store.file({ sha256: name, size: data.length })))).toBe(name);
    expect(readdirSync(incoming())).toEqual([]);
  });

  it('stores an empty file', async () => {
    await put(Buffer.alloc(0));
    expect((await read(sha(Buffer.alloc(0)))).length).toBe(0);
  });

  it('rejects content that differs from the announced hash or size, and stores nothing', async () => {
    const data = randomBytes(1000);
    const wrong = [
      { sha256: sha(randomBytes(9)), size: 1000 },
      { sha256: sha(data), size: 1001 },
    ];
    for (const expected of wrong)
      await expect(
        store.put(stream(data), () => Promise.reject(new Error('must not be written')), {
          expect: expected,
        }),
      ).rejects.toThrow(/announced/);
    expect(await store.has(sha(data))).toBe(false);
    expect(readdirSync(incoming())).toEqual([]);
  });

  it('stores nothing if the stream breaks or the row cannot be written', async () => {
    const data = randomBytes(300_000);
    await expect(put(data, 128 * 1024)).rejects.toThrow('the line broke');
    await expect(
      store.put(stream(data), () => Promise.reject(new Error('no row'))),
    ).rejects.toThrow('no row');
    expect(await store.has(sha(data))).toBe(false);
    expect(readdirSync(incoming())).toEqual([]);
    expect(await database.query('SELECT 1 FROM blob WHERE sha256 = $1', [sha(data)])).toEqual([]);
  });

  it('never deletes a blob that is stored at the same time', async () => {
    const data = randomBytes(200_000);
    let id = await put(data);
    for (let round = 0; round < 15; round++) {
      const old = id;
      const [next] = await Promise.all([
        put(data),
        unname(old).then(() => store.release(sha(data))),
      ]);
      expect(sha(await read(sha(data)))).toBe(sha(data));
      id = next;
    }
    await unname(id);
    expect(await store.release(sha(data))).toBe(true);
    expect(existsSync(at(sha(data)))).toBe(false);
    expect(await store.has(sha(data))).toBe(false);
  });

  it('distinguishes damaged blobs from intact ones', async () => {
    const data = randomBytes(100_000);
    await put(data);
    const blob = { sha256: sha(data), size: data.length };
    expect(await store.isIntact(blob)).toBe(true);
    const bytes = readFileSync(at(blob.sha256));
    bytes[77_777] = (bytes[77_777] ?? 0) ^ 1;
    writeFileSync(at(blob.sha256), bytes);
    expect(await store.isIntact(blob)).toBe(false);
    await put(data);
    expect(await store.isIntact(blob)).toBe(true);
  });

  it.runIf(kind === 'folder')('treats unreadable bytes as damaged', async () => {
    const blob = { sha256: sha(randomBytes(10)), size: 0 };
    mkdirSync(dirname(at(blob.sha256)), { recursive: true });
    // Reading the first page of a process's memory fails with an input/output error.
    symlinkSync('/proc/self/mem', at(blob.sha256));
    expect(await store.isIntact(blob)).toBe(false);
    rmSync(at(blob.sha256));
  });

  /** Returns a second store, as in another process. */
  async function otherStore(): Promise<BlobStore> {
    const blobs = s3 ? { blobs: `s3://${s3.bucket}/blobs` } : {};
    const settings = new Settings({ home: api.home, ...blobs, s3PathStyle: true }, api.databaseUrl);
    const other = new BlobStore(settings, database);
    await other.open();
    return other;
  }

  it('resumes an interrupted upload, and starts over if the partial data is damaged', async () => {
    const data = randomBytes(900_000);
    const expected = { sha256: sha(data), size: data.length };
    const key = 'job/1/state';
    async function* part(from: number, to: number): AsyncGenerator<Buffer> {
      yield* stream(data.subarray(from, to));
      if (to < data.length) throw new InterruptedUpload(to);
    }
    const attempt = (offset: number, to = data.length) =>
      store.receive(part(offset, to), { expect: expected, resume: { key, offset } });
    await expect(attempt(0, 300_000)).rejects.toThrow('interrupted after 300000');
    expect(await store.received(key)).toBe(300_000);
    await expect(attempt(300_000, 500_000)).rejects.toThrow('interrupted after 500000');
    // Another process hashes the partial data again and discards the bytes after the offset.
    const other = await otherStore();
    await expect(
      other.receive(part(450_000, 700_000), { expect: expected, resume: { key, offset: 450_000 } }),
    ).rejects.toThrow('interrupted after 700000');
    await expect(attempt(800_000)).rejects.toThrow('only 700000 bytes were received');
    const done = await attempt(700_000);
    expect(done).toMatchObject(expected);
    await store.discard(done);

    await expect(attempt(0, 300_000)).rejects.toThrow('interrupted');
    const [name = ''] = readdirSync(incoming());
    const bytes = readFileSync(join(incoming(), name));
    bytes.fill(0, 1000, 1100);
    writeFileSync(join(incoming(), name), bytes);
    await expect(
      other.receive(part(300_000, data.length), {
        expect: expected,
        resume: { key, offset: 300_000 },
      }),
    ).rejects.toMatchObject({ code: 'unavailable' });
    expect(await store.received(key)).toBe(0);
  });

  it.each(['this', 'another'] as const)(
    'rejects the bytes of an overtaken upload after a newer one in %s process',
    async (by) => {
      const data = randomBytes(300_000);
      const whole = { expect: { sha256: sha(data), size: data.length } };
      const key = `overtaken/${by}`;
      let go = (): void => undefined;
      const overtaken = new Promise<void>((resolve) => (go = resolve));
      async function* slow(): AsyncGenerator<Buffer> {
        yield data.subarray(0, 100_000);
        await overtaken;
        yield randomBytes(200_000);
      }
      const late = store.receive(slow(), { ...whole, resume: { key, offset: 0 } });
      late.catch(() => undefined);
      await vi.waitFor(async () => expect(await store.received(key)).toBe(100_000));
      const next = by === 'this' ? store : await otherStore();
      const done = await next.receive(stream(data.subarray(100_000)), {
        ...whole,
        resume: { key, offset: 100_000 },
      });
      go();
      await expect(late).rejects.toBeInstanceOf(DomainError);
      expect(readFileSync(done.temporary).equals(data)).toBe(true);
      await next.discard(done);
    },
  );

  it('sweeps old partial files', async () => {
    writeFileSync(join(incoming(), 'left'), 'half');
    writeFileSync(join(incoming(), 'young'), 'half');
    utimesSync(join(incoming(), 'left'), new Date(), new Date(Date.now() - 2 * HOUR_MS));
    await store.sweep();
    expect(readdirSync(incoming())).toEqual(['young']);
    rmSync(join(incoming(), 'young'));
  });

  it('rejects a process with another location, and names the setting', async () => {
    const elsewhere = s3 ? `s3://${s3.bucket}/other` : join(api.home, 'other');
    const settings = new Settings(
      { home: api.home, blobs: elsewhere, s3PathStyle: true },
      api.databaseUrl,
    );
    await expect(new BlobStore(settings, database).open()).rejects.toThrow(
      /are not in .*other.*GRAFT_BLOBS/,
    );
    const text = readFileSync(join(root(), 'installation'), 'utf8');
    await mark('somebody-else\n');
    await expect(api.restart()).rejects.toThrow(/contains somebody-else, not/);
    const data = randomBytes(10);
    await expect(store.haveAll([{ sha256: sha(data), size: 10 }])).rejects.toThrow(
      'storage is not available',
    );
    await mark(text);
    expect(await store.haveAll([{ sha256: sha(data), size: 10 }])).toBe(false);
    await api.restart();
  });

  it.runIf(kind === 's3')(
    'returns URLs that are valid for one blob, and aborts abandoned multipart uploads',
    async () => {
      const data = randomBytes(5000);
      await put(data);
      const url = (await store.url(sha(data))) ?? '';
      const answer = await fetch(url, { headers: { range: 'bytes=10-' } });
      expect(Buffer.from(await answer.arrayBuffer())).toEqual(data.subarray(10));
      expect((await fetch(url.replace(sha(data), sha(randomBytes(3))))).status).toBe(403);

      const client = new S3Client({ forcePathStyle: true });
      const [Bucket, Prefix] = [s3?.bucket, 'blobs/'];
      await client.send(new CreateMultipartUploadCommand({ Bucket, Key: `${Prefix}aa/left` }));
      const backend = S3Backend.of(
        new Settings({ home: api.home, blobs: `s3://${Bucket}/blobs`, s3PathStyle: true }, ''),
      );
      const left = async () =>
        (await client.send(new ListMultipartUploadsCommand({ Bucket, Prefix }))).Uploads?.length ??
        0;
      await backend.sweep(HOUR_MS);
      expect(await left()).toBe(1);
      // Age is measured by S3's clock. This server rejects requests if the clocks differ by more than 15
      // minutes.
      vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + HOUR_MS / 6 });
      try {
        await backend.abortLeft(HOUR_MS / 7);
        expect(await left()).toBe(1);
      } finally {
        vi.useRealTimers();
      }
      await until(async () => {
        await backend.abortLeft(0);
        return (await left()) === 0;
      });
    },
  );
});
