import { MigrationExecutor, type MigrationInterface, type QueryRunner } from 'typeorm';
import { log } from '../log.js';
import { dataSource, MIGRATIONS } from './data-source.js';

/** Whoever comes after a statement that waits for a table waits, too: the wait is short, and tried again. */
const LOCK_TIMEOUT = '2s';
const PAUSE_MS = 1_000;
const PATIENCE_MS = 10 * 60_000;
/** SQLSTATEs of a lock that was not had in time, and of a deadlock. */
const LOCKED = /^(55P03|40P01)$/;

const BEFORE_RELEASE =
  'this database was made by a development build from before 0.1.0, whose schema cannot be upgraded; nothing in it was ' +
  'changed. Start with an empty database instead (another --home, or another --database-url), and keep this one with ' +
  'the build that made it if you need what is in it';

/** Called after each migration that was run. */
export type Report = (migration: string, seconds: number) => void;

/**
 * Brings the schema up to date. Each migration is a transaction, so locks of one are gone before the next begins, and
 * one that fails keeps those before it. It has as long as it needs, but waits for locks only briefly: it is rolled back
 * and tried again until others let it in. Callers hold the start lock (start-lock.ts).
 * @throws Error of the database, where a table stays locked for ten minutes, or where a build from before 0.1.0 made the
 *   schema
 */
export async function migrate(
  databaseUrl: string,
  report: Report = () => undefined,
  migrations: readonly (new () => MigrationInterface)[] = MIGRATIONS,
): Promise<void> {
  const source = await dataSource(databaseUrl)
    .setOptions({ migrations: [...migrations] })
    .initialize();
  try {
    const runner = source.createQueryRunner();
    await runner.query(`SET statement_timeout = 0`);
    await runner.query(`SET lock_timeout = '${LOCK_TIMEOUT}'`);
    const executor = new MigrationExecutor(source, runner);
    const done = await executor.getExecutedMigrations();
    if (done.length > 0 && !done.some(({ name }) => name === MIGRATIONS[0]?.name))
      throw new Error(BEFORE_RELEASE);
    for (const migration of await executor.getPendingMigrations()) {
      const began = performance.now();
      await whenUnlocked(migration.name, () =>
        migration.instance?.transaction === false
          ? executor.executeMigration(migration)
          : inTransaction(runner, () => executor.executeMigration(migration)),
      );
      report(migration.name, (performance.now() - began) / 1000);
    }
    await runner.release();
  } finally {
    await source.destroy();
  }
}

async function inTransaction(runner: QueryRunner, work: () => Promise<unknown>): Promise<void> {
  await runner.startTransaction();
  try {
    await work();
    await runner.commitTransaction();
  } catch (error) {
    await runner.rollbackTransaction().catch(() => undefined);
    throw error;
  }
}

async function whenUnlocked(name: string, work: () => Promise<unknown>): Promise<void> {
  const until = performance.now() + PATIENCE_MS;
  for (;;) {
    try {
      await work();
      return;
    } catch (error) {
      if (!LOCKED.test(String((error as { code?: unknown } | null)?.code))) throw error;
      if (performance.now() > until)
        throw new Error(
          `${name} needs a table that others have locked for ${PATIENCE_MS / 60_000} minutes; ` +
            'end what holds it (SELECT * FROM pg_locks JOIN pg_stat_activity USING (pid)) and try again',
          { cause: error },
        );
      log.info({ migration: name }, 'a table is locked; trying again');
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
}
