// Faults to inject into a cluster. When a fault's promise resolves, it has ended and the damage is healed.
import { readFileSync } from 'node:fs';
import type { ApiProcess, Cluster, WorkerProcess } from './cluster.js';
import type { FaultyProxy, Line } from './faulty-proxy.js';
import type { Random } from './random.js';

export interface Fault {
  readonly name: string;
  /** Whether this machine can inject it. */
  readonly possible?: (cluster: Cluster) => boolean;
  readonly inject: (cluster: Cluster, random: Random, record: Record_) => Promise<void>;
}

/** Jobs of a worker when it was killed. */
export interface Kill {
  readonly atMs: number;
  readonly jobs: readonly { id: string; attempt: number }[];
}

interface Record_ {
  kill(kill: Kill): void;
}

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const worker = (cluster: Cluster, random: Random): WorkerProcess => random.of(cluster.workers);
const api = (cluster: Cluster, random: Random): ApiProcess => random.of(cluster.apis);

async function freeze(signal: (name: NodeJS.Signals) => void, ms: number): Promise<void> {
  signal('SIGSTOP');
  await wait(ms);
  signal('SIGCONT');
}

function toPid(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // it has already exited
  }
}

/**
 * Pids of a worker's trainers. Skips pids that another program uses now, because the pid files may be
 * outdated.
 */
function trainers(cluster: Cluster, of: WorkerProcess): number[] {
  return cluster.trainerPids(of).filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('trainer');
    } catch {
      return false;
    }
  });
}

const BAD: readonly (readonly [string, (random: Random) => Line])[] = [
  ['200 ms of latency', () => ({ latencyMs: 200 })],
  ['pieces of 7 bytes', () => ({ slice: 7 })],
  ['silence both ways', () => ({ silent: 'both' })],
  ['silence towards the server', () => ({ silent: 'there' })],
  ['silence back', () => ({ silent: 'back' })],
];

const PARTS: readonly (readonly [string, (cluster: Cluster, random: Random) => FaultyProxy[]])[] = [
  ['worker and API', (cluster, random) => [...worker(cluster, random).lines]],
  ['API and database', (cluster, random) => [api(cluster, random).database]],
  [
    'API and queue',
    (cluster, random) => {
      const { queue } = api(cluster, random);
      return queue ? [queue] : [];
    },
  ],
];

const lines: readonly Fault[] = PARTS.flatMap(([between, choose]) => [
  {
    name: `reset between ${between}`,
    inject: async (cluster, random) => {
      for (const proxy of choose(cluster, random)) proxy.reset();
    },
  },
  ...BAD.map(([how, line]): Fault => ({
    name: `${how} between ${between}`,
    inject: async (cluster, random) => {
      const proxies = choose(cluster, random);
      for (const proxy of proxies) proxy.become(line(random));
      await wait(random.between(2000, how.startsWith('silence') ? 22_000 : 6000));
      for (const proxy of proxies) proxy.become({});
    },
  })),
]);

const processes: readonly Fault[] = [
  {
    name: 'kill -9 of a trainer',
    inject: async (cluster, random) => {
      for (const pid of trainers(cluster, worker(cluster, random))) toPid(pid, 'SIGKILL');
    },
  },
  {
    name: 'kill -9 of a worker',
    inject: async (cluster, random, record) => {
      const { program } = worker(cluster, random);
      const jobs = await cluster
        .query<{ id: string; attempt: number }>(
          `SELECT job.id, job.attempt FROM job JOIN worker ON worker.id = lease_owner
           WHERE job.state = 'running' AND worker.name = $1`,
          [program.name],
        )
        .catch(() => []);
      record.kill({ atMs: Date.now(), jobs });
      // The longest pause exceeds the lease.
      await program.restart('SIGKILL', random.of([0, 500, 3000, (cluster.leaseMs * 4) / 3]));
    },
  },
  {
    name: 'kill -9 of an API process',
    inject: async (cluster, random) => {
      await api(cluster, random).program.restart('SIGKILL', random.of([0, 500, 8000]));
    },
  },
  {
    name: 'SIGTERM of a worker',
    inject: async (cluster, random) => {
      await worker(cluster, random).program.restart('SIGTERM', 500);
    },
  },
  {
    name: 'API processes replaced one after the other',
    inject: async ({ apis }) => {
      for (const { program } of apis) {
        await program.restart('SIGTERM', 0);
        await wait(3000);
      }
    },
  },
  {
    name: 'SIGSTOP of a worker',
    inject: (cluster, random) => {
      const { program } = worker(cluster, random);
      return freeze((name) => program.signal(name), random.of([3000, 8000, 25_000]));
    },
  },
  {
    name: 'SIGSTOP of an API process',
    inject: (cluster, random) => {
      const { program } = api(cluster, random);
      return freeze((name) => program.signal(name), random.of([2000, 8000, 12_000]));
    },
  },
  {
    name: 'SIGSTOP of a trainer',
    inject: (cluster, random) => {
      const pids = trainers(cluster, worker(cluster, random));
      return freeze((name) => pids.forEach((pid) => toPid(pid, name)), random.between(1000, 6000));
    },
  },
];

const stores: readonly Fault[] = [
  {
    name: 'immediate restart of PostgreSQL',
    inject: async (cluster) => {
      await cluster.crashPostgres();
    },
  },
  {
    name: 'every connection to PostgreSQL ended by it',
    inject: async (cluster) => {
      await cluster
        .query(
          'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()',
        )
        .catch(() => undefined);
    },
  },
  {
    name: 'listening connections ended',
    inject: async (cluster) => {
      await cluster
        .query(
          `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ILIKE 'LISTEN%' AND pid <> pg_backend_pid()`,
        )
        .catch(() => undefined);
    },
  },
  {
    name: 'FLUSHALL in Redis',
    possible: ({ redis }) => redis !== null,
    inject: async ({ redis }) => {
      await redis?.flushAll();
    },
  },
  {
    name: 'kill -9 of Redis',
    possible: ({ redis }) => redis !== null,
    inject: async ({ redis }, random) => {
      await redis?.kill();
      await wait(random.of([0, 2000, 8000]));
      await redis?.start({ empty: random.next() < 0.5 });
    },
  },
];

const CLOCKS: readonly (readonly [
  string,
  (cluster: Cluster, random: Random) => { preload: ApiProcess['preload'] },
])[] = [
  ['a worker', worker],
  ['an API process', api],
];

const machine: readonly Fault[] = CLOCKS.flatMap(([whose, choose]): Fault[] => [
  {
    name: `clock of ${whose} jumps an hour`,
    possible: (cluster) => cluster.apis.every(({ preload }) => preload.canMoveClock),
    inject: async (cluster, random) => {
      const { preload } = choose(cluster, random);
      preload.moveClock(random.of([3600, -3600]));
      await wait(random.between(4000, 10_000));
      preload.moveClock(0);
    },
  },
  {
    name: `fsync and rename of ${whose} fail`,
    possible: (cluster) => cluster.apis.every(({ preload }) => preload.canFailDisk),
    inject: async (cluster, random) => {
      const { preload } = choose(cluster, random);
      preload.failDisk(true);
      await wait(random.between(1000, 5000));
      preload.failDisk(false);
    },
  },
]);

export const FAULTS: readonly Fault[] = [...processes, ...stores, ...lines, ...machine];
