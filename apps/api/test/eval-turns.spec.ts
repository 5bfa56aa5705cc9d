// Waiting eval runs hold no slot, take turns, and fail if they wait too long.
import type OpenAI from 'openai';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { RUN, EVAL } from './changes/eval-changes.js';
import { importBase, startTestApi, until, type TestApi } from './fixture.js';
import { clientOf, makeProject } from './projects.js';
import { ScriptedWorker } from './scripted-worker.js';

/** Number of concurrent runs per API process (evals/eval-runner.ts). */
const SLOTS = 8;

let api: TestApi;
/** One client per project. */
let clients: OpenAI[];
const workers: ScriptedWorker[] = [];
const timers: NodeJS.Timeout[] = [];

beforeAll(async () => {
  api = await startTestApi({ evalTurnMs: 500 });
  await importBase(api);
  clients = [];
  for (let n = 0; n <= SLOTS; n++)
    clients.push(clientOf(api, (await makeProject(api, `evaluates ${n}`)).owner.key));
});
afterEach(async () => {
  for (const timer of timers.splice(0)) clearInterval(timer);
  for (const worker of workers.splice(0)) worker.vanish();
  await api.query(
    `UPDATE eval_run SET status = 'canceled', owner = NULL WHERE status IN ('queued', 'in_progress')`,
  );
});
afterAll(() => api?.close());

const asksModel = (count: number, more: object = {}) => ({
  data_source: {
    type: 'completions',
    model: 'tiny',
    source: {
      type: 'file_content',
      content: Array.from({ length: count }, (_, n) => ({ item: { word: `w${n}` } })),
    },
    input_messages: {
      type: 'template',
      template: [{ role: 'user', content: 'Say {{item.word}}' }],
    },
    ...more,
  },
});

async function makeRun(client: OpenAI, run: object, ofEval: object = EVAL) {
  const { id: evalId } = await client.evals.create(ofEval as never);
  const { id } = await client.evals.runs.create(evalId, run as never);
  return {
    id,
    get: () => client.evals.runs.retrieve(id, { eval_id: evalId }),
    cancel: () => client.evals.runs.cancel(id, { eval_id: evalId }),
  };
}

type Run = Awaited<ReturnType<typeof makeRun>>;
const hasStatus = (run: Run, status: string) => async () => (await run.get()).status === status;
const hasWaited = (run: Run) => async () =>
  (
    await api.query<{ waits: boolean }>(
      'SELECT owner IS NULL AND waiting_since IS NOT NULL AS waits FROM eval_run WHERE id = $1',
      [run.id],
    )
  )[0]!.waits;

/** Connects a worker that answers each question, or rejects it with a code; at most `most` every 20 ms. */
async function answering(
  answer: (question: string) => string | { readonly code: string } = () => 'A',
  most = Infinity,
): Promise<{ readonly asked: string[] }> {
  const worker = await new ScriptedWorker(api, { maxChats: 64 }).connect();
  workers.push(worker);
  const asked: string[] = [];
  timers.push(
    setInterval(() => {
      for (const { id, messages } of worker.requests.slice(asked.length).slice(0, most)) {
        const question = messages.at(-1)!.content;
        asked.push(question);
        const reply = answer(question);
        if (typeof reply === 'string') worker.sendText(id, reply);
        else worker.sendText(id, '', 'error', reply.code);
      }
    }, 20),
  );
  return { asked };
}

it('runs that wait for a worker do not block a run that needs none', async () => {
  const waiting = [];
  for (const client of clients.slice(0, SLOTS)) waiting.push(await makeRun(client, asksModel(1)));
  for (const run of waiting) await until(hasStatus(run, 'in_progress'));
  const ninth = await makeRun(clients[SLOTS]!, RUN);
  await until(hasStatus(ninth, 'completed'));
  for (const run of waiting) expect((await run.get()).status).toBe('in_progress');
  await answering();
  for (const run of waiting) await until(hasStatus(run, 'completed'));
});

