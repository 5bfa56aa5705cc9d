// Blobs between the control plane and a worker: interrupted, resumed, rejected, and fetched with a presigned
// URL.
import { createHash, randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import type {
  Assignment,
  BlobRef,
  FetchBlobResponse,
  PutBlobStateResponse,
} from '@graft/contracts/grpc';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { s3Program, startS3, type S3Server } from '../../../test/s3-server.js';
import { chats, importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { bearer, saved, ScriptedWorker, started, step } from './scripted-worker.js';

const refOf = (data: Buffer): BlobRef => ({
  name: 'state',
  sha256: createHash('sha256').update(data).digest('hex'),
  size: data.length,
});

async function scene(api: TestApi): Promise<{ worker: ScriptedWorker; lease: Assignment }> {
  const { id } = await api.post<{ id: string }>('/fine_tuning/jobs', {
    model: 'tiny',
    training_file: await uploadChats(api),
  });
  const worker = await new ScriptedWorker(api).connect();
  const lease = await worker.nextAssignment();
  expect(lease.jobId).toBe(id);
  worker.keep(lease);
  return { worker, lease };
}

describe('an upload', () => {
  let api: TestApi;
  let worker: ScriptedWorker;
  let lease: Assignment;
  beforeAll(async () => {
    api = await startTestApi();
    await importBase(api);
    ({ worker, lease } = await scene(api));
  });
  afterAll(async () => {
    worker?.vanish();
    await api?.close();
  });

  const incoming = (): string[] => readdirSync(join(api.home, 'blobs', 'incoming'));
  const header = (blob: BlobRef, offset = 0) => ({
    jobId: lease.jobId,
    attempt: lease.attempt,
    blob,
    offset,
  });
  const state = (blob: BlobRef, by = worker): Promise<PutBlobStateResponse> =>
    new Promise((resolve, reject) =>
      by.client.putBlobState(header(blob), bearer(by.session), (error, answer) =>
        error ? reject(error) : resolve(answer),
      ),
    );
  /** Sends data[offset..to]; cancels the call there unless that is the end. */
  function put(data: Buffer, blob: BlobRef, offset = 0, to = data.length): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const call = worker.client.putBlob(bearer(worker.session), (error, answer) =>
        error ? reject(error) : resolve(answer),
      );
      call.on('error', () => undefined);
      call.write({ body: { $case: 'header', value: header(blob, offset) } });
      for (let at = offset; at < to; at += 100_000)
        call.write({
          body: { $case: 'data', value: data.subarray(at, Math.min(to, at + 100_000)) },
        });
      if (to === data.length) call.end();
      else
        void until(async () => (await state(blob)).received === to).then(
          () => call.cancel(),
          reject,
        );
    });
  }

  it('resumes where it was interrupted', async () => {
    const data = randomBytes(1_000_000);
    const blob = refOf(data);
    await expect(put(data, blob, 0, 400_000)).rejects.toMatchObject({ code: status.CANCELLED });
    expect(await state(blob)).toEqual({ received: 400_000 });
    await expect(put(data, blob, 400_000, 700_000)).rejects.toMatchObject({
      code: status.CANCELLED,
    });
    await expect(put(data, blob, 800_000)).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
    expect(await put(data, blob, 700_000)).toEqual({ sha256: blob.sha256, size: data.length });
    // toEqual takes 15 seconds for a megabyte.
    const stored = readFileSync(join(api.home, 'blobs', blob.sha256.slice(0, 2), blob.sha256));
    expect(stored.equals(data)).toBe(true);
    await until(() => incoming().length === 0);
    expect(await state(blob)).toEqual({ received: 0 });
  });

  it('is rejected by its header if the worker has no lease, before it sends data', async () => {
    const answer = new Promise((resolve, reject) => {
      const call = worker.client.putBlob(
        bearer(worker.session),
        { deadline: Date.now() + 10_000 },
        (error, put_) => (error ? reject(error) : resolve(put_)),
      );
      call.on('error', () => undefined);
      const value = { ...header(refOf(randomBytes(10))), attempt: lease.attempt + 1 };
      call.write({ body: { $case: 'header', value } });
    });
    await expect(answer).rejects.toMatchObject({ code: status.FAILED_PRECONDITION });
  });

  it('is rejected at its end if the lease was lost meanwhile', async () => {
    const { worker: other, lease: lost } = await scene(api);
    const data = randomBytes(300_000);
    const blob = refOf(data);
    const named = { jobId: lost.jobId, attempt: lost.attempt, blob, offset: 0 };
    const received = (): Promise<number> =>
      new Promise((resolve, reject) =>
        other.client.putBlobState(named, bearer(other.session), (error, answer) =>
          error ? reject(error) : resolve(answer.received),
        ),
      );
    const answer = new Promise((resolve, reject) => {
      const call = other.client.putBlob(bearer(other.session), (error, put_) =>
        error ? reject(error) : resolve(put_),
      );
      call.on('error', () => undefined);
      call.write({ body: { $case: 'header', value: named } });
      call.write({ body: { $case: 'data', value: data.subarray(0, 100_000) } });
      void until(async () => (await received()) === 100_000)
        .then(() => api.post(`/fine_tuning/jobs/${lost.jobId}/cancel`))
        .then(() => {
          call.write({ body: { $case: 'data', value: data.subarray(100_000) } });
          call.end();
        })
        .catch(reject);
    });
    await expect(answer).rejects.toMatchObject({ code: status.FAILED_PRECONDITION });
    expect(await api.query('SELECT 1 FROM artifact WHERE sha256 = $1', [blob.sha256])).toEqual([]);
    other.vanish();
  });

  it('can be fetched by a slow reader without leaking event listeners', async () => {
    const warnings: string[] = [];
    const warned = ({ name }: Error): unknown => warnings.push(name);
    process.on('warning', warned);
    const data = randomBytes(12_000_000);
    const blob = refOf(data);
    await put(data, blob);
    await worker.report(lease, started(0, 9), step(1), saved(1, [blob]));
    const call = worker.client.fetchBlob(
      { sha256: blob.sha256, offset: 0 },
      bearer(worker.session),
    );
    const parts: Uint8Array[] = [];
    for await (const { data: part } of call) {
      parts.push(part as Uint8Array);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    expect(Buffer.concat(parts).equals(data)).toBe(true);
    process.off('warning', warned);
    expect(warnings).toEqual([]);
  });

  it('starts over in the next attempt after a restart of the API', async () => {
    const data = randomBytes(500_000);
    const blob = refOf(data);
    await expect(put(data, blob, 0, 300_000)).rejects.toMatchObject({ code: status.CANCELLED });
    worker.vanish();
    await api.restart();
    worker = await new ScriptedWorker(api).connect();
    lease = await worker.nextAssignment(40_000).then((next) => (worker.keep(next), next));
    // Partial data belong to one attempt.
    expect(await state(blob)).toEqual({ received: 0 });
    await put(data, blob);
  });

  it('that does not fit on the disk is permanently rejected before its first byte', async () => {
    const before = incoming();
    const blob = { ...refOf(randomBytes(10)), size: 2 ** 50 };
    await expect(put(Buffer.alloc(10), blob)).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: expect.stringMatching(/the server's disk is too small for/) as unknown,
    });
    expect(incoming()).toEqual(before);
  });

  it.each([
    ['immediately', 2 ** 50, 0],
    ['for an offset beyond the received bytes', 8_000_000, 4_000_000],
    ['at its end', 7_900_000, 0],
  ])('that is rejected %s does not block its connection', async (_, size, offset) => {
    const data = randomBytes(8_000_000);
    const refused = expect(put(data, { ...refOf(data), size }, offset)).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
    });
    const { jobId, attempt } = lease;
    await worker.heartbeat([{ jobId, attempt, step: 0 }]);
    await refused;
    const next = randomBytes(1_000_000);
    await put(next, refOf(next));
    await worker.heartbeat([{ jobId, attempt, step: 0 }]);
  });

  it("of another worker's lease reveals no state", async () => {
    const other = await new ScriptedWorker(api).connect();
    await expect(state(refOf(randomBytes(3)), other)).rejects.toMatchObject({
      code: status.FAILED_PRECONDITION,
    });
    other.vanish();
  });
});

