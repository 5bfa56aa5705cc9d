// One of two real API processes is suspended, or killed under load; the other takes over.
import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import type { Assignment } from '@graft/contracts/grpc';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { finished, ScriptedWorker, started, step } from './scripted-worker.js';

const MAIN = fileURLToPath(new URL('process.mjs', import.meta.url));
/** A process without heartbeats for six seconds counts as dead; the others check every second. */
const TAKEOVER_MS = 20_000;

type Where = Pick<TestApi, 'grpcUrl' | 'joinToken'>;

interface Replica extends Where {
  readonly url: string;
  readonly process: ChildProcess;
}

async function startReplica(beside: TestApi): Promise<Replica> {
  const child = spawn(process.execPath, [MAIN, JSON.stringify(beside.config)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let out = '';
  child.stdout?.on('data', (text: Buffer) => (out += text.toString()));
  await until(() => out.includes('\n'), 60_000);
  return {
    ...(JSON.parse(out.slice(out.indexOf('{'))) as Where & { url: string }),
    process: child,
  };
}

const key = ({ jobId, attempt }: Assignment): string => `${jobId} ${attempt}`;

/**
 * A worker that reconnects at its next address with its runs, and repeats events that were not acknowledged.
 */
class SteadyWorker {
  private readonly instance = randomUUID();
  private readonly runs = new Map<string, Assignment>();
  private readonly reported = new Set<string>();
  private stopped = false;
  private readonly work: Promise<void>;

  constructor(
    private readonly addresses: readonly Where[],
    private readonly pool: string,
    private readonly runMs: number,
  ) {
    this.work = this.serve();
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await this.work;
  }

  private async serve(): Promise<void> {
    for (let n = 0; !this.stopped; n++) {
      const { grpcUrl, joinToken } = this.addresses[n % this.addresses.length] as Where;
      const leases = [...this.runs.values()].map(({ jobId, attempt }) => ({
        jobId,
        attempt,
        step: 0,
      }));
      const worker = new ScriptedWorker({ grpcUrl, joinToken } as TestApi, {
        pool: this.pool,
        instance: this.instance,
        leases,
      });
      await worker.connect();
      if (worker.ended === null) await this.serveAt(worker).catch(() => undefined);
      worker.vanish();
      // Includes assignments that arrived at the end of the stream.
      for (const assignment of worker.assignments)
        if (!this.reported.has(key(assignment))) this.runs.set(key(assignment), assignment);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  private async serveAt(worker: ScriptedWorker): Promise<void> {
    const accept = (): void => {
      for (const assignment of worker.assignments) {
        if (this.reported.has(key(assignment)) || this.runs.has(key(assignment))) continue;
        this.runs.set(key(assignment), assignment);
        worker.keep(assignment);
      }
    };
    for (const run of this.runs.values()) worker.keep(run);
    while (worker.ended === null && !this.stopped) {
      worker.pull(Math.max(0, 2 - this.runs.size));
      await new Promise((resolve) => setTimeout(resolve, this.runMs));
      accept();
      if (worker.ended !== null) return;
      for (const run of [...this.runs.values()]) {
        const adapter = [
          await worker.put(run, 'README.md', '# made by a test\n'),
          await worker.put(run, 'adapter_config.json', '{"peft_type":"LORA"}'),
          await worker.put(run, 'adapter_model.safetensors', `weights of ${run.jobId}`),
        ];
        await worker.report(run, started(), step(1), finished(1, adapter));
        this.reported.add(key(run));
        this.runs.delete(key(run));
      }
    }
  }
}

describe('one of two API processes', () => {
  let a: TestApi;
  let file: string;
  let pools = 0;
  const replicas: Replica[] = [];

  beforeAll(async () => {
    // The default lease is long enough for a worker to reconnect.
    a = await startTestApi({ reconcileMs: 300 });
    await importBase(a);
    file = await uploadChats(a);
  }, 60_000);

  afterAll(async () => {
    for (const { process } of replicas) process.kill('SIGKILL');
    await a?.close();
  });

  const replica = async (): Promise<Replica> => {
    const made = await startReplica(a);
    replicas.push(made);
    return made;
  };

  const create = async (url: string, pool: string): Promise<string> => {
    const response = await fetch(`${url}/v1/fine_tuning/jobs`, {
      method: 'POST',
      headers: { ...a.headers, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'tiny', training_file: file, graft: { pool } }),
    });
    const { id } = (await response.json()) as { id?: string };
    if (!id) throw new Error(`not created: ${response.status}`);
    return id;
  };

  it('is suspended while it leads a pool: the other takes over the pool, and no job runs twice', async () => {
    const pool = `pool-${pools++}`;
    const b = await replica();
    const first = await new ScriptedWorker(b as unknown as TestApi, { pool }).connect();
    const before = await create(b.url, pool);
    expect((await first.nextAssignment()).jobId).toBe(before);
    const worker = await new ScriptedWorker(a, { pool }).connect();
    b.process.kill('SIGSTOP');
    const stoppedAt = performance.now();
    // While the leader is suspended, the job is not assigned; then it must go to the worker at `a`.
    const job = await create(a.url, pool);
    const assignment = await worker.nextAssignment(TAKEOVER_MS);
    const took = performance.now() - stoppedAt;
    expect(assignment).toMatchObject({ jobId: job, attempt: 1 });
    worker.keep(assignment);
    expect(took).toBeLessThan(TAKEOVER_MS);
    b.process.kill('SIGCONT');
    // It now continues what was in progress when it was suspended.
    const after = await create(a.url, pool);
    first.pull(2);
    worker.pull(1);
    await until(
      () => [...first.assignments, ...worker.assignments].some(({ jobId }) => jobId === after),
      TAKEOVER_MS,
    );
    await worker.finish(assignment, 3);
    const attempts = await a.query<{ job_id: string; attempts: number }>(
      'SELECT job_id, count(*)::int AS attempts FROM attempt WHERE job_id = ANY($1) GROUP BY 1',
      [[before, job, after]],
    );
    expect(attempts.map((row) => row.attempts)).toEqual([1, 1, 1]);
    expect(await a.query('SELECT state FROM job WHERE id = $1', [job])).toEqual([
      { state: 'succeeded' },
    ]);
    first.vanish();
    worker.vanish();
  }, 60_000);

  it('is suspended with workers: the other, which leads, is not blocked, and assigns their jobs to other workers', async () => {
    const pool = `pool-${pools++}`;
    const b = await replica();
    const first = await new ScriptedWorker(a, { pool }).connect();
    const before = await create(a.url, pool);
    expect((await first.nextAssignment()).jobId).toBe(before);
    await a.post(`/fine_tuning/jobs/${before}/cancel`);
    const hung = await new ScriptedWorker(b as unknown as TestApi, { pool }).connect();
    hung.pull(2);
    await until(async () => {
      const [row] = await a.query<{ free_slots: number }>(
        'SELECT free_slots FROM worker WHERE id = $1',
        [hung.welcome?.workerId],
      );
      return row?.free_slots === 2;
    });
    b.process.kill('SIGSTOP');
    first.pull(1);
    const jobs = [await create(a.url, pool), await create(a.url, pool)];
    // The worker at the suspended process has more free slots and is tried first; an undelivered job is
    // reassigned without counting an attempt.
    const served = new Set<string>();
    await until(() => {
      for (const assignment of first.assignments.slice(1)) {
        served.add(assignment.jobId);
        first.keep(assignment);
      }
      if (served.size < jobs.length) first.pull(1);
      return jobs.every((job) => served.has(job));
    }, 40_000);
    expect(
      await a.query('SELECT max(infra_count) AS lost FROM job WHERE id = ANY($1)', [jobs]),
    ).toEqual([{ lost: 0 }]);
    b.process.kill('SIGCONT');
    for (const job of jobs) await a.post(`/fine_tuning/jobs/${job}/cancel`);
    first.vanish();
    hung.vanish();
  }, 90_000);

  it('is killed under load: its workers continue at the other, and each job is completed once', async () => {
    const pool = `pool-${pools++}`;
    const b = await replica();
    const addresses = [a, b];
    const workers = Array.from(
      { length: 6 },
      (_, n) => new SteadyWorker(n % 2 === 0 ? addresses : [...addresses].reverse(), pool, 150),
    );
    const ids: string[] = [];
    for (let n = 0; n < 30; n++) {
      ids.push(await create(n < 15 && n % 2 === 1 ? b.url : a.url, pool));
      if (n === 15) b.process.kill('SIGKILL');
    }
    await until(async () => {
      const [row] = await a.query<{ open: number }>(
        `SELECT count(*)::int AS open FROM job WHERE id = ANY($1) AND state <> 'succeeded'`,
        [ids],
      );
      return row?.open === 0;
    }, 45_000);
    for (const worker of workers) await worker.stop();
    const rows = await a.query(
      `SELECT count(*) FILTER (WHERE outcome = 'done')::int AS done, count(DISTINCT job_id)::int AS jobs,
         count(*) FILTER (WHERE outcome NOT IN ('done', 'not_delivered', 'lost_worker'))::int AS otherwise
       FROM attempt WHERE job_id = ANY($1)`,
      [ids],
    );
    expect(rows).toEqual([{ done: ids.length, jobs: ids.length, otherwise: 0 }]);
  }, 90_000);
});
