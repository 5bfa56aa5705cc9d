// Full disks: an upload that cannot be stored is rejected with a message, stored data stays intact, and
// everything continues when there is free space again.
import { createHash } from 'node:crypto';
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it, onTestFailed } from 'vitest';
import {
  chats,
  importBase,
  startTestApi,
  uploadChats,
  type TestApi,
} from '../../apps/api/test/fixture.js';
import { saved, ScriptedWorker, started, step } from '../../apps/api/test/scripted-worker.js';
import { Installation, until } from '../e2e/installation.js';
import { canMount, SmallDisk } from '../small-disk.js';

if (!canMount) console.warn('skipped: only root can mount the small disks that these tests fill');

const WORKER = fileURLToPath(new URL('./poison-worker.mjs', import.meta.url));
const PAGE = 4096;
const MEGABYTES = 4;

describe.skipIf(!canMount)("the blob store's disk", () => {
  let api: TestApi;
  let disk: SmallDisk;

  beforeAll(async () => {
    api = await startTestApi({ leaseMs: 60_000, reconcileMs: 300 });
    disk = SmallDisk.mountOverBlobs(join(api.home, 'blobs'), MEGABYTES);
    await importBase(api);
  });
  afterAll(async () => {
    await api?.close().catch(() => undefined);
    disk?.unmount();
  });

  const incoming = (): string[] => readdirSync(join(disk.path, 'incoming'));
  /** Free space that the API keeps in reserve for itself, in bytes. */
  const reserve = (): number => MEGABYTES * 1024 * 1024 * 0.02;

  function send(text: string): Promise<Response> {
    const form = new FormData();
    form.append('purpose', 'fine-tune');
    form.append('file', new Blob([text]), 'a.jsonl');
    return fetch(`${api.url}/v1/files`, { method: 'POST', headers: api.headers, body: form });
  }

  async function refused(response: Response): Promise<void> {
    expect([response.status, response.headers.get('x-should-retry')]).toEqual([507, 'false']);
    expect(await response.json()).toEqual({
      error: {
        message: expect.stringMatching(/disk|free/),
        type: 'server_error',
        param: null,
        code: 'disk_full',
      },
    });
    expect(incoming()).toEqual([]);
  }

  it('is full during an upload: rejects it with a message, stores no part of it, and keeps the other data', async () => {
    const before = await uploadChats(api);
    const rows = (): Promise<unknown[]> => api.query('SELECT * FROM blob ORDER BY sha256');
    const had = await rows();
    // Ends at several offsets around the last chunk that fits.
    for (const beyond of [1, PAGE, 40_000, 300_000]) {
      const space = Math.ceil(reserve() / PAGE) * PAGE + 10 * PAGE;
      disk.fill(space);
      await refused(await send(chats(1).padEnd(disk.free + beyond, ' ')));
      expect(await rows()).toEqual(had);
    }
    disk.fill(0);
    await refused(await send(chats(12)));
    expect((await (await api.client.files.content(before)).text()).length).toBeGreaterThan(0);
    expect((await fetch(`${api.url}/readyz`)).status).toBe(200);
    disk.empty();
    expect((await send(chats(13))).status).toBe(200);
  });

  it("is full during a worker's upload: rejects it, keeps the old checkpoint, and accepts it when there is free space", async () => {
    const { id } = await api.post<{ id: string }>('/fine_tuning/jobs', {
      model: 'tiny',
      training_file: await uploadChats(api, 14),
    });
    const worker = await new ScriptedWorker(api).connect();
    const lease = await worker.nextAssignment();
    const old = await worker.put(lease, 'state', 'state at 1');
    await worker.report(lease, started(0, 5), step(1), saved(1, [old]));
    const state = 'x'.repeat(2_000_000);
    for (const left of [0, Math.ceil(reserve()) + 20 * PAGE]) {
      disk.fill(left);
      await expect(worker.put(lease, 'state', state)).rejects.toMatchObject({
        code: status.RESOURCE_EXHAUSTED,
        details: expect.stringContaining('disk'),
      });
      expect(incoming()).toEqual([]);
    }
    expect((await worker.fetch(old.sha256)).toString()).toBe('state at 1');
    disk.empty();
    await worker.report(lease, step(2), saved(2, [await worker.put(lease, 'state', state)]));
    await worker.finish(lease, 5);
    expect(await api.get(`/fine_tuning/jobs/${id}`)).toMatchObject({ status: 'succeeded' });
    worker.vanish();
  });

  it('is full during an import: reports it in the model, and the import can be retried', async () => {
    disk.fill(Math.ceil(reserve()) + PAGE);
    const source = `dir:${join(api.home, 'source')}`;
    const blobs = await api.query('SELECT sha256 FROM blob ORDER BY sha256');
    // Its weights are already stored, but the API cannot know that before it has read them again.
    await api.post('/models', { id: 'again', source });
    const seen = async (): Promise<{ status: string; status_details: string | null }> =>
      (await api.get<{ graft: { status: string; status_details: string | null } }>('/models/again'))
        .graft;
    await until('the import to fail', async () => (await seen()).status === 'error');
    expect((await seen()).status_details).toMatch(/disk|space/);
    expect(await api.query('SELECT sha256 FROM blob ORDER BY sha256')).toEqual(blobs);
    expect(incoming()).toEqual([]);
    disk.empty();
    await api.post('/models', { id: 'again', source });
    await until('the import', async () => (await seen()).status === 'ready');
  });
});

