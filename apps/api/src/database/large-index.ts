import type { QueryRunner } from 'typeorm';

/**
 * Makes an index while others go on writing to its table: for migrations on `job`, `event`, `metric` and other tables
 * that grow. The migration must declare `readonly transaction = false` and do nothing else; it may run again after it
 * was interrupted.
 * @param definition what follows the index's name, such as `ON "event" ("job_id", "kind")`
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
  // It waits for transactions that began before it, one after the other, and holds nobody up meanwhile.
  await runner.query(`SET lock_timeout = 0`);
  try {
    if (left) await runner.query(`DROP INDEX CONCURRENTLY "${name}"`);
    await runner.query(`CREATE INDEX CONCURRENTLY "${name}" ${definition}`);
  } finally {
    // RESET would bring back the connection's own limit, not that of `migrate`.
    await runner.query(`SET lock_timeout = '${limit?.lock_timeout}'`);
  }
}
