// Receipts of jobs and their comparison.
import { createHash } from 'node:crypto';
import type { JobObject, JobReceiptObject, ReceiptComparisonObject } from '@graft/contracts';
import { compareReceipts } from '@graft/contracts/compare-receipts';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { importBase, startTestApi, uploadChats, type TestApi } from './fixture.js';
import { ask, makeProject } from './projects.js';
import { saved, ScriptedWorker, started, step } from './scripted-worker.js';

let api: TestApi;
let file: string;
let worker: ScriptedWorker;

beforeAll(async () => {
  api = await startTestApi();
  await importBase(api);
  file = await uploadChats(api);
  worker = await new ScriptedWorker(api).connect();
}, 60_000);
afterAll(() => api?.close());

const WEIGHTS = 'adapter_model.safetensors';
const receiptOf = (id: string) => api.get<JobReceiptObject>(`/fine_tuning/jobs/${id}/receipt`);
const compared = (id: string, other: string) =>
  api.get<ReceiptComparisonObject>(`/fine_tuning/jobs/${id}/receipt/comparison?with=${other}`);

const startedOn = (build: string) => {
  const { payload } = started(0, 3, `process-${build}`);
  return { kind: 'started', payload: { ...payload, device: 'cpu', threads: 2, trainer_build: build } } as const; // prettier-ignore
};

interface Run {
  readonly weights?: string;
  readonly build?: string;
  readonly more?: object;
  readonly trainingFile?: string;
}

async function create({ more = {}, trainingFile = file }: Run = {}): Promise<string> {
  const body = { model: 'tiny', training_file: trainingFile, seed: 3, ...more };
  return (await api.post<JobObject>('/fine_tuning/jobs', body)).id;
}

/** Trains a job with one checkpoint. */
async function train(run: Run = {}): Promise<string> {
  const { weights = 'weights', build = 'build-1' } = run;
  const id = await create(run);
  const lease = await worker.nextAssignment();
  const adapter = await worker.put(lease, WEIGHTS, `${weights} at 2`);
  await worker.report(lease, startedOn(build), step(1), step(2), saved(2, [adapter], [adapter]), step(3)); // prettier-ignore
  await worker.finish(lease, 3, {}, { [WEIGHTS]: weights });
  return id;
}

/** Canonical JSON, written differently from the service. */
const canonical = (value: unknown): string => {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const keys = Object.keys(value).sort();
  const of = value as Record<string, unknown>;
  return `{${keys.map((key) => `${JSON.stringify(key)}:${canonical(of[key])}`).join(',')}}`;
};
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

it('names every input and result by its hash, and hashes itself', async () => {
  const id = await train();
  const receipt = await receiptOf(id);
  const content = await (await fetch(`${api.url}/v1/files/${file}/content`, { headers: api.headers })).text(); // prettier-ignore
  expect(receipt.data).toEqual({
    training_sha256: sha256(content),
    validation_sha256: null,
    init_adapter: [],
  });
  expect(receipt.base.files.map(({ name }) => name)).toContain('model.safetensors');
  expect(receipt.attempts).toMatchObject([
    { number: 1, worker: 'scripted', trainer_build: 'build-1', device: 'cpu', threads: 2, from_step: 0, to_step: 3, outcome: 'done' }, // prettier-ignore
  ]);
  expect(receipt.checkpoints).toEqual([
    { step: 2, attempt: 1, weights_sha256: sha256('weights at 2') },
  ]);
  expect(receipt.result?.files).toContainEqual({ name: WEIGHTS, sha256: sha256('weights'), bytes: 7 }); // prettier-ignore
  const { receipt_sha256: own, ...rest } = receipt;
  expect(own).toBe(sha256(canonical(rest)));
  expect(receipt.spec_sha256).toBe(sha256(canonical(receipt.spec)));
  expect(Object.keys(receipt)).toEqual(Object.keys(receipt).sort());
  expect(await receiptOf(id)).toEqual(receipt);
});

it('keeps the hash of a training file that was deleted', async () => {
  const trainingFile = await uploadChats(api, 14);
  const id = await train({ trainingFile });
  const before = await receiptOf(id);
  await api.client.files.delete(trainingFile);
  expect(await receiptOf(id)).toEqual(before);
  expect(before.data.training_sha256).toMatch(/^[0-9a-f]{64}$/);
});

it('finds jobs with equal inputs and weights identical', async () => {
  const found = await compared(await train(), await train());
  expect(found.verdict).toBe('identical');
  expect(found.text).toBe('Identical: equal inputs, and the weights are equal byte for byte, with no interruption in the first job and no interruption in the second'); // prettier-ignore
  expect(found.parts.map(({ part, equal }) => [part, equal])).toEqual(
    ['base', 'training_data', 'validation_data', 'init_adapter', 'spec', 'trainer', 'weights'].map(
      (part) => [part, true],
    ),
  );
  expect(found.files.find(({ name }) => name === WEIGHTS)?.equal).toBe(true);
  expect(found.checkpoints).toMatchObject([{ step: 2, equal: true }]);
});

it('reports different weights, and whether the trainers explain them', async () => {
  const id = await train();
  const same = await compared(id, await train({ weights: 'other' }));
  expect(same.verdict).toBe('different_result');
  expect(same.text).toBe('The inputs and trainers are equal, but the weights differ');
  expect(same.checkpoints).toMatchObject([{ step: 2, equal: false }]);
  const other = await compared(id, await train({ weights: 'other', build: 'build-2' }));
  expect(other.verdict).toBe('different_result');
  expect(other.text).toContain('different trainers');
});

it('names different inputs and the options that differ', async () => {
  const id = await train();
  const found = await compared(id, await train({ more: { graft: { learning_rate: 0.5 } } }));
  expect(found.verdict).toBe('different_inputs');
  expect(found.text).toBe('The jobs are not comparable: different settings');
  expect(found.options).toMatchObject([
    { name: 'learning_rate', values: [expect.anything(), 0.5] },
  ]);
});

it('claims nothing about parts whose hash is unknown', async () => {
  const a = await receiptOf(await train());
  const b = await receiptOf(await train());
  const withoutBase = { ...b, base: { ...b.base, sha256: null } };
  expect(compareReceipts(a, withoutBase)).toMatchObject({
    verdict: 'unknown',
    text: 'The comparison is incomplete, because a job has no hash of: base model; the weights are equal byte for byte',
  });
});

it('reports a job without a result as unfinished', async () => {
  const id = await train();
  const waiting = await create({ more: { graft: { pool: 'nobody' } } });
  expect((await receiptOf(waiting)).result).toBeNull();
  expect(await compared(id, waiting)).toMatchObject({ verdict: 'unfinished', files: expect.anything() }); // prettier-ignore
});

it('shows no job of another project', async () => {
  const id = await train();
  const { member } = await makeProject(api, 'curious');
  for (const path of ['receipt', `receipt/comparison?with=${id}`])
    expect((await ask(api, member.key, 'get', `/v1/fine_tuning/jobs/${id}/${path}`)).status).toBe(404); // prettier-ignore
  const missing = await ask(
    api,
    api.apiKey,
    'get',
    `/v1/fine_tuning/jobs/${id}/receipt/comparison`,
  );
  expect(missing).toMatchObject({ status: 400, code: 'missing_required_parameter' });
});