describe.skipIf(!canMount)("a real worker's job, when the disk", { timeout: 300_000 }, () => {
  let graft: Installation;
  let disk: SmallDisk;
  let serverDisk: SmallDisk;

  const STEPS = 100;
  const LIMIT_MS = 120_000;
  const JOB = {
    model: 'tiny',
    seed: 5,
    hyperparameters: { batch_size: 2, n_epochs: 50 },
    peft: { peft_type: 'LORA', r: 4, lora_alpha: 8, target_modules: ['q_proj', 'v_proj'] },
    graft: { max_steps: STEPS, save_steps: 10, learning_rate: 0.01, base_dtype: 'f32' },
  };
  const stepOf = async (id: string): Promise<number> => (await graft.job(id)).graft.progress.step;
  /**
   * Sets the minimum duration of each piece of the trainer's work, in milliseconds (see poison-trainer.mjs).
   */
  const setPace = (ms: number): void => writeFileSync(join(graft.dir, 'pace'), String(ms));

  beforeAll(async () => {
    // A long lease, so that a slow machine does not look like a lost worker.
    graft = await Installation.start({ leaseMs: 15_000 });
    serverDisk = SmallDisk.mountOverBlobs(join(graft.dir, 'api', 'blobs'), 24);
    disk = SmallDisk.mount(graft.workerHome('small'), 24);
    graft.startWorkerOf(WORKER, 'small', { GRAFT_TEST_DIR: graft.dir });
    await graft.importTinyBase();
  });
  afterAll(async () => {
    await graft?.stop().catch(() => undefined);
    for (const mounted of [disk, serverDisk]) mounted?.unmount();
    if (graft) rmSync(graft.dir, { recursive: true, force: true });
  });

  it('of the worker is full during a checkpoint: keeps the old one, and resumes from it when there is free space', async () => {
    onTestFailed(() => console.error(graft.tails()));
    const training_file = await graft.uploadChats(40);
    const whole = await graft.results(
      await graft.succeeded((await graft.createJob({ ...JOB, training_file })).id, LIMIT_MS),
    );
    // Slow enough that the job is far from its end when the disk is full.
    setPace(20);
    const { id } = await graft.createJob({ ...JOB, training_file });
    const checkpoints = async (): Promise<number[]> =>
      (await graft.openai.fineTuning.jobs.checkpoints.list(id, { limit: 100 })).data.map(
        (c) => c.step_number,
      );
    await until('a checkpoint', async () => (await checkpoints()).length > 0, LIMIT_MS);
    disk.fill();
    setPace(0);
    const outcomes = async (): Promise<(string | null)[]> =>
      (await graft.job(id)).graft.attempts.map(({ outcome }) => outcome);
    await until('the attempt to end', async () => (await outcomes())[0] !== null, LIMIT_MS);
    const kept = await checkpoints();
    // While the disk is full, the job is retried, fails with the same outcome, and does not use up its
    // attempts.
    await until('two more tries', async () => (await outcomes()).length > 2, LIMIT_MS);
    expect(new Set((await outcomes()).filter((outcome) => outcome !== null))).toEqual(
      new Set(['disk_full']),
    );
    // A retry may have stored another checkpoint, but must not have lost one.
    const [newest = 0, ...older] = await checkpoints();
    expect([newest, ...older]).toEqual(expect.arrayContaining(kept));
    const log = (await graft.openai.fineTuning.jobs.listEvents(id)).data.map((e) => e.message);
    expect(log.some((message) => /disk is full|no space left/.test(message))).toBe(true);
    disk.empty();
    const job = await graft.succeeded(id, LIMIT_MS);
    expect(job.graft.attempts.at(-1)?.from_step).toBeGreaterThanOrEqual(newest);
    const files = await graft.results(job);
    for (const name of ['adapter_model.safetensors', 'metrics.csv'])
      expect(hash(losses(files, name)), name).toBe(hash(losses(whole, name)));
  });

  it('of the server is full: continues training, reports the waiting upload, and ends when there is free space', async () => {
    onTestFailed(() => console.error(graft.tails()));
    const training_file = await graft.uploadChats(40);
    setPace(20);
    const { id } = await graft.createJob({ ...JOB, seed: 6, training_file });
    await until('steps', async () => (await stepOf(id)) > 20, LIMIT_MS);
    serverDisk.fill();
    setPace(0);
    const warned = async (): Promise<boolean> => {
      const { data } = await graft.openai.fineTuning.jobs.listEvents(id, { limit: 1000 });
      return data.some(({ message }) => /^an upload is waiting: .*disk/.test(message));
    };
    await until('the warning', warned, LIMIT_MS);
    await until('the last step', async () => (await stepOf(id)) === STEPS, LIMIT_MS);
    expect((await graft.job(id)).status).toBe('running');
    serverDisk.empty();
    expect((await graft.succeeded(id, LIMIT_MS)).graft.attempts).toHaveLength(1);
  });
});

/** Bytes of a file. Of metrics.csv only step and loss, the columns that are equal in every run. */
function losses(files: Map<string, Buffer>, name: string): Buffer {
  const bytes = files.get(name) ?? Buffer.alloc(0);
  if (!name.endsWith('.csv')) return bytes;
  const lines = bytes.toString().trim().split('\n');
  return Buffer.from(lines.map((line) => line.split(',').slice(0, 2).join()).join('\n'));
}

const hash = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
