// The loss ledger of a job, from a worker whose events the test scripts.
import type { JobLedgerObject, JobObject, RunEvent } from '@graft/contracts';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { caught, importBase, startTestApi, uploadChats, type TestApi } from './fixture.js';
import { foundByIndex } from './long-history.js';
import { ask } from './projects.js';
import { ScriptedWorker, started, step } from './scripted-worker.js';

let api: TestApi;
let worker: ScriptedWorker | null = null;
let file: string;

beforeAll(async () => {
  api = await startTestApi({ leaseMs: 3_000 });
  await importBase(api);
  file = await uploadChats(api);
});
afterEach(() => {
  worker?.vanish();
  worker = null;
});
afterAll(() => api?.close());

const create = (graft: object, more: object = {}) =>
  api.client.fineTuning.jobs.create({
    model: 'tiny',
    training_file: file,
    ...more,
    graft,
  } as never) as unknown as Promise<JobObject>;
const ledgerOf = (id: string, query = '') =>
  api.get<JobLedgerObject>(`/fine_tuning/jobs/${id}/ledger${query}`);

type Rows = [line: number, loss: number, baseLoss?: number][];
const ledger = (...rows: Rows): RunEvent => ledgerAt(2, ...rows);
const ledgerAt = (step: number, ...rows: Rows): RunEvent => ({
  kind: 'ledger',
  payload: {
    step,
    examples: 12,
    mean_loss: 1.5,
    rows: rows.map(([line, loss, baseLoss = null]) => ({ line, loss, base_loss: baseLoss })),
  },
});

// Must run before the other tests, which scan the index for more than this response.
it("is found without reading the rest of a job's history", async () => {
  const { id } = await create({ loss_ledger: true });
  await foundByIndex(api, { job: id, index: 'event_kind' }, () => ledgerOf(id));
  await api.post(`/fine_tuning/jobs/${id}/cancel`);
});

it('lists the examples with the highest loss and the least improvement, with the start of their records', async () => {
  const job = await create({ loss_ledger: true });
  expect(job.graft.loss_ledger).toBe(true);
  worker = await new ScriptedWorker(api).connect();
  const lease = await worker.nextAssignment();
  worker.keep(lease);
  expect(JSON.parse(lease.specJson)).toMatchObject({ loss_ledger: true });
  await worker.report(lease, started(0, 2), step(1), step(2));
  expect(await ledgerOf(job.id)).toMatchObject({ examples: null, mean_loss: null, data: [] });
  await worker.report(lease, ledger([7, NaN, 3], [3, 5, 6], [12, 4, 3.5], [1, 2]));
  // As after a resume; the first ledger is kept.
  await worker.report(lease, ledger([1, 9, 9]));
  await worker.finish(lease, 2);
  const found = await ledgerOf(job.id);
  expect(found).toMatchObject({
    object: 'fine_tuning.job.ledger',
    job_id: job.id,
    examples: 12,
    mean_loss: 1.5,
  });
  expect(found.data.map(({ line, loss, base_loss }) => [line, loss, base_loss])).toEqual([
    [7, null, 3],
    [3, 5, 6],
    [12, 4, 3.5],
    [1, 2, null],
  ]);
  const records = (await api.client.files.content(file).then((one) => one.text())).split('\n');
  for (const { line, record } of found.data) expect(record).toBe(records[line - 1]?.slice(0, 200));
  const least = await ledgerOf(job.id, '?order=least_learnt&limit=3');
  expect(least.data.map(({ line }) => line)).toEqual([7, 12, 3]);
  for (const query of ['?order=best', '?limit=501', '?limit=0'])
    await expect(ledgerOf(job.id, query)).rejects.toThrow('400');
  // Records require the scope to read files.
  const body = { name: 'jobs only', scopes: ['jobs:read'] };
  const { secret } = await api.post<{ secret: string }>('/keys', body);
  const seen = await ask(api, secret, 'get', `/v1/fine_tuning/jobs/${job.id}/ledger`);
  expect(seen.status).toBe(200);
  const rows = (JSON.parse(seen.text) as JobLedgerObject).data;
  expect(rows.map(({ line, record }) => [line, record])).toEqual([
    [7, null],
    [3, null],
    [12, null],
    [1, null],
  ]);
});

it('is ignored for a job that did not request it', async () => {
  const job = await create({});
  worker = await new ScriptedWorker(api).connect();
  const lease = await worker.nextAssignment();
  worker.keep(lease);
  await worker.report(lease, started(0, 2), step(1), ledger([1, 2]));
  expect(await ledgerOf(job.id)).toMatchObject({ examples: null, data: [] });
  await api.post(`/fine_tuning/jobs/${job.id}/cancel`);
});

it('can also be requested at the end of epochs', async () => {
  const body = { hyperparameters: { n_epochs: 3, batch_size: 6 } };
  const wrong = await caught(create({ loss_ledger_epochs: [4] }, body) as Promise<unknown>);
  expect(wrong).toMatchObject({ status: 400, param: 'graft.loss_ledger_epochs' });
  const both = { loss_ledger: false, loss_ledger_epochs: [1] };
  expect(await caught(create(both, body) as Promise<unknown>)).toMatchObject({ status: 400 });

  const job = await create({ loss_ledger_epochs: [2, 1, 2] }, body);
  worker = await new ScriptedWorker(api).connect();
  const lease = await worker.nextAssignment();
  worker.keep(lease);
  expect(JSON.parse(lease.specJson)).toMatchObject({
    loss_ledger: true,
    loss_ledger_epochs: [1, 2],
  });
  await worker.report(lease, started(0, 6), step(1), step(2), ledgerAt(2, [1, 9]));
  await worker.report(lease, step(3), step(4), ledgerAt(4, [2, 8]), ledgerAt(2, [5, 5]));
  await worker.report(lease, step(5), step(6), ledgerAt(6, [3, 7]));
  await worker.report(lease, ledgerAt(5, [5, 5]));
  await worker.finish(lease, 6);
  const lines = async (query = '') => (await ledgerOf(job.id, query)).data.map(({ line }) => line);
  expect(await ledgerOf(job.id)).toMatchObject({ steps: [2, 4, 6], step_number: 6 });
  expect([await lines(), await lines('?step=2'), await lines('?step=4')]).toEqual([[3], [1], [2]]);
  await expect(ledgerOf(job.id, '?step=3')).rejects.toThrow('one of 2, 4, 6');
});

it('shows records from the start of a large file, and stops reading at ledgerBytes', async () => {
  const large = await uploadChats(api, 5_000);
  const job = await create({ loss_ledger: true }, { training_file: large });
  worker = await new ScriptedWorker(api).connect();
  const lease = await worker.nextAssignment();
  worker.keep(lease);
  await worker.report(lease, started(0, 2), step(1), step(2), ledger([4_900, 9], [3, 5]));
  await worker.finish(lease, 2);
  const shown = async () => (await ledgerOf(job.id)).data.map(({ record }) => record !== null);
  expect(await shown()).toEqual([true, true]);
  worker.vanish();
  const bounded = await startTestApi({ beside: api, ledgerBytes: 100_000 });
  const { data } = await bounded.get<JobLedgerObject>(`/fine_tuning/jobs/${job.id}/ledger`);
  await bounded.close();
  expect(data.map(({ line, record }) => [line, record === null])).toEqual([
    [4_900, true],
    [3, false],
  ]);
});
