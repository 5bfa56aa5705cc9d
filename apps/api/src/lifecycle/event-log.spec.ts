import { expect, it } from 'vitest';
import { insertJobs, scratchDatabase } from '../../test/scratch-database.js';
import { Database } from '../database/database.js';
import type { WakeUps } from '../wake/wake-ups.js';
import { EventLog } from './event-log.js';

it('numbers events in commit order, without gaps, while two transactions write concurrently', async () => {
  const scratch = await scratchDatabase();
  try {
    const database = new Database(scratch.source);
    const ask = <Row>(sql: string, values: unknown[] = []) => database.query<Row>(sql, values);
    await ask(`INSERT INTO project (id, name) VALUES ('project', 'project')`);
    await insertJobs(ask, [{ id: 'job', project: 'project', created: 0 }]);
    const log = new EventLog(database, { announce: () => undefined } as unknown as WakeUps);
    const write = (message: string, heldMs = 0): Promise<void> =>
      database.transaction(async (manager) => {
        await log.append(manager, 'job', [{ message }, { message }]);
        await new Promise((resolve) => setTimeout(resolve, heldMs));
      }, 1);
    const first = write('first', 400);
    await new Promise((resolve) => setTimeout(resolve, 150));
    await Promise.all([first, write('second')]);
    expect(await ask('SELECT number, message FROM event ORDER BY number')).toEqual([
      { number: 1, message: 'first' },
      { number: 2, message: 'first' },
      { number: 3, message: 'second' },
      { number: 4, message: 'second' },
    ]);
  } finally {
    await scratch.close();
  }
});
