import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { EVAL, RUN } from './changes/eval-changes.js';
import { importBase, startTestApi, until, type TestApi } from './fixture.js';
import { ScriptedWorker } from './scripted-worker.js';

// How API processes claim eval runs.

/** Advisory lock under which they are claimed (evals/eval-claims.ts). */
const ADVISORY_LOCK = 7_240_261;

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api?.close());

it('a run that is cancelled while a process claims it stays cancelled', async () => {
  const { id: of } = await api.post<{ id: string }>('/evals', EVAL);
  const { id } = await api.post<{ id: string }>(`/evals/${of}/runs`, RUN);
  const status = async () => (await api.get<{ status: string }>(`/evals/${of}/runs/${id}`)).status;
  await until(async () => (await status()) === 'completed');
  const [taker, canceller] = [0, 1].map(() => new pg.Client({ connectionString: api.databaseUrl }));
  try {
    await taker?.connect();
    await canceller?.connect();
    // No process claims runs while this one is reset.
    await taker?.query('SELECT pg_advisory_lock($1)', [ADVISORY_LOCK]);
    await api.query(`UPDATE eval_run SET status = 'queued', owner = NULL WHERE id = $1`, [id]);
    await canceller?.query('BEGIN');
    await canceller?.query(`UPDATE eval_run SET status = 'canceled' WHERE id = $1`, [id]);
    await taker?.query('SELECT pg_advisory_unlock($1)', [ADVISORY_LOCK]);
    const waits = `SELECT 1 FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))`;
    await until(async () => (await canceller?.query(waits))?.rowCount === 1);
    await canceller?.query('COMMIT');
  } finally {
    await taker?.end();
    await canceller?.end();
  }
  const { id: next } = await api.post<{ id: string }>(`/evals/${of}/runs`, RUN);
  const ended = async () => (await api.get<{ status: string }>(`/evals/${of}/runs/${next}`)).status;
  await until(async () => (await ended()) === 'completed');
  expect(await status()).toBe('canceled');
});

/** A run of one item that queries the model. */
const ASKS = {
  data_source: {
    ...RUN.data_source,
    type: 'completions',
    model: 'tiny',
    input_messages: { type: 'template', template: [{ role: 'user', content: 'hello' }] },
  },
};

it('a project has one active run, and the next one starts after it', async () => {
  await importBase(api);
  const worker = await new ScriptedWorker(api, { maxChats: 8 }).connect();
  try {
    const { id: of } = await api.post<{ id: string }>('/evals', EVAL);
    const create = () => api.post<{ id: string }>(`/evals/${of}/runs`, ASKS);
    const status = async ({ id }: { id: string }) =>
      (await api.get<{ status: string }>(`/evals/${of}/runs/${id}`)).status;
    const first = await create();
    const question = await worker.nextRequest();
    const second = await create();
    // Long enough for a process that wrongly claimed it as well.
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect([await status(first), await status(second)]).toEqual(['in_progress', 'queued']);
    worker.sendText(question.id, 'one');
    await until(() => worker.requests.length === 2, 20_000);
    worker.sendText(worker.requests[1]!.id, 'two');
    for (const run of [first, second])
      await until(async () => (await status(run)) === 'completed', 20_000);
  } finally {
    worker.vanish();
  }
});

it('results for a run that another process has claimed are discarded', async () => {
  const worker = await new ScriptedWorker(api).connect();
  try {
    const { id: of } = await api.post<{ id: string }>('/evals', EVAL);
    const { id } = await api.post<{ id: string }>(`/evals/${of}/runs`, ASKS);
    const first = await worker.nextRequest();
    const setOwner = (owner: string | null, until: string) =>
      api.query(`UPDATE eval_run SET owner = $2, owner_until = ${until} WHERE id = $1`, [
        id,
        owner,
      ]);
    await setOwner('another', `clock_timestamp() + interval '1 hour'`);
    worker.sendText(first.id, 'one');
    // Long enough for a process that wrongly stored the answer.
    await new Promise((resolve) => setTimeout(resolve, 700));
    await setOwner(null, 'NULL');
    await until(() => worker.requests.length === 2, 20_000);
    worker.sendText(worker.requests[1]!.id, 'two');
    const status = async () =>
      (await api.get<{ status: string }>(`/evals/${of}/runs/${id}`)).status;
    await until(async () => (await status()) === 'completed', 20_000);
    const items = await api.query<{ said: string }>(
      `SELECT sample->>'output_text' AS said FROM eval_item WHERE run_id = $1`,
      [id],
    );
    expect(items).toEqual([{ said: 'two' }]);
  } finally {
    worker.vanish();
  }
});
