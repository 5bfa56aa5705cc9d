import { Client } from 'pg';
import { log } from '../log.js';

/** Key of an advisory lock. It can be any number that is unique in this database. */
const STARTING = 7_240_253;
const PATIENCE_MS = 10 * 60_000;
const PAUSE_MS = 250;

/** Runs `work` while no other process starts on the same database. Waits for a process that does. */
export async function whileNoOtherStarts<T>(
  databaseUrl: string,
  work: () => Promise<T>,
): Promise<T> {
  const client = new Client({
    connectionString: databaseUrl,
    application_name: 'graft-start',
    keepAlive: true,
  });
  client.on('error', (error) =>
    log.warn({ err: error }, 'lost the connection that holds the start lock'),
  );
  await client.connect();
  try {
    await acquire(client);
    return await work();
  } finally {
    await client.end().catch(() => undefined);
  }
}

/**
 * Polls for the lock. A statement that waits for it would hold a snapshot, and CREATE INDEX CONCURRENTLY in the
 * process with the lock waits for all older snapshots.
 */
async function acquire(client: Client): Promise<void> {
  const until = performance.now() + PATIENCE_MS;
  for (let tries = 0; ; tries++) {
    const sql = 'SELECT pg_try_advisory_lock($1) AS mine';
    if ((await client.query<{ mine: boolean }>(sql, [STARTING])).rows[0]?.mine) return;
    if (tries === 0) log.info('waiting for another API process that is starting');
    if (performance.now() > until)
      throw new Error('another API process has been starting on this database for ten minutes');
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}
