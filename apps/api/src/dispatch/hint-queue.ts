import { DomainError } from '@graft/contracts';
import { createPostgresBackend, Queue, runMigrations, withBackend, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import { Client } from 'pg';
import { log } from '../log.js';

/** "Job J at epoch E wants a worker." Carries no ownership: losing or doubling one is harmless. */
export interface Hint {
  readonly jobId: string;
  readonly epoch: number;
  readonly pool: string;
  /** Lower is taken first. */
  readonly priority: number;
}

/** The one doorway to BullMQ. */
export interface HintQueue {
  readonly backend: 'redis' | 'postgres';
  /** Adds a hint; `again` names a re-emission, so that a lost or stuck first one does not hide it. */
  add(hint: Hint, again?: string): Promise<void>;
  /** Adds many, of any pools; of each pool in one call, in this order. */
  addAll(hints: readonly Hint[]): Promise<void>;
  /** Takes the next hint of a pool out of the queue, or null; does not wait. */
  take(pool: string): Promise<Hint | null>;
  /** Whether the hint (or the re-emission `again`) still waits to be taken. */
  waiting(hint: Hint, again?: string): Promise<boolean>;
  depth(pool: string): Promise<number>;
  close(): Promise<void>;
}

type Data = Pick<Hint, 'jobId' | 'epoch' | 'priority'>;
interface Pair {
  readonly queue: Pick<Queue<Data>, 'addBulk' | 'getJob' | 'getJobCounts' | 'close'>;
  readonly worker: Pick<Worker<Data>, 'getNextJob' | 'close'>;
}

/** Every call is bounded: an unreachable queue must not hold a request or the dispatcher. */
const PATIENCE_MS = 5_000;
/** Pools whose queues are kept open: each holds connections, and whoever submits a job may name a pool. */
const KEPT_POOLS = 16;
const OPTIONS = { removeOnComplete: true, removeOnFail: true } as const;

export async function openHintQueue(
  queueUrl: string | null,
  databaseUrl: string,
  prefix: string,
): Promise<HintQueue> {
  return queueUrl ? openRedis(queueUrl, prefix) : openPostgres(databaseUrl, prefix);
}

async function openPostgres(databaseUrl: string, prefix: string): Promise<HintQueue> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  await runMigrations(client).finally(() => client.end());
  const classes = withBackend(createPostgresBackend);
  const connection = { connectionString: databaseUrl, max: 2 };
  return pairs('postgres', prefix, (name) => {
    const queue = new classes.Queue<Data>(name, { connection });
    const worker = new classes.Worker<Data>(name, null, { connection, autorun: false });
    return { queue, worker, emitters: [queue, worker] };
  });
}

async function openRedis(url: string, prefix: string): Promise<HintQueue> {
  const connection = { url, maxRetriesPerRequest: null, enableOfflineQueue: false };
  await warnAboutRedis(url);
  return pairs('redis', prefix, (name) => {
    const queue = new Queue<Data>(name, { connection, prefix });
    const worker = new Worker<Data>(name, null, {
      connection: { url, maxRetriesPerRequest: null },
      prefix,
      autorun: false,
    });
    return { queue, worker, emitters: [queue, worker] };
  });
}

/** Any eviction policy but noeviction may drop hints; without AOF a restart drops them all. */
async function warnAboutRedis(url: string): Promise<void> {
  const redis = new Redis(url, {
    lazyConnect: true,
    maxRetriesPerRequest: 1,
    retryStrategy: () => null,
  });
  redis.on('error', () => undefined);
  try {
    await redis.connect();
    for (const [setting, wanted] of [
      ['maxmemory-policy', 'noeviction'],
      ['appendonly', 'yes'],
    ] as const) {
      const [, value] = (await redis.config('GET', setting)) as string[];
      if (value !== wanted) log.warn({ setting, value, wanted }, 'Redis is not set up for queues');
    }
  } catch (error) {
    throw new DomainError(
      'unavailable',
      `Redis does not answer (${(error as Error).message}); check GRAFT_QUEUE_URL`,
    );
  } finally {
    redis.disconnect();
  }
}

