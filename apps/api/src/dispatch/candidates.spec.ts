import { SCHEMA_VERSION } from '@graft/contracts';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { insertJobs, scratchDatabase, type ScratchDatabase } from '../../test/scratch-database.js';
import { Pools } from '../auth/pools.js';
import type { Settings } from '../config.js';
import { WorkerDatabase } from '../database/database.js';
import { Leases } from '../lifecycle/lease/lease.js';
import type { WakeUps } from '../wake/wake-ups.js';
import { Candidates } from './candidates.js';
import type { Relay } from '../relay/relay.js';
import { WorkerKeys } from '../workers/worker-keys.js';
import { Workers } from '../workers/workers.js';

// Workers with several schema versions.

const settings = { leaseMs: 600_000 } as Settings;
let scratch: ScratchDatabase;
let database: WorkerDatabase;
let workers: Workers;
let leases: Leases;
let candidates: Candidates;
const ask = <Row>(sql: string, values: unknown[] = []): Promise<Row[]> =>
  database.query<Row>(sql, values);

beforeAll(async () => {
  scratch = await scratchDatabase();
  database = new WorkerDatabase(scratch.source);
  workers = new Workers(database, settings, new Pools(database), new WorkerKeys(database));
  leases = new Leases(database, settings, { announce: () => undefined } as unknown as WakeUps);
  candidates = new Candidates(database, settings, { shunned: [] as string[] } as Relay);
  await ask(`INSERT INTO join_token (id, hash, name) VALUES ('token', 'hash', 'token')`);
  await ask(`INSERT INTO gateway (id, address) VALUES ('gateway', 'here:1')`);
  await ask(`INSERT INTO project (id, name) VALUES ('a', 'a')`);
});
afterAll(() => scratch?.close());
beforeEach(() => ask('TRUNCATE job, attempt, worker'));

const OLD = SCHEMA_VERSION - 1;
const NEW = SCHEMA_VERSION;

async function join(name: string, schemaVersion: number, freeSlots = 1): Promise<string> {
  const hello = {
    schemaVersion,
    instanceId: name,
    name,
    pool: 'pool',
    slots: 8,
    memoryBytes: 1,
    devices: [],
    libtorch: '',
    trainerBuild: '',
    leases: [],
  };
  const joined = await workers.hello(hello, 'pool', 'token', 'gateway');
  await workers.pulled(joined, { freeSlots, residentBases: [], freeMemoryBytes: 1 });
  return joined.workerId;
}
async function queued(...versions: number[]): Promise<void> {
  await insertJobs(
    ask,
    versions.map((_, n) => ({ id: `job-${n}`, project: 'a', created: n })),
  );
  for (const [n, version] of versions.entries())
    await ask('UPDATE job SET schema_version = $2 WHERE id = $1', [`job-${n}`, version]);
}
/** Returns the workers in the order in which the dispatcher offers the job. */
const asked = () => candidates.best('pool');

it('offers jobs to new enough workers first, and none above their version to older ones', async () => {
  await join('old', OLD, 8);
  await join('new', NEW);
  await queued(NEW);
  const [first, second] = await asked();
  expect([first?.name, second?.name]).toEqual(['new', 'old']);
  expect(await leases.take(second as NonNullable<typeof second>)).toBe('none');
  expect(await leases.take(first as NonNullable<typeof first>)).toMatchObject({ id: 'job-0' });
});

it('offers a later job to workers that cannot take the first, however many they are', async () => {
  for (let n = 0; n < 20; n++) await join(`old-${n}`, OLD, 8);
  await queued(NEW, OLD);
  const offers = await asked();
  const taken = await Promise.all(offers.map((one) => leases.take(one)));
  expect(taken).toEqual([expect.objectContaining({ id: 'job-1' })]);
});

it('treats workers as no newer than the API process they are connected to and the one that assigns the job', async () => {
  const id = await join('later', NEW + 1);
  expect(await ask('SELECT schema_version FROM worker WHERE id = $1', [id])).toEqual([
    { schema_version: NEW },
  ]);
  // An API process of the next version has registered the worker; this one assigns jobs to it.
  await ask('UPDATE worker SET schema_version = $2 WHERE id = $1', [id, NEW + 1]);
  await queued(NEW + 1, NEW);
  const [later] = await asked();
  expect(await leases.take(later as NonNullable<typeof later>)).toMatchObject({ id: 'job-1' });
});
