// The relay between two API processes of one installation, here in one Node.js process.
import { credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import { Command_Action, GatewayServiceClient } from '@graft/contracts/grpc';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importBase, leaderOf, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { bearer, ScriptedWorker, started } from './scripted-worker.js';

const LEASE_MS = 3_000;

describe('two API processes on one database', () => {
  let a: TestApi;
  let b: TestApi;
  let file: string;
  let pools = 0;

  beforeAll(async () => {
    a = await startTestApi({ leaseMs: LEASE_MS, reconcileMs: 300 });
    b = await startTestApi({ beside: a });
    await importBase(a);
    file = await uploadChats(a);
  }, 60_000);

  afterAll(async () => {
    await b?.close();
    await a?.close();
  });

  const create = async (api: TestApi, pool: string): Promise<string> => {
    const job = await api.post<{ id: string }>('/fine_tuning/jobs', {
      model: 'tiny',
      training_file: file,
      graft: { pool },
    });
    return job.id;
  };

  /** Returns a pool that `leader` leads; retries, because either process may become the leader. */
  const ledBy = async (leader: TestApi): Promise<string> => {
    for (let n = 0; n < 50; n++) {
      const pool = `pool-${pools++}`;
      const first = await new ScriptedWorker(leader, { pool }).connect();
      const job = await create(leader, pool);
      expect((await first.nextAssignment()).jobId).toBe(job);
      await leader.post(`/fine_tuning/jobs/${job}/cancel`);
      first.vanish();
      if ((await leaderOf(a, pool)) === (leader === a ? 0 : 1)) return pool;
    }
    throw new Error('it leads nothing');
  };

  const relays = () =>
    a.query<{ id: string; address: string }>(
      `SELECT id, address FROM gateway WHERE last_seen_at > clock_timestamp() - interval '6 seconds'`,
    );

  /** Returns a relay client of the process to which the worker is connected. */
  const relayOf = async (worker: ScriptedWorker): Promise<GatewayServiceClient> => {
    const [row] = await a.query<{ address: string }>(
      'SELECT address FROM gateway JOIN worker ON gateway_id = gateway.id WHERE worker.id = $1',
      [worker.welcome?.workerId],
    );
    return new GatewayServiceClient(row?.address ?? '', credentials.createInsecure());
  };

  const killed = (client: GatewayServiceClient, metadata: Metadata, session: string, id: string) =>
    new Promise<boolean | string>((resolve) =>
      client.send(
        {
          workerId: id,
          sessionId: session,
          what: {
            $case: 'message',
            value: { body: { $case: 'drain', value: { reason: 'a test' } } },
          },
        },
        metadata,
        (error: ServiceError | null, response) => resolve(error ? error.details : response.sent),
      ),
    );

  it('know each other while they run', async () => {
    expect(await relays()).toHaveLength(2);
    const c = await startTestApi({ beside: a });
    expect(await relays()).toHaveLength(3);
    await c.close();
    expect(await relays()).toHaveLength(2);
  });

  it('have one dispatcher per pool, which assigns jobs to workers of the other process', async () => {
    const pool = await ledBy(a);
    const worker = await new ScriptedWorker(b, { pool }).connect();
    const job = await create(b, pool);
    const assignment = await worker.nextAssignment();
    expect(assignment).toMatchObject({ jobId: job, attempt: 1 });
    expect(await worker.report(assignment, started())).toMatchObject({ stale: [] });
    expect(await leaderOf(b, pool)).toBe(0);
    worker.vanish();
  });

  it('relay a cancel and a pause to a worker of the other process that sends no heartbeats', async () => {
    const pool = await ledBy(b);
    const worker = await new ScriptedWorker(a, { pool, silent: true }).connect();
    for (const [verb, action] of [
      ['pause', Command_Action.ACTION_PAUSE],
      ['cancel', Command_Action.ACTION_CANCEL],
    ] as const) {
      const job = await create(a, pool);
      const assignment = await worker.nextAssignment();
      expect(assignment.jobId).toBe(job);
      await worker.report(assignment, started());
      await b.post(`/fine_tuning/jobs/${job}/${verb}`);
      await until(() => worker.commands.some((command) => command.jobId === job));
      expect(worker.commands.at(-1)).toMatchObject({ jobId: job, attempt: 1, action });
      await worker.heartbeat([]);
    }
    worker.vanish();
  });

  it('assign jobs at the process to which a worker has reconnected', async () => {
    const pool = await ledBy(a);
    const instance = `instance-${pool}`;
    const before = await new ScriptedWorker(a, { pool, instance, silent: true }).connect();
    const after = await new ScriptedWorker(b, { pool, instance }).connect();
    expect(after.welcome?.workerId).toBe(before.welcome?.workerId);
    const job = await create(a, pool);
    expect((await after.nextAssignment()).jobId).toBe(job);
    expect(before.assignments).toEqual([]);
    before.vanish();
    after.vanish();
  });

  it('reassign a job immediately and without counting a failure if its worker has just disconnected', async () => {
    const pool = await ledBy(a);
    const gone = await new ScriptedWorker(b, { pool }).connect();
    gone.pull(2);
    await until(async () => {
      const [row] = await a.query<{ free_slots: number }>(
        'SELECT free_slots FROM worker WHERE id = $1',
        [gone.welcome?.workerId],
      );
      return row?.free_slots === 2;
    });
    // As if its stream ended after it was chosen.
    await a.query(`UPDATE worker SET session_id = 'other' WHERE id = $1`, [gone.welcome?.workerId]);
    const other = await new ScriptedWorker(b, { pool }).connect();
    other.pull(1);
    const job = await create(a, pool);
    await until(() => other.assignments.length > 0);
    expect(other.assignments[0]).toMatchObject({ jobId: job });
    expect(await a.query('SELECT number, outcome FROM attempt WHERE job_id = $1', [job])).toEqual([
      { number: 1, outcome: 'not_delivered' },
      { number: other.assignments[0]?.attempt, outcome: null },
    ]);
    expect(gone.assignments).toEqual([]);
    const [counts] = await a.query('SELECT crash_count, infra_count FROM job WHERE id = $1', [job]);
    expect(counts).toEqual({ crash_count: 0, infra_count: 0 });
    gone.vanish();
    other.vanish();
  });

  it('reject relay messages with a wrong key or for another session', async () => {
    const worker = await new ScriptedWorker(b, { pool: 'relay' }).connect();
    const id = worker.welcome?.workerId ?? '';
    const [row] = await a.query<{ session_id: string }>(
      'SELECT session_id FROM worker WHERE id = $1',
      [id],
    );
    const session = row?.session_id ?? '';
    const [{ relay_key: key } = { relay_key: '' }] = await a.query<{ relay_key: string }>(
      'SELECT relay_key FROM installation',
    );
    const client = await relayOf(worker);
    for (const metadata of [new Metadata(), bearer('x'), bearer(`${key}x`)])
      expect(await killed(client, metadata, session, id)).toBe('the relay key is wrong');
    expect(await killed(client, bearer(key), 'another', id)).toBe(false);
    expect(await killed(client, bearer(key), session, id)).toBe(true);
    client.close();
    worker.vanish();
  });
});
