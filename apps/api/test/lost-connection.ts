// Database connections that are lost during a statement.
import { until, type TestApi } from './fixture.js';

/**
 * Locks a table until a statement of the API waits for it, then drops the connections of the waiting statements.
 * @param lose drops them; by default PostgreSQL terminates them
 */
export async function loseConnection(
  api: TestApi,
  table: string,
  lose?: () => unknown,
): Promise<void> {
  const locks = `pg_locks WHERE relation = '${table}'::regclass
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`;
  const count = async (which: string): Promise<number> =>
    (await api.query(`SELECT 1 FROM ${locks} AND ${which}`)).length;
  const end = (which: string): Promise<unknown> =>
    api.query(`SELECT pg_terminate_backend(pid) FROM ${locks} AND ${which}`);
  const holding = `mode = 'AccessExclusiveLock' AND granted`;
  api.query(`BEGIN; LOCK TABLE ${table}; SELECT pg_sleep(60)`).catch(() => undefined);
  await until(async () => (await count(holding)) > 0);
  await until(async () => (await count('NOT granted')) > 0);
  if (lose) await lose();
  else await end('NOT granted');
  // The test's own connection may be lost too.
  await until(() =>
    end(holding).then(
      () => true,
      () => false,
    ),
  );
}
