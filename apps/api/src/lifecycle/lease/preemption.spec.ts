import { SCHEMA_VERSION } from '@graft/contracts';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  insertJobs,
  scratchDatabase,
  type ScratchDatabase,
} from '../../../test/scratch-database.js';
import type { Settings } from '../../config.js';
import { Database } from '../../database/database.js';
import type { WakeUps } from '../../wake/wake-ups.js';
import { EventLog } from '../event-log.js';
import { Preemption } from './preemption.js';

const OLD = SCHEMA_VERSION - 1;
const NEW = SCHEMA_VERSION;

describe('a job that requires the newer one of two schema versions in a pool', () => {
  let scratch: ScratchDatabase;
  let database: Database;
  let preemption: Preemption;
  const ask = <Row>(sql: string, values: unknown[] = []): Promise<Row[]> =>
    database.query<Row>(sql, values);

  beforeAll(async () => {
    scratch = await scratchDatabase();
    database = new Database(scratch.source);
    const settings = { leaseMs: 600_000, minRunSeconds: 60 } as Settings;
    const wakeUps = { announce: () => undefined } as unknown as WakeUps;
    preemption = new Preemption(database, new EventLog(database, wakeUps), settings);
    await ask(`INSERT INTO project (id, name) VALUES ('a', 'a')`);
  });
  afterAll(() => scratch?.close());
  beforeEach(() => ask('TRUNCATE job, attempt, event, worker'));

  const worker = (id: string, version: number, freeSlots: number) =>
    ask(
      `INSERT INTO worker (id, instance_id, name, pool, state, slots, free_slots, devices, memory_bytes, libtorch,
         trainer_build, session_id, schema_version)
       VALUES ($1, $1, $1, 'pool', 'online', 4, $2, '[]', 1, '', '', $1, $3)`,
      [id, freeSlots, version],
    );
  async function waits(id: string, priority: number, version: number): Promise<void> {
    await insertJobs(ask, [{ id, project: 'a', priority }]);
    await ask('UPDATE job SET schema_version = $2 WHERE id = $1', [id, version]);
  }
  /** A running job of the older version, which any worker can run. */
  async function runs(id: string, on: string, priority: number): Promise<void> {
    await insertJobs(ask, [{ id, project: 'a', priority, state: 'running' }]);
    await ask('UPDATE job SET lease_owner = $2, attempt = 1, schema_version = $3 WHERE id = $1', [
      id,
      on,
      OLD,
    ]);
    await ask(
      `INSERT INTO attempt (job_id, number, worker_id, worker_name, started_at)
       VALUES ($1, 1, $2, $2, clock_timestamp() - interval '1 hour')`,
      [id, on],
    );
  }
  const chosen = async () => (await preemption.choose('pool')).map(({ id }) => id).sort();

  it('preempts one job on the newer worker while the older worker is idle', async () => {
    await worker('older', OLD, 4);
    await worker('newer', NEW, 0);
    await runs('low', 'newer', 900);
    await runs('lower', 'newer', 800);
    await waits('urgent', 1, NEW);
    expect(await chosen()).toEqual(['low']);
    // The slot of the preempted job counts as free.
    expect(await chosen()).toEqual([]);
  });

  it('preempts no job on the older worker, even one of the lowest priority', async () => {
    await worker('older', OLD, 0);
    await worker('newer', NEW, 0);
    await runs('lowest', 'older', 1000);
    await waits('urgent', 1, NEW);
    expect(await chosen()).toEqual([]);
    await runs('low', 'newer', 900);
    expect(await chosen()).toEqual(['low']);
  });

  it('uses a free slot of the newer worker, which older jobs leave to it', async () => {
    await worker('older', OLD, 1);
    await worker('newer', NEW, 1);
    await runs('low', 'newer', 900);
    await runs('lowest', 'older', 1000);
    await waits('plain', 1, OLD);
    await waits('urgent', 2, NEW);
    expect(await chosen()).toEqual([]);
    await waits('more', 3, OLD);
    expect(await chosen()).toEqual(['lowest']);
    await waits('most', 4, NEW);
    expect(await chosen()).toEqual(['low']);
  });

  it('preempts nothing if no worker can run the job, and no job of equal priority', async () => {
    await worker('older', OLD, 0);
    await runs('lowest', 'older', 1000);
    await waits('urgent', 1, NEW);
    expect(await chosen()).toEqual([]);
    await worker('newer', NEW, 0);
    await runs('equal', 'newer', 1);
    expect(await chosen()).toEqual([]);
  });
});
