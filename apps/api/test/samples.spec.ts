// Answers of a run to its sample prompts, from a worker whose events the test scripts.
import type { JobEventObject, JobObject, JobSampleObject, Page, RunEvent } from '@graft/contracts';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { caught, importBase, startTestApi, uploadChats, type TestApi } from './fixture.js';
import { foundByIndex } from './long-history.js';
import { evaluated, ScriptedWorker, started, step } from './scripted-worker.js';

let api: TestApi;
let worker: ScriptedWorker | null = null;
let file: string;

beforeAll(async () => {
  api = await startTestApi({ leaseMs: 1_500 });
  await importBase(api);
  file = await uploadChats(api);
});
afterEach(() => {
  worker?.vanish();
  worker = null;
});
afterAll(() => api?.close());

const PROMPTS = ['once', [{ role: 'user', content: 'what is 2 plus 2?' }]];

const create = (graft: object, more: object = {}) =>
  api.client.fineTuning.jobs.create({
    model: 'tiny',
    training_file: file,
    ...more,
    graft,
  } as never) as unknown as Promise<JobObject>;
const samplesOf = (id: string, query = '') =>
  api.get<Page<JobSampleObject>>(`/fine_tuning/jobs/${id}/samples${query}`);
const cancel = (id: string) => api.post(`/fine_tuning/jobs/${id}/cancel`);

const sampled = (at: number, ...texts: string[]): RunEvent => ({
  kind: 'sampled',
  payload: {
    step: at,
    samples: texts.map((text) => ({
      text,
      finish_reason: 'stop',
      completion_tokens: text.length,
    })),
  },
});

// Must run before the other tests, which scan the index for more than this list.
it('finds the answers of a job without reading the rest of its history', async () => {
  const { id } = await create({ sample_prompts: PROMPTS });
  await foundByIndex(api, { job: id, index: 'event_kind' }, () => samplesOf(id));
  await cancel(id);
});

it('lists the answers of each step, newest first, and reports them in the events', async () => {
  const job = await create({ sample_prompts: PROMPTS, sample_max_tokens: 9, eval_steps: 2 });
  expect(job.graft).toMatchObject({ sample_prompts: PROMPTS, sample_max_tokens: 9 });
  worker = await new ScriptedWorker(api).connect();
  const lease = await worker.nextAssignment();
  expect(JSON.parse(lease.specJson)).toMatchObject({
    sample_prompts: PROMPTS,
    sample_max_tokens: 9,
  });
  worker.keep(lease);
  expect((await samplesOf(job.id)).data).toEqual([]);
  await worker.report(lease, started(0, 4), sampled(0, 'upon', 'no\u0000t'), step(1), step(2));
  await worker.report(lease, evaluated(2, 2), sampled(2, ' a time', '4'));
  const { data, has_more } = await samplesOf(job.id);
  expect(has_more).toBe(false);
  expect(data).toMatchObject([
    {
      object: 'fine_tuning.job.sample',
      step_number: 2,
      data: [
        { prompt: 'once', text: ' a time', finish_reason: 'stop', completion_tokens: 7 },
        { prompt: PROMPTS[1], text: '4', completion_tokens: 1 },
      ],
    },
    { step_number: 0, data: [{ text: 'upon' }, { text: expect.stringMatching(/^no.?t$/u) }] },
  ]);
  const first = await samplesOf(job.id, '?limit=1');
  expect(first).toMatchObject({ has_more: true, data: [{ step_number: 2 }] });
  expect(await samplesOf(job.id, `?after=${first.data[0]!.id}`)).toMatchObject({
    has_more: false,
    data: [{ step_number: 0 }],
  });
  const events = await api.get<Page<JobEventObject>>(`/fine_tuning/jobs/${job.id}/events`);
  expect(events.data.find(({ graft }) => graft.kind === 'sample')).toMatchObject({
    type: 'message',
    message: 'Step 2: answered 2 sample prompts',
    data: { step: 2 },
  });
  await cancel(job.id);
});

