import { DomainError } from '@graft/contracts';
import {
  createPostgresBackend,
  createRedisBackend,
  runMigrations,
  withBackend,
  type Queue,
  type Worker,
} from 'bullmq';
import { Redis } from 'ioredis';
import { Client, Pool } from 'pg';
import { log } from '../log.js';

/**
 * The only access to BullMQ. It carries tokens that mean "one more job waits in pool P". PostgreSQL decides
 * which job is assigned to which worker, so lost or duplicate tokens are harmless.
 */
export interface DispatchQueue {
  readonly backend: 'redis' | 'postgres';
  /** Adds tokens. A token whose id is still in the queue is not added again. */
  add(pool: string, ids: readonly string[]): Promise<void>;
  /** Removes a token of a pool from the queue and returns whether there was one. Does not block. */
  take(pool: string): Promise<boolean>;
  depth(pool: string): Promise<number>;
  close(): Promise<void>;
}

interface Pair {
  readonly queue: Pick<Queue, 'addBulk' | 'getJobCounts' | 'close'>;
  readonly worker: Pick<Worker, 'getNextJob' | 'close'>;
}

/** Timeout of each call: an unreachable queue must not block a request or the dispatcher. */
const PATIENCE_MS = 5_000;
/** Pools whose queues stay open. A queue holds no separate connection, but any job may name a new pool. */
const KEPT_POOLS = 500;
/** PostgreSQL connections that the queues of all pools share. */
const CONNECTIONS = 4;
const OPTIONS = { removeOnComplete: true, removeOnFail: true } as const;

export async function openDispatchQueue(
  queueUrl: string | null,
  databaseUrl: string,
  prefix: string,
): Promise<DispatchQueue> {
  return queueUrl ? openRedis(queueUrl, prefix) : openPostgres(databaseUrl, prefix);
}

/** Migrates the tables of the queue. */
export async function migrateQueue(databaseUrl: string): Promise<void> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  await runMigrations(client).finally(() => client.end());
}

async function openPostgres(databaseUrl: string, prefix: string): Promise<DispatchQueue> {
  await migrateQueue(databaseUrl);
  const pool = queuePool(databaseUrl, prefix);
  const connection = withoutListeners(pool);
  // Share the pool: by default every BullMQ worker opens its own connection to wait for jobs.
  const classes = withBackend((name: string, opts: Parameters<typeof createPostgresBackend>[1]) =>
    createPostgresBackend(name, opts),
  );
  const open = (name: string) => ({
    queue: new classes.Queue(name, { connection }),
    worker: new classes.Worker(name, null, { connection, autorun: false }),
  });
  return pairs('postgres', prefix, open, () => pool.end());
}

/** Opens the connections of the queue. Losing one, even within a transaction, is reported and does not end the process. */
export function queuePool(databaseUrl: string, prefix: string): Pool {
  const pool = new Pool({
    connectionString: databaseUrl,
    max: CONNECTIONS,
    application_name: `${prefix}-queue`,
    // The schema of BullMQ's tables. BullMQ only sets it on connections that it opens itself.
    options: '-c search_path=bullmq',
  });
  pool.on('error', reportQueueError);
  // The pool listens only while a connection is idle, and BullMQ does not listen at all. The next query rejects.
  pool.on('connect', (client) => client.on('error', () => undefined));
  return pool;
}

/** Wraps a pool for BullMQ, which adds an error listener for each queue and does not remove it on close. */
const withoutListeners = (pool: Pool): Pool =>
  ({
    options: pool.options,
    connect: () => pool.connect(),
    query: pool.query.bind(pool),
    end: () => pool.end(),
    on: () => undefined,
  }) as unknown as Pool;

async function openRedis(url: string, prefix: string): Promise<DispatchQueue> {
  await warnAboutRedis(url);
  const connection = new Redis(url, {
    maxRetriesPerRequest: null,
    enableOfflineQueue: false,
    connectionName: `${prefix}-queue`,
  });
  connection.on('error', reportQueueError);
  const classes = withBackend((name: string, opts: Parameters<typeof createRedisBackend>[1]) =>
    createRedisBackend(name, opts),
  );
  const open = (name: string) => ({
    queue: new classes.Queue(name, { connection, prefix }),
    worker: new classes.Worker(name, null, { connection, prefix, autorun: false }),
  });
  return pairs('redis', prefix, open, async () => connection.disconnect());
}

/**
 * Logs a warning unless Redis is configured for a queue: eviction policies other than noeviction may drop
 * entries, and without AOF a restart drops all of them.
 */
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
      if (value !== wanted)
        log.warn({ setting, value, wanted }, 'Redis is not configured for a queue');
    }
  } catch (error) {
    throw new DomainError(
      'unavailable',
      `cannot reach Redis (${(error as Error).message}); check GRAFT_QUEUE_URL`,
    );
  } finally {
    redis.disconnect();
  }
}

type Open = (name: string) => Pair & { readonly [name in keyof Pair]: Emitter };

interface Emitter {
  on(event: 'error', listener: (error: Error) => void): unknown;
}

interface Kept {
  use<T>(pool: string, work: (pair: Pair) => Promise<T>): Promise<T>;
  close(): Promise<unknown>;
}

/** Cache of the queues of the most recently used pools. */
function keptPairs(prefix: string, open: Open): Kept {
  const opened = new Map<string, Pair & { uses: number }>();
  const of = (pool: string): Pair & { uses: number } => {
    let pair = opened.get(pool);
    if (!pair) {
      const { queue, worker } = open(`${prefix}-${pool}`);
      for (const emitter of [queue, worker]) emitter.on('error', reportQueueError);
      pair = { queue, worker, uses: 0 };
    }
    // Move the pool to the end: the map is ordered by last use.
    opened.delete(pool);
    opened.set(pool, pair);
    return pair;
  };
  /** Closes the least recently used queues, except those with a call in progress. */
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

function pairs(
  backend: DispatchQueue['backend'],
  prefix: string,
  open: Open,
  disconnect: () => Promise<void>,
): DispatchQueue {
  const { use, close } = keptPairs(prefix, open);
  return {
    backend,
    add: async (pool, ids) => {
      await use(pool, ({ queue }) =>
        queue.addBulk(
          ids.map((jobId) => ({ name: 'dispatch', data: {}, opts: { jobId, ...OPTIONS } })),
        ),
      );
    },
    take: (pool) => use(pool, ({ worker }) => takeOut(worker)),
    depth: async (pool) => {
      const counts = await use(pool, ({ queue }) =>
        queue.getJobCounts('waiting', 'prioritized', 'delayed'),
      );
      return Object.values(counts).reduce((sum, count) => sum + count, 0);
    },
    close: async () => {
      await close();
      await disconnect();
    },
  };
}

/** Completes a token immediately, even if the caller no longer waits for it. The reconciler reissues it. */
async function takeOut(worker: Pair['worker']): Promise<boolean> {
  const owner = `graft-${process.pid}`;
  const token = await worker.getNextJob(owner, { block: false });
  await token?.moveToCompleted('taken' as never, owner, false);
  return token !== undefined;
}

function bounded<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new DomainError('unavailable', 'the queue is not responding', null, 2)),
      PATIENCE_MS,
    );
  });
  work.catch(() => undefined);
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

let reportedAt = 0;

/**
 * Logs an error of the queue. An unreachable server repeats its error many times a second, so log at most
 * one line in five seconds.
 */
function reportQueueError(error: Error): void {
  if (Date.now() - reportedAt < 5_000) return;
  reportedAt = Date.now();
  log.warn({ err: error.message }, 'the queue reports an error');
}
