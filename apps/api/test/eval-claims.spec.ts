import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { EVAL, RUN } from './eval-changes.js';
import { startTestApi, until, type TestApi } from './fixture.js';

// Who takes the runs of evals.

/** Under which they are taken (evals/eval-claims.ts). */
const ADVISORY_LOCK = 7_240_261;

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api?.close());

it('a run that is cancelled while somebody takes it stays cancelled', async () => {
  const { id: of } = await api.post<{ id: string }>('/evals', EVAL);
  const { id } = await api.post<{ id: string }>(`/evals/${of}/runs`, RUN);
  const status = async () => (await api.get<{ status: string }>(`/evals/${of}/runs/${id}`)).status;
  await until(async () => (await status()) === 'completed');
  const [taker, canceller] = [0, 1].map(() => new pg.Client({ connectionString: api.databaseUrl }));
  try {
    await taker?.connect();
    await canceller?.connect();
    // nobody takes runs while it is put back
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
