import { startEmbeddedPostgres } from './database/embedded-postgres.js';
import { migrate, type Report } from './database/migrate.js';
import { whileNoOtherStarts } from './database/start-lock.js';
import { migrateQueue } from './queue/dispatch-queue.js';

/**
 * Migrates the database without starting the API, as a separate step of an upgrade. API processes of the previous
 * build may continue meanwhile.
 * `databaseUrl`: undefined for the embedded server in `home`, which is started if it is not running. `queueUrl`:
 * undefined if the queue's tables are in the same database.
 */
export async function migrateOnly(
  {
    home,
    databaseUrl,
    queueUrl,
  }: { home: string; databaseUrl: string | undefined; queueUrl: string | undefined },
  report: Report,
): Promise<void> {
  const embedded = databaseUrl === undefined ? await startEmbeddedPostgres(home) : null;
  const url = databaseUrl ?? embedded?.url ?? '';
  try {
    await whileNoOtherStarts(url, async () => {
      await migrate(url, report);
      if (queueUrl === undefined) await migrateQueue(url);
    });
  } finally {
    await (embedded?.joined ? embedded.leave() : embedded?.stop());
  }
}
