import { Client } from 'pg';
import { log } from '../log.js';

/** Any number that no other user of this database locks. */
const STARTING = 7_240_253;
const PATIENCE = '5min';

/** Runs `work` while no other process starts on the same database; waits for one that does. */
export async function whileNoOtherStarts<T>(
  databaseUrl: string,
  work: () => Promise<T>,
): Promise<T> {
  const client = new Client({
    connectionString: databaseUrl,
    application_name: 'graft-start',
    keepAlive: true,
  });
  client.on('error', (error) => log.warn({ err: error }, 'lost the connection that starts alone'));
  await client.connect();
  try {
    const lock = async (sql: string): Promise<boolean> =>
      (await client.query<{ mine: boolean }>(sql, [STARTING])).rows[0]?.mine !== false;
    if (!(await lock('SELECT pg_try_advisory_lock($1) AS mine'))) {
      log.info('waiting for another API process that is starting');
      await client.query(`SET lock_timeout = '${PATIENCE}'`);
      await lock('SELECT pg_advisory_lock($1)');
    }
    return await work();
  } finally {
    await client.end().catch(() => undefined);
  }
}
