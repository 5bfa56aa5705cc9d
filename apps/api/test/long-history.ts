// A job with thousands of events, and the index that finds some of them.
import { until, type TestApi } from './fixture.js';

const STEPS = 20_000;

/**
 * Reads until PostgreSQL counts a scan of the index. It counts with a delay, so nothing else may scan the index in this
 * database.
 */
export async function foundByIndex(
  api: TestApi,
  { job, index }: { readonly job: string; readonly index: string },
  read: () => Promise<unknown>,
): Promise<void> {
  await api.query(
    `INSERT INTO event (job_id, number, level, type, message, kind, data)
     SELECT $1, 1000 + step, 'info', 'metrics', 'Step ' || step, 'step', jsonb_build_object('step', step)
     FROM generate_series(1, ${STEPS}) AS step`,
    [job],
  );
  await api.query('ANALYZE event');
  await until(async () => {
    await read();
    const [found] = await api.query<{ scans: number }>(
      'SELECT idx_scan::int AS scans FROM pg_stat_user_indexes WHERE indexrelname = $1',
      [index],
    );
    return (found?.scans ?? 0) > 0;
  });
}
