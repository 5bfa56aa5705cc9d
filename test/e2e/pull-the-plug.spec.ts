// Pulls the plug on real trainers: the interrupted job ends with the same bytes, and its receipt proves it.
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type {
  JobInterruptObject,
  JobReceiptObject,
  ReceiptComparisonObject,
} from '@graft/contracts';
import { afterAll, beforeAll, expect, it, onTestFailed } from 'vitest';
import { Installation, until } from './installation.js';

const PACED_WORKER = fileURLToPath(new URL('../chaos/poison-worker.mjs', import.meta.url));
const WEIGHTS = 'adapter_model.safetensors';
const JOB = {
  model: 'tiny',
  seed: 11,
  // Batches of more than 64 tokens: shorter ones of several jobs share a forward pass (ADR 0007).
  hyperparameters: { batch_size: 8, n_epochs: 50 },
  peft: { peft_type: 'LORA', r: 4, lora_dropout: 0.1 },
  graft: { max_steps: 40, save_steps: 10, eval_steps: 10, learning_rate: 0.01, base_dtype: 'f32' },
};

let graft: Installation;
let training_file: string;
let undisturbed: string;

beforeAll(async () => {
  graft = await Installation.start();
  graft.startWorkerOf(PACED_WORKER, 'a', { GRAFT_TEST_DIR: graft.dir }, '--slots', '3');
  await graft.importTinyBase();
  training_file = await graft.uploadChats(40);
  ({ id: undisturbed } = await graft.createJob({ ...JOB, training_file }));
  await graft.succeeded(undisturbed);
  // From now on slowly, so that no job ends before it is interrupted.
  writeFileSync(join(graft.dir, 'pace'), '40');
}, 120_000);
afterAll(() => graft?.stop());

const get = <T>(path: string): Promise<T> => graft.openai.get(path);
const hasCheckpoint = (id: string) => async (): Promise<boolean> =>
  (await graft.openai.fineTuning.jobs.checkpoints.list(id)).data.length > 0;
const compared = (id: string) =>
  get<ReceiptComparisonObject>(`/fine_tuning/jobs/${id}/receipt/comparison?with=${undisturbed}`);

it('an interrupted job ends with the bytes of an undisturbed one', async () => {
  onTestFailed(() => console.error(graft.tails()));
  const { id } = await graft.createJob({ ...JOB, training_file });
  await until('a checkpoint', hasCheckpoint(id));
  const interrupted = (await graft.openai.post(`/fine_tuning/jobs/${id}/interrupt`)) as JobInterruptObject; // prettier-ignore
  expect(interrupted.jobs[0]?.resumes_from).toBeGreaterThanOrEqual(10);
  await until('the next attempt', async () => {
    const { attempts } = (await graft.job(id)).graft;
    return attempts.length > 1 && attempts[1]?.started_at !== null;
  });
  writeFileSync(join(graft.dir, 'pace'), '0');
  const job = await graft.succeeded(id);
  writeFileSync(join(graft.dir, 'pace'), '40');
  const [first, second] = job.graft.attempts;
  expect(first).toMatchObject({ outcome: 'interrupted', from_step: 0 });
  expect(first?.reason).toMatch(/^interrupted on purpose by /);
  expect(second?.outcome).toBe('done');
  // Another checkpoint may have arrived between the answer and the kill.
  expect(second?.from_step).toBeGreaterThanOrEqual(interrupted.jobs[0]?.resumes_from ?? 0);
  const proof = await compared(id);
  expect(proof).toMatchObject({
    verdict: 'identical',
    jobs: [id, undisturbed],
    interruptions: [1, 0],
    options: [],
  });
  expect(proof.parts.filter(({ equal }) => equal !== true)).toEqual([]);
  // A checkpoint may be missing: while one is being uploaded, only the newest of the next ones waits.
  expect(proof.checkpoints.map(({ step }) => step)).toContain(40);
  expect(proof.checkpoints.every(({ equal }) => equal)).toBe(true);
  const sha256 = createHash('sha256')
    .update((await graft.results(job)).get(WEIGHTS) ?? '')
    .digest('hex');
  const file = proof.files.find(({ name }) => name === WEIGHTS);
  expect(file).toEqual({ name: WEIGHTS, equal: true, sha256: [sha256, sha256] });
  const receipt = await get<JobReceiptObject>(`/fine_tuning/jobs/${id}/receipt`);
  expect(receipt.attempts.map(({ threads, device }) => [threads, device])).toEqual([
    [1, 'cpu'],
    [1, 'cpu'],
  ]);
}, 90_000);

it('jobs that share the process resume, too, with the same bytes', async () => {
  onTestFailed(() => console.error(graft.tails()));
  const { id } = await graft.createJob({ ...JOB, training_file });
  const { id: neighbor } = await graft.createJob({ ...JOB, training_file });
  for (const one of [id, neighbor]) await until('a checkpoint', hasCheckpoint(one));
  const interrupt = (body: object) =>
    graft.openai.post(`/fine_tuning/jobs/${id}/interrupt`, { body }) as Promise<JobInterruptObject>;
  await expect(interrupt({})).rejects.toMatchObject({ status: 409, param: 'force' });
  expect((await interrupt({ force: true })).jobs).toHaveLength(2);
  writeFileSync(join(graft.dir, 'pace'), '0');
  for (const one of [id, neighbor]) {
    const { graft: found } = await graft.succeeded(one);
    expect(found.attempts.map(({ outcome }) => outcome)).toEqual(['interrupted', 'done']);
    expect((await compared(one)).verdict).toBe('identical');
  }
}, 90_000);
