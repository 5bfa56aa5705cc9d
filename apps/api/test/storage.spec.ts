// The storage limit of a project, and requests whose body stalls.
import { createHash, randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import type { LimitsObject } from '@graft/contracts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  caught,
  chats,
  importBase,
  startTestApi,
  until,
  uploadChats,
  type TestApi,
} from './fixture.js';
import { bearer, saved, ScriptedWorker, started, step } from './scripted-worker.js';

const STANDS_MS = 400;
let api: TestApi;
beforeAll(async () => {
  api = await startTestApi({ bodyStandsMs: STANDS_MS, reconcileMs: 200 });
  await importBase(api);
});
afterAll(() => api?.close());

const limit = (bytes: number | null): Promise<unknown> =>
  api.query(`UPDATE project SET limits = $1`, [bytes === null ? {} : { storage_bytes: bytes }]);
const used = async (): Promise<number> =>
  (await api.get<LimitsObject>('/limits')).data.find(({ name }) => name === 'storage_bytes')
    ?.used ?? NaN;
const upload = (text: string): Promise<{ id: string; bytes: number }> =>
  api.client.files.create({ file: new File([text], 'a.jsonl'), purpose: 'fine-tune' });

describe('storage_bytes', () => {
  it('counts each content once, and rejects an upload that exceeds it, without leaving files', async () => {
    const before = await used();
    const text = chats(300);
    const first = await upload(text);
    const second = await upload(text);
    expect(await used()).toBe(before + text.length);
    await limit(before + text.length + 100);
    const incoming = (): string[] => readdirSync(join(api.home, 'blobs', 'incoming'));
    expect(await caught(upload(`${text}{"text":"${'x'.repeat(200)}"}\n`))).toMatchObject({
      status: 429,
      code: 'insufficient_quota',
      message: expect.stringMatching(
        /stores [\d,]+ bytes.*limit \(storage_bytes\) is [\d,]+/,
      ) as unknown,
    });
    // An upload without content-length is stopped while it arrives.
    const part = `--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n--b\r\ncontent-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n`;
    const answer = await fetch(`${api.url}/v1/files`, {
      method: 'POST',
      headers: { ...api.headers, 'content-type': 'multipart/form-data; boundary=b' },
      body: new Blob([part, text, text, '\r\n--b--\r\n']).stream(),
      duplex: 'half',
    } as RequestInit);
    expect(answer.status).toBe(429);
    await until(() => incoming().length === 0);
    await api.client.files.delete(first.id);
    await api.client.files.delete(second.id);
    expect(await used()).toBe(before);
    await upload(text);
    await limit(null);
  });

  it('is not exceeded by concurrent uploads', async () => {
    const texts = Array.from({ length: 8 }, (_, n) => `${chats(50)}{"text":"${n}"}\n`);
    const size = texts[0]?.length ?? 0;
    await limit((await used()) + 3 * size + 10);
    const ends = await Promise.allSettled(texts.map(upload));
    expect(ends.filter((end) => end.status === 'fulfilled').length).toBeLessThanOrEqual(3);
    expect(await used()).toBeLessThanOrEqual(
      Number(
        (
          await api.query<{ n: string }>(
            `SELECT limits->>'storage_bytes' AS n FROM project LIMIT 1`,
          )
        )[0]?.n,
      ),
    );
    await limit(null);
  });

  it('rejects checkpoints until there is space', async () => {
    const { id } = await api.post<{ id: string }>('/fine_tuning/jobs', {
      model: 'tiny',
      training_file: await uploadChats(api),
    });
    const worker = await new ScriptedWorker(api).connect();
    const lease = await worker.nextAssignment();
    worker.keep(lease);
    await worker.report(lease, started(0, 9), step(1));
    await limit(await used());
    const state = randomBytes(3000).toString('hex');
    await expect(worker.put(lease, 'state', state)).rejects.toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      details: expect.stringContaining('storage_bytes') as unknown,
    });
    await limit((await used()) + 6000);
    const blob = await worker.put(lease, 'state', state);
    // The same content takes no additional space.
    await worker.put(lease, 'state', state);
    await worker.report(lease, saved(1, [blob]));
    await limit(null);
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    worker.vanish();
  });
});

describe('an upload body', () => {
  /** Sends `chunks` of an upload at intervals, then nothing; returns the response. */
  async function send(chunks: number, bytes: number, everyMs: number): Promise<string> {
    const { port } = new URL(api.url);
    const socket = connect(Number(port), '127.0.0.1');
    let answer = '';
    socket.on('data', (data: Buffer) => (answer += data.toString()));
    socket.on('error', () => undefined);
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.write(
      `POST /v1/files HTTP/1.1\r\nhost: x\r\nauthorization: ${api.headers['authorization']}\r\ncontent-type: multipart/form-data; boundary=b\r\ncontent-length: 99999999\r\n\r\n` +
        `--b\r\ncontent-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n`,
    );
    for (let n = 0; n < chunks; n++) {
      if (answer !== '') return `early: ${answer}`;
      socket.write(`${'x'.repeat(bytes - 1)}\n`);
      await new Promise((resolve) => setTimeout(resolve, everyMs));
    }
    await closed;
    return answer;
  }

  it('that stalls is rejected with 408, but not one that is slow', async () => {
    const began = Date.now();
    expect(await send(30, 20_000, STANDS_MS / 8)).toMatch(/^HTTP\/1.1 408 .*request_timeout/s);
    expect(Date.now() - began).toBeGreaterThan(30 * (STANDS_MS / 8));
    expect(await send(4, 100, 10)).toMatch(/^HTTP\/1.1 408 /);
    await until(() => readdirSync(join(api.home, 'blobs', 'incoming')).length === 0);
  });
});

it("a worker's upload that stalls is interrupted, and can be resumed", async () => {
  await api.post('/fine_tuning/jobs', { model: 'tiny', training_file: await uploadChats(api) });
  const worker = await new ScriptedWorker(api).connect();
  const { jobId, attempt } = await worker.nextAssignment();
  worker.keep({ jobId, attempt });
  const data = randomBytes(300_000);
  const sha256 = createHash('sha256').update(data).digest('hex');
  const header = { jobId, attempt, blob: { name: 'state', sha256, size: data.length } };
  /** Sends data[offset..to], and ends the call only if it is complete. */
  const put = (offset: number, to: number): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const call = worker.client.putBlob(bearer(worker.session), (error, answer) =>
        error ? reject(error) : resolve(answer),
      );
      call.on('error', () => undefined);
      call.write({ body: { $case: 'header', value: { ...header, offset } } });
      call.write({ body: { $case: 'data', value: data.subarray(offset, to) } });
      if (to === data.length) call.end();
    });
  await expect(put(0, 100_000)).rejects.toMatchObject({
    code: status.UNAVAILABLE,
    details: 'the upload was interrupted after 100000 bytes; resume it from there',
  });
  expect(await put(100_000, data.length)).toEqual({ sha256, size: data.length });
  worker.vanish();
});