describe.skipIf(s3Program === null)('with S3', () => {
  let api: TestApi;
  let s3: S3Server;
  beforeAll(async () => {
    s3 = await startS3();
    for (const [name, value] of Object.entries(s3.env)) vi.stubEnv(name, value);
    const blobs = `s3://${s3.bucket}/graft`;
    api = await startTestApi({ blobs, s3PathStyle: true, blobsPresign: true });
    await importBase(api);
  });
  afterAll(async () => {
    await api?.close();
    await s3?.stop();
    vi.unstubAllEnvs();
  });

  it('a job runs from upload to result, and its worker downloads with presigned URLs', async () => {
    const { worker, lease } = await scene(api);
    const { sha256 = '' } = lease.trainingFile ?? {};
    const answers: FetchBlobResponse[] = [];
    const call = worker.client.fetchBlob({ sha256, offset: 5 }, bearer(worker.session));
    for await (const answer of call) answers.push(answer as FetchBlobResponse);
    expect(answers).toHaveLength(1);
    const answer = await fetch(answers[0]?.url ?? '', { headers: { range: 'bytes=5-' } });
    expect(answer.headers.get('content-range')).toMatch(/^bytes 5-/);
    expect(await answer.text()).toBe(chats(12).slice(5));
    await worker.finish(lease, 3);
    const job = await api.get<{ status: string; result_files: string[]; fine_tuned_model: string }>(
      `/fine_tuning/jobs/${lease.jobId}`,
    );
    expect(job.status).toBe('succeeded');
    for (const file of job.result_files)
      expect((await (await api.client.files.content(file)).text()).length).toBeGreaterThan(0);
    const archive = await fetch(`${api.url}/v1/models/${job.fine_tuned_model}/archive`, {
      headers: api.headers,
    });
    expect((await archive.arrayBuffer()).byteLength).toBeGreaterThan(100);
    worker.vanish();
  });
});