const hintId = (jobId: string, epoch: number, again?: string): string =>
  `${jobId}-e${epoch}${again ? `-${again}` : ''}`;

interface Emitter {
  on(event: 'error', listener: (error: Error) => void): unknown;
}

type Open = (name: string) => Pair & { emitters: readonly Emitter[] };

interface Kept {
  use<T>(pool: string, work: (pair: Pair) => Promise<T>): Promise<T>;
  close(): Promise<unknown>;
}

/** The queues of the pools that were used last. */
function keptPairs(prefix: string, open: Open): Kept {
  const opened = new Map<string, Pair & { uses: number }>();
  const of = (pool: string): Pair & { uses: number } => {
    let pair = opened.get(pool);
    if (!pair) {
      const { emitters, ...made } = open(`${prefix}-${pool}`);
      for (const emitter of emitters) emitter.on('error', reportQueueError);
      pair = { ...made, uses: 0 };
    }
    // The one used last goes last.
    opened.delete(pool);
    opened.set(pool, pair);
    return pair;
  };
  /** Closes those not used for longest, but none under a call. */
  const closeSpare = (): void => {
    for (const [pool, pair] of opened) {
      if (opened.size <= KEPT_POOLS) return;
      if (pair.uses > 0) continue;
      opened.delete(pool);
      void closePair(pair);
    }
  };
  return {
    use: (pool, work) => {
      const pair = of(pool);
      pair.uses++;
      return bounded(
        work(pair).finally(() => {
          pair.uses--;
          closeSpare();
        }),
      );
    },
    close: () => Promise.all([...opened.values()].map(closePair)),
  };
}

async function closePair({ queue, worker }: Pair): Promise<void> {
  await Promise.allSettled([bounded(worker.close(true)), bounded(queue.close())]);
}

function pairs(backend: HintQueue['backend'], prefix: string, open: Open): HintQueue {
  const { use, close } = keptPairs(prefix, open);
  const addTo = (pool: string, hints: readonly Hint[], again?: string): Promise<unknown> =>
    use(pool, ({ queue }) =>
      queue.addBulk(
        hints.map(({ jobId, epoch, priority }) => ({
          name: 'hint',
          data: { jobId, epoch, priority },
          opts: { jobId: hintId(jobId, epoch, again), priority, ...OPTIONS },
        })),
      ),
    );
  return {
    backend,
    add: async (hint, again) => {
      await addTo(hint.pool, [hint], again);
    },
    addAll: async (hints) => {
      for (const pool of new Set(hints.map((hint) => hint.pool))) {
        await addTo(
          pool,
          hints.filter((hint) => hint.pool === pool),
        );
      }
    },
    take: async (pool) => {
      const data = await use(pool, ({ worker }) => takeOut(worker));
      return data && { ...data, pool };
    },
    waiting: ({ jobId, epoch, pool }, again) =>
      use(pool, async ({ queue }) => {
        const job = await queue.getJob(hintId(jobId, epoch, again));
        const state = job ? await job.getState() : 'missing';
        return ['waiting', 'prioritized', 'delayed'].includes(state);
      }),
    depth: async (pool) => {
      const counts = await use(pool, ({ queue }) =>
        queue.getJobCounts('waiting', 'prioritized', 'delayed'),
      );
      return Object.values(counts).reduce((sum, count) => sum + count, 0);
    },
    close: async () => {
      await close();
    },
  };
}

/** Out of the queue at once, even when nobody waits for the answer any more: the reconciler emits it again. */
async function takeOut(worker: Pair['worker']): Promise<Data | null> {
  const token = `graft-${process.pid}`;
  const job = await worker.getNextJob(token, { block: false });
  await job?.moveToCompleted('taken' as never, token, false);
  return job?.data ?? null;
}

function bounded<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new DomainError('unavailable', 'the queue does not answer', null, 2)),
      PATIENCE_MS,
    );
  });
  work.catch(() => undefined);
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

let reportedAt = 0;

/** A lost server repeats its error many times a second: one line in five seconds is enough. */
function reportQueueError(error: Error): void {
  if (Date.now() - reportedAt < 5_000) return;
  reportedAt = Date.now();
  log.warn({ err: error.message }, 'the queue reports an error');
}
