import type { QueryRunner } from 'typeorm';

/**
 * Creates an index without blocking writes, for migrations on `job`, `event`, `metric` and other large tables. The
 * migration must declare `readonly transaction = false` and do nothing else. It can be repeated after an
 * interruption.
 * @param definition SQL after the index's name, such as `ON "event" ("job_id", "kind")`
 */
export async function createLargeIndex(
  runner: QueryRunner,
  name: string,
  definition: string,
): Promise<void> {
  const [left] = (await runner.query(
    `SELECT indisvalid AS valid FROM pg_index WHERE indexrelid = to_regclass($1)`,
    [`"${name}"`],
  )) as { valid: boolean }[];
  if (left?.valid) return;
  const [limit] = (await runner.query('SHOW lock_timeout')) as { lock_timeout: string }[];
  // It waits for each transaction that started earlier, without blocking others.
  await runner.query(`SET lock_timeout = 0`);
  try {
    if (left) await runner.query(`DROP INDEX CONCURRENTLY "${name}"`);
    await runner.query(`CREATE INDEX CONCURRENTLY "${name}" ${definition}`);
  } finally {
    // RESET would restore the connection's limit instead of that of `migrate`.
    await runner.query(`SET lock_timeout = '${limit?.lock_timeout}'`);
  }
}
