import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { insertJobs, scratchDatabase, type ScratchDatabase } from '../../test/scratch-database.js';
import { Database } from '../database/database.js';
import { QueueDepths } from './queue-depths.js';

let scratch: ScratchDatabase;
let database: Database;
let depths: QueueDepths;
const ask = <Row>(sql: string, values: unknown[] = []): Promise<Row[]> =>
  database.query<Row>(sql, values);
const queued = (count: number, project = 'a') =>
  insertJobs(
    ask,
    Array.from({ length: count }, (_, n) => ({ id: `${project}-${n}`, project })),
  );
const admit = (project = 'a') => database.transaction((manager) => depths.admit(manager, project));

beforeAll(async () => {
  scratch = await scratchDatabase();
  database = new Database(scratch.source);
});
afterAll(() => scratch?.close());
beforeEach(async () => {
  await ask('TRUNCATE job');
  depths = new QueueDepths(database);
});

it('admits up to 10,000 queued jobs of a project and rejects the next one', async () => {
  await queued(9_997);
  for (const n of [1, 2, 3]) {
    await admit();
    await insertJobs(ask, [{ id: `more-${n}`, project: 'a' }]);
  }
  await expect(admit()).rejects.toMatchObject({ code: 'queue_full' });
  await admit('b');
});

it('rejects no job because of an outdated count', async () => {
  await queued(9_999);
  await admit();
  // The admitted jobs were not written after all, and some of the others started.
  await ask(`UPDATE job SET state = 'running' WHERE id LIKE '%5'`);
  for (let n = 0; n < 5; n++) await admit();
});

it('counts the jobs of a project once for many submissions in a row', async () => {
  await queued(10);
  await admit();
  await ask('ALTER TABLE job RENAME TO hidden');
  try {
    for (let n = 0; n < 20; n++) await admit();
  } finally {
    await ask('ALTER TABLE hidden RENAME TO job');
  }
});
