import type { ServiceError } from '@grpc/grpc-js';
import type { RunEvent } from '@graft/contracts';
import { ConnectRequest, WorkerServiceService } from '@graft/contracts/grpc';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { importBase, startTestApi, uploadChats, type TestApi } from './fixture.js';
import { bearer, evaluated, saved, ScriptedWorker, started, step } from './scripted-worker.js';

// Hostile events of a worker about one run affect neither its other runs nor its stream. GRAFT_FUZZ_CASES:
// number of random events; GRAFT_FUZZ_SEED: their seed.

const MUTATIONS = Number(process.env['GRAFT_FUZZ_CASES'] ?? 120);
const SEED = Number(process.env['GRAFT_FUZZ_SEED'] ?? 1);

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi({ reconcileMs: 200, retryBackoffMs: 1 });
  await importBase(api);
});
afterAll(() => api?.close());

/** Returns seeded random numbers (mulberry32). */
function dice(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const sha256 = 'a'.repeat(64);
const blob = { name: 'state.json', sha256, size: 7 };
const RUNNING: readonly RunEvent[] = [
  started(),
  step(1),
  evaluated(1, 2),
  saved(1, [blob], [blob]),
  { kind: 'log', payload: { level: 'info', message: 'a line', code: 'a_code' } },
  { kind: 'phase', payload: { code: 'loading', message: 'Loading', progress: 0.5 } },
];
const ENDS: readonly RunEvent[] = [
  {
    kind: 'finished',
    payload: {
      step: 1,
      published_step: 1,
      trained_tokens: 1,
      adapter: [blob],
      forgetting: null,
    },
  },
  {
    kind: 'failed',
    payload: { code: 'crash', message: 'm', param: 'p', retryable: true, stderr_tail: 't' },
  },
  { kind: 'stopped', payload: { reason: 'drain', step: 1 } },
];
/** Ends are rarer because each costs an attempt. */
const FACTS = [...RUNNING, ...RUNNING, ...ENDS];
const TEXTS = [
  '\0',
  'a\0b',
  '\ud800',
  '\udfff\ud800',
  '',
  '__proto__',
  'x'.repeat(20_000),
  "';--",
  '\u202e',
];
const COUNTS = [0, 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 53 - 1];
const NUMBERS = [NaN, Infinity, -Infinity, -0, 1e308, -1e308, 5e-324, 2 ** 31];
/** Fields that are doubles on the wire. */
const DOUBLES = new Set(['seconds', 'progress', 'waited_seconds']);

/** Replaces one to three values of an event by hostile ones of the same type. */
function mutated(fact: RunEvent, roll: () => number): RunEvent {
  const pick = <T>(from: readonly T[]): T => from[Math.floor(roll() * from.length)] as T;
  const change = (name: string, value: unknown): unknown => {
    if (typeof value === 'string') return pick(TEXTS);
    if (typeof value === 'boolean') return !value;
    if (typeof value === 'number') return DOUBLES.has(name) ? pick(NUMBERS) : pick(COUNTS);
    if (Array.isArray(value)) return roll() < 0.3 ? [] : value.map((each) => mutate(each));
    if (name === 'metrics') return { ...(value as object), loss: pick(NUMBERS), [pick(TEXTS)]: 1 };
    return value;
  };
  const mutate = (value: object): object => {
    const names = Object.keys(value);
    const changed: Record<string, unknown> = { ...value };
    for (let n = Math.ceil(roll() * 3); n > 0; n--) {
      const name = pick(names);
      changed[name] = change(name, changed[name]);
    }
    return changed;
  };
  return { kind: fact.kind, payload: mutate(fact.payload) } as RunEvent;
}

it(`accepts or rejects ${MUTATIONS} hostile events, each of which costs at most its own attempt`, async () => {
  const training_file = await uploadChats(api);
  const create = async (pool: string): Promise<string> =>
    (
      await api.post<{ id: string }>('/fine_tuning/jobs', {
        model: 'tiny',
        training_file,
        graft: { pool },
      })
    ).id;
  const worker = await new ScriptedWorker(api, { pool: 'hostile' }).connect();
  const good = await create('hostile');
  const goodLease = await worker.nextAssignment();
  expect(goodLease.jobId).toBe(good);
  worker.keep(goodLease);
  await worker.report(goodLease, started(0, MUTATIONS));

  const roll = dice(SEED);
  let job = '';
  let lease = goodLease;
  let refusals = 0;
  let isOver = true;
  for (let n = 1; n <= MUTATIONS; n++) {
    if (isOver) {
      const [row] = await api.query<{ state: string }>('SELECT state FROM job WHERE id = $1', [
        job,
      ]);
      if (row?.state === 'queued')
        await api.query(
          `UPDATE job SET crash_count = 0, infra_count = 0, not_before = NULL WHERE id = $1`,
          [job],
        );
      else if (row?.state !== 'running') job = await create('hostile');
      // An event of an unknown attempt costs none.
      if (row?.state !== 'running') lease = await worker.nextAssignment(40_000);
      expect(lease.jobId).toBe(job);
    }
    const fact = mutated(FACTS[n % FACTS.length] as RunEvent, roll);
    const event = worker.event(lease, fact);
    if (roll() < 0.05) event.atUnixMs = Number.MAX_SAFE_INTEGER;
    if (roll() < 0.02) event.sequence = 2 ** 31 + n;
    if (roll() < 0.02) event.attempt = 2 ** 31 + n;
    if (roll() < 0.02) event.jobId = 'ftjob-\0';
    const ack = await worker
      .batch([event, worker.event(goodLease, step(n))])
      .catch((error: unknown) => {
        throw new Error(`seed ${SEED}, fact ${n}: ${JSON.stringify(fact)}`, { cause: error });
      });
    expect(ack.stale.map(({ jobId }) => jobId)).not.toContain(good);
    refusals += ack.stale.length;
    isOver = ack.stale.length > 0 || ENDS.some(({ kind }) => kind === fact.kind);
  }
  expect(worker.ended).toBeNull();
  expect(refusals).toBeGreaterThan(MUTATIONS / 25);
  expect(await api.get(`/fine_tuning/jobs/${good}`)).toMatchObject({
    status: 'running',
    graft: { attempts: [{ number: goodLease.attempt, outcome: null }] },
  });
  expect(await api.query('SELECT step FROM job WHERE id = $1', [good])).toEqual([
    { step: MUTATIONS },
  ]);
  const letters = await api.query<{ events: string; error: string }>('SELECT * FROM dead_letter');
  expect(letters.length).toBeGreaterThan(MUTATIONS / 100);
  for (const { events, error } of letters) {
    expect(events.length).toBeLessThanOrEqual(65_536);
    expect(error).not.toBe('');
  }
  worker.vanish();
});

it('reports in the job what could not be stored, and retries as after a crash', async () => {
  const training_file = await uploadChats(api);
  const { id } = await api.post<{ id: string }>('/fine_tuning/jobs', {
    model: 'tiny',
    training_file,
    graft: { pool: 'large' },
  });
  const worker = await new ScriptedWorker(api, { pool: 'large' }).connect();
  for (let attempt = 1; attempt <= 3; attempt++) {
    const lease = await worker.nextAssignment();
    const { stale } = await worker.report(lease, started(), step(2 ** 31));
    expect(stale).toMatchObject([{ jobId: id, attempt: lease.attempt }]);
  }
  expect(await api.get(`/fine_tuning/jobs/${id}`)).toMatchObject({
    status: 'failed',
    error: {
      code: 'invalid_report',
      message: expect.stringContaining(
        'step.step: expected an integer ≤ 2147483647, got 2147483648',
      ) as string,
    },
  });
  worker.vanish();
});

it('ends only the call of a worker that sends a number beyond 2^53', async () => {
  /** Field 1 as a varint of 64 one bits. */
  const first = Buffer.from([0x08, ...Array<number>(9).fill(0xff), 0x01]);
  const second = Buffer.from([0x10, ...first.subarray(1)]);
  const inside = (field: number, message: Buffer): Buffer =>
    Buffer.concat([Buffer.from([(field << 3) | 2, message.length]), message]);
  const raw = (bytes: Buffer): Buffer => bytes;
  const bystander = await new ScriptedWorker(api, { pool: 'bystander' }).connect();
  const hostile = await new ScriptedWorker(api, { pool: 'numbers', silent: true }).connect();
  const { connect, putBlob, putBlobState, fetchBlob } = WorkerServiceService;
  const { client, session } = hostile;

  type Ended = (error: ServiceError | null) => void;
  const calls: Record<string, (ended: Ended) => unknown> = {
    heartbeat: (ended) => {
      const metadata = bearer(api.joinToken);
      const stream = client.makeBidiStreamRequest(connect.path, raw, raw, metadata);
      stream.on('error', ended).on('data', () => stream.write(inside(3, first)));
      const hello = { schemaVersion: 1, instanceId: 'numbers', name: 'numbers' };
      const value = { ...hello, pool: 'numbers', slots: 1 };
      const message = ConnectRequest.fromPartial({ body: { $case: 'hello', value } });
      stream.write(Buffer.from(ConnectRequest.encode(message).finish()));
    },
    putBlob: (ended) =>
      client
        .makeClientStreamRequest(putBlob.path, raw, raw, bearer(session), ended)
        .write(inside(1, second)),
    putBlobState: (ended) =>
      client.makeUnaryRequest(putBlobState.path, raw, raw, second, bearer(session), ended),
    fetchBlob: (ended) =>
      client
        .makeServerStreamRequest(fetchBlob.path, raw, raw, second, bearer(session))
        .on('error', ended)
        .resume(),
  };
  for (const [name, call] of Object.entries(calls)) {
    const error = await new Promise<ServiceError | null>((resolve) => void call(resolve));
    expect([name, error?.details]).toEqual([name, 'Error deserializing request']);
  }
  await bystander.heartbeat([]);
  expect(bystander.ended).toBeNull();
  hostile.vanish();
  bystander.vanish();
});