it('lists each step once, however often it is repeated, and ignores a wrong number of answers', async () => {
  const job = await create({ sample_prompts: PROMPTS });
  worker = await new ScriptedWorker(api).connect();
  const first = await worker.nextAssignment();
  await worker.report(
    first,
    started(0, 4),
    sampled(0, 'a', 'b'),
    step(1),
    step(2),
    sampled(2, 'c', 'd'),
  );
  // one answer for two prompts
  await worker.report(first, sampled(3, 'alone'));
  worker.vanish();
  worker = await new ScriptedWorker(api).connect();
  const second = await worker.nextAssignment(20_000);
  expect(second.jobId).toBe(job.id);
  expect(second.attempt).toBeGreaterThan(first.attempt);
  worker.keep(second);
  await worker.report(
    second,
    started(0, 4),
    sampled(0, 'a', 'b'),
    step(1),
    step(2),
    sampled(2, 'c', 'd'),
  );
  await worker.report(second, step(3), step(4), sampled(4, 'e', 'f'));
  const { data } = await samplesOf(job.id);
  expect(data.map((one) => [one.step_number, one.data.map(({ text }) => text)])).toEqual([
    [4, ['e', 'f']],
    [2, ['c', 'd']],
    [0, ['a', 'b']],
  ]);
  await cancel(job.id);
});

it.each([
  [[], 'graft.sample_prompts', {}],
  [Array.from({ length: 9 }, () => 'x'), 'graft.sample_prompts', {}],
  [[''], 'graft.sample_prompts.0', {}],
  [['fine', 'x '.repeat(4000)], 'graft.sample_prompts.1', {}],
  [[[{ role: 'robot', content: 'x' }]], 'graft.sample_prompts.0', {}],
])(
  'rejects prompts that cannot be answered, with their index: %j',
  async (prompts, param, more) => {
    const refusal = await caught(create({ sample_prompts: prompts }, more) as Promise<unknown>);
    expect(refusal.status).toBe(400);
    expect(String(refusal.param).startsWith(param)).toBe(true);
  },
);

it('rejects an eval_steps with which the prompts would be answered too often', async () => {
  const more = {
    training_file: await uploadChats(api, 1_100),
    hyperparameters: { n_epochs: 1, batch_size: 1 },
  };
  const asked = { sample_prompts: PROMPTS, eval_steps: 1, validation_split: null };
  for (const [steps, graft] of [
    [1_100, asked],
    [1_000, { ...asked, max_steps: 1_000 }],
  ] as const)
    expect(await caught(create(graft, more) as Promise<unknown>)).toMatchObject({
      status: 400,
      param: 'graft.eval_steps',
      message: expect.stringContaining(
        `expected an integer ≥ 2 or 0, got 1: graft.sample_prompts would be answered ${steps + 1} times in ${steps} steps`,
      ),
    });
  const fine = [{ ...asked, max_steps: 999 }, { ...asked, eval_steps: 2 }, { ...asked, eval_steps: 0 }, { eval_steps: 1 }]; // prettier-ignore
  for (const graft of fine) await cancel((await create(graft, more)).id);
});

it('rejects prompts if the models of the task cannot generate text', async () => {
  const pairs = Array.from({ length: 12 }, (_, n) =>
    JSON.stringify({ anchor: `question ${n}`, positive: `answer ${n}` }),
  );
  const { id } = await api.client.files.create({
    file: new File([`${pairs.join('\n')}\n`], 'pairs.jsonl'),
    purpose: 'fine-tune',
  });
  const graft = { task: 'feature_extraction', sample_prompts: ['x'] };
  const refusal = await caught(create(graft, { training_file: id }) as Promise<unknown>);
  expect(refusal).toMatchObject({
    status: 400,
    param: 'graft.sample_prompts',
    message: expect.stringContaining('models of task feature_extraction write no answers'),
  });
});
