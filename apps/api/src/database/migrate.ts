import { MigrationExecutor, type MigrationInterface, type QueryRunner } from 'typeorm';
import { log } from '../log.js';
import { dataSource, MIGRATIONS } from './data-source.js';

/**
 * Short, because all later statements on a table wait behind one that waits for its lock. The migration is retried.
 */
const LOCK_TIMEOUT = '2s';
const PAUSE_MS = 1_000;
const PATIENCE_MS = 10 * 60_000;
/** SQLSTATEs of a lock timeout and of a deadlock. */
const LOCKED = /^(55P03|40P01)$/;

const BEFORE_RELEASE =
  'this database was created by a development build before 0.1.0, whose schema cannot be upgraded; nothing was ' +
  'changed. Start with an empty database instead (another --home or --database-url), and keep this one with ' +
  'the build that created it if you need its data';

/** Called after each migration. */
export type Report = (migration: string, seconds: number) => void;

/**
 * Migrates the schema. Each migration is a transaction, so that its locks are released before the next one starts,
 * and a failure keeps the earlier ones. A migration may take any time, but waits only briefly for locks: it is rolled
 * back and retried until it gets them. Callers hold the start lock (start-lock.ts).
 * @throws Error of the database; if a table stays locked for ten minutes; if a build before 0.1.0 created the schema
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
          `${name} needs a table that has been locked by others for ${PATIENCE_MS / 60_000} minutes; ` +
            'end the session that holds the lock (SELECT * FROM pg_locks JOIN pg_stat_activity USING (pid)) and try again',
          { cause: error },
        );
      log.info({ migration: name }, 'a table is locked; retrying');
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
}
