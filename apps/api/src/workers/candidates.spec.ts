import { PROTOCOL } from '@graft/contracts/grpc';
import { buildWords, resolveSpec } from '@graft/peft-core/catalog';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { insertJobs, scratchDatabase, type ScratchDatabase } from '../../test/scratch-database.js';
import { Pools } from '../auth/pools.js';
import type { BlobStore } from '../blobs/blob-store.js';
import type { Settings } from '../config.js';
import { WorkerDatabase } from '../database/database.js';
import type { DamagedCheckpoints } from '../events/damaged-checkpoints.js';
import { Leases, type Taken, type Wants } from '../lifecycle/lease.js';
import type { WakeUps } from '../wake/wake-ups.js';
import { Assignments } from './assignments.js';
import { Candidates } from './candidates.js';
import type { Relay } from './relay.js';
import { WorkerKeys } from './worker-keys.js';
import { Workers } from './workers.js';

// Workers of several builds, while API processes of several builds run.

const settings = { leaseMs: 600_000 } as Settings;
let scratch: ScratchDatabase;
let database: WorkerDatabase;
let workers: Workers;
let leases: Leases;
let candidates: Candidates;
let assignments: Assignments;
const ask = <Row>(sql: string, values: unknown[] = []): Promise<Row[]> =>
  database.query<Row>(sql, values);

beforeAll(async () => {
  scratch = await scratchDatabase();
  database = new WorkerDatabase(scratch.source);
  workers = new Workers(database, settings, new Pools(database), new WorkerKeys(database));
  leases = new Leases(database, settings, { announce: () => undefined } as unknown as WakeUps);
  candidates = new Candidates(database, settings, { shunned: [] as string[] } as Relay);
  const blobs = { prove: async () => undefined } as unknown as BlobStore;
  assignments = new Assignments(database, blobs, null as unknown as DamagedCheckpoints);
  await ask(`INSERT INTO join_token (id, hash, name) VALUES ('token', 'hash', 'token')`);
  await ask(`INSERT INTO gateway (id, address) VALUES ('gateway', 'here:1')`);
  await ask(`INSERT INTO project (id, name) VALUES ('a', 'a')`);
});
afterAll(() => scratch?.close());
beforeEach(() => ask('TRUNCATE job, attempt, worker'));

async function join(name: string, words: string[], freeSlots = 1): Promise<string> {
  const hello = {
    protocolMin: PROTOCOL.min,
    protocolMax: PROTOCOL.max,
    instanceId: name,
    name,
    pool: 'pool',
    slots: 8,
    memoryBytes: 1,
    devices: [],
    libtorch: '',
    trainerBuild: '',
    leases: [],
    tasks: [],
    words,
  };
  const joined = await workers.hello(hello, 'pool', 'token', 'gateway');
  await workers.pulled(joined, { freeSlots, residentBases: [], freeMemoryBytes: 1 });
  return joined.workerId;
}
async function queued(...jobs: string[][]): Promise<void> {
  await insertJobs(
    ask,
    jobs.map((_, n) => ({ id: `job-${n}`, project: 'a', created: n })),
  );
  for (const [n, words] of jobs.entries())
    await ask('UPDATE job SET words = $2 WHERE id = $1', [`job-${n}`, words]);
}
/** What the dispatcher asks, in its order. */
const asked = async () => candidates.best('pool', (await leases.nextWants('pool')) as Wants);

it('are given what they know and the API process that they said it to does not', async () => {
  await join('ours', buildWords(), 8);
  await join('later', [...buildWords(), 'peft:FROM_THE_FUTURE']);
  await queued(['peft:FROM_THE_FUTURE']);
  const [first, second] = await asked();
  expect([first?.name, first?.lacks]).toEqual(['later', []]);
  expect([second?.name, second?.lacks]).toEqual(['ours', ['peft:FROM_THE_FUTURE']]);
  expect(await leases.take(second as NonNullable<typeof second>)).toBe('none');
  expect(await leases.take(first as NonNullable<typeof first>)).toMatchObject({ id: 'job-0' });
});

it('count as of the oldest build where an API process took their Hello that keeps no words', async () => {
  const id = await join('before', buildWords());
  // What such a process writes: the session, and nothing of columns that it does not know.
  await ask(`UPDATE worker SET session_id = 'another' WHERE id = $1`, [id]);
  await queued(['peft:VERA'], ['peft:LORA', 'peft:LORA.r']);
  const [before] = await asked();
  if (!before) throw new Error('nobody is asked');
  expect(before.lacks).toEqual(['peft:VERA']);
  const taken = (await leases.take(before)) as Taken;
  expect(taken.id).toBe('job-1');
  const job = { model: 'tiny', training_file: 'file-1' };
  const spec = resolveSpec(job, { trainingRecords: 100 });
  expect(spec).toHaveProperty('loraplus_lr_embedding');
  const { specJson } = await assignments.of({ ...taken, spec }, before);
  expect(JSON.parse(specJson)).not.toHaveProperty('loraplus_lr_embedding');
  expect(JSON.parse(specJson)).toHaveProperty('learning_rate');
  const again = await join('before', buildWords());
  expect(again).toBe(id);
  expect(await asked()).toMatchObject([{ lacks: [] }]);
});

it('are asked for a job behind, however many of older builds are before the one that can do it', async () => {
  const without = (word: RegExp) => buildWords().filter((one) => !word.test(one));
  for (let n = 0; n < 20; n++) await join(`older-${n}`, without(/VERA|HRA/), 8);
  await join('newer', without(/VERA/));
  await queued(['peft:VERA'], ['peft:HRA']);
  const offers = await asked();
  const taken = await Promise.all(offers.map((one) => leases.take(one)));
  expect(taken).toEqual(['none', expect.objectContaining({ id: 'job-1' })]);
});