it('active runs yield after their turn', async () => {
  await answering(undefined, 1);
  const long = [];
  for (const client of clients.slice(0, SLOTS)) long.push(await makeRun(client, asksModel(400)));
  for (const run of long) await until(hasStatus(run, 'in_progress'));
  const ninth = await makeRun(clients[SLOTS]!, RUN);
  await until(hasStatus(ninth, 'completed'), 30_000);
  for (const run of long) expect((await run.get()).status).toBe('in_progress');
});

it('a waiting run survives a restart, and can be cancelled', async () => {
  const [kept, left] = [
    await makeRun(clients[0]!, asksModel(2)),
    await makeRun(clients[1]!, asksModel(2)),
  ] as const;
  await until(hasWaited(kept));
  await until(hasWaited(left));
  await api.restart();
  clients = clients.map((client) => clientOf(api, client.apiKey!));
  const query = `SELECT status FROM eval_run WHERE id = ANY($1)`;
  expect(await api.query(query, [[kept.id, left.id]])).toEqual([
    { status: 'in_progress' },
    { status: 'in_progress' },
  ]);
  const of = async (run: Run) =>
    (
      await api.query<{ eval_id: string; status: string }>('SELECT * FROM eval_run WHERE id = $1', [
        run.id,
      ])
    )[0]!;
  const cancelled = await clients[1]!.evals.runs.cancel(left.id, {
    eval_id: (await of(left)).eval_id,
  });
  expect(cancelled.status).toBe('canceled');
  await answering();
  await until(async () => (await of(kept)).status === 'completed', 40_000);
  expect((await of(left)).status).toBe('canceled');
}, 90_000);

it.each(['io_error', 'disk_full'])(
  'an item is retried if the worker reports %s, which the item does not cause',
  async (code) => {
    let refused = 0;
    await answering(() => (refused++ < 1 ? { code } : 'A'));
    const run = await makeRun(clients[0]!, asksModel(1));
    await until(hasStatus(run, 'completed'), 30_000);
    expect((await run.get()).result_counts).toMatchObject({ total: 1, errored: 0 });
    expect(refused).toBe(2);
  },
);

it.each(['no_memory', 'oom_host', 'hang'])(
  'an item gets an error if the worker reports %s, and the run continues',
  async (code) => {
    let asked = 0;
    await answering(() => (asked++ < 1 ? { code } : 'A'));
    const run = await makeRun(clients[0]!, asksModel(2));
    await until(hasStatus(run, 'completed'), 30_000);
    expect((await run.get()).result_counts).toMatchObject({ total: 2, errored: 1 });
    expect(asked).toBe(2);
  },
);

it('keeps an answer whose grader has to wait', async () => {
  let refused = 0;
  const { asked } = await answering((question) =>
    question.startsWith('Say') ? 'A' : refused++ < 2 ? { code: 'unavailable' } : '1',
  );
  const judge = (name: string) => ({
    type: 'score_model',
    name,
    model: 'tiny',
    input: [{ role: 'user', content: `${name}: grade {{sample.output_text}}` }],
  });
  const run = await makeRun(clients[0]!, asksModel(1), {
    data_source_config: { type: 'custom', item_schema: {}, include_sample_schema: true },
    testing_criteria: [judge('first'), judge('second')],
  });
  await until(hasStatus(run, 'completed'));
  expect(asked.filter((one) => one.startsWith('Say'))).toHaveLength(1);
  expect(await run.get()).toMatchObject({
    result_counts: { total: 1, passed: 1 },
    per_testing_criteria_results: [{ passed: 1 }, { passed: 1 }],
    per_model_usage: [{ invocation_count: 3 }],
  });
});

it('a run that waits too long fails with the reason', async () => {
  const impatient = await startTestApi({ evalWaitMs: 1 });
  try {
    await importBase(impatient);
    const run = await makeRun(impatient.client, asksModel(3));
    await until(hasStatus(run, 'failed'));
    expect(await run.get()).toMatchObject({
      error: {
        code: 'no_worker',
        message: expect.stringMatching(
          /the run waited for more than .*GRAFT_EVAL_WAIT.*no connected worker/,
        ),
      },
      result_counts: { total: 3, passed: 0, failed: 0, errored: 0 },
    });
    expect(await impatient.query('SELECT owner, wanted_pool FROM eval_run')).toEqual([
      { owner: null, wanted_pool: null },
    ]);
  } finally {
    await impatient.close();
  }
});
