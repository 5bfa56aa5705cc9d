import { Redis } from 'ioredis';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  POSTGRES,
  POSTGRES_PORT,
  REDIS,
  REDIS_PORT,
  uniqueName,
} from '../../../../test/servers.js';
import { dropDatabase, emptyDatabase, listens } from '../../test/test-databases.js';
import { openDispatchQueue, queuePool, type DispatchQueue } from './dispatch-queue.js';

const NAME = uniqueName('queue');

const postgresIsThere = await listens(POSTGRES_PORT);
const redisIsThere = await listens(REDIS_PORT);

/**
 * Behavior that the control plane requires of both backends. `connections` returns the server's ids of the
 * queue's connections.
 */
function contract(
  open: () => Promise<DispatchQueue>,
  connections: () => Promise<readonly string[]>,
): void {
  let queue: DispatchQueue;
  beforeAll(async () => {
    queue = await open();
  });
  afterAll(() => queue?.close());

  it('starts empty and does not block', async () => {
    const began = Date.now();
    expect(await queue.take('empty')).toBe(false);
    expect(await queue.depth('empty')).toBe(0);
    expect(Date.now() - began).toBeLessThan(3000);
  });

  it('returns a token once', async () => {
    await queue.add('once', ['ftjob-a-a4']);
    expect(await queue.depth('once')).toBe(1);
    expect(await queue.take('once')).toBe(true);
    expect(await queue.take('once')).toBe(false);
    expect(await queue.depth('once')).toBe(0);
  });

  it('ignores a duplicate of a queued token, and accepts it again after it was taken', async () => {
    for (let n = 0; n < 3; n++) await queue.add('repeat', ['x']);
    await queue.add('repeat', ['x', 'y', 'x']);
    expect(await queue.depth('repeat')).toBe(2);
    expect(await queue.take('repeat')).toBe(true);
    expect(await queue.take('repeat')).toBe(true);
    expect(await queue.take('repeat')).toBe(false);
    await queue.add('repeat', ['x']);
    expect(await queue.take('repeat')).toBe(true);
  });

  it('separates pools', async () => {
    await queue.add('pool-p', ['p']);
    expect(await queue.take('pool-q')).toBe(false);
    expect(await queue.take('pool-p')).toBe(true);
  });

  it('returns each token to exactly one of several consumers', async () => {
    await queue.add(
      'many',
      Array.from({ length: 40 }, (_, n) => `t${n}`),
    );
    let taken = 0;
    const taker = async (): Promise<void> => {
      while (await queue.take('many')) taken++;
    };
    await Promise.all([taker(), taker(), taker(), taker()]);
    expect(taken).toBe(40);
  });

  it('keeps the same few connections for any number of pools', async () => {
    const pools = Array.from({ length: 40 }, (_, n) => `named-${n}`);
    const everyPool = () => Promise.all(pools.map((pool) => queue.take(pool)));
    await everyPool();
    const before = await connections();
    expect(before.length).toBeGreaterThan(0);
    expect(before.length).toBeLessThanOrEqual(4);
    for (let second = 0; second < 5; second++) {
      for (const pool of pools) await queue.take(pool);
      await everyPool();
      // Each connection has its own id: a connection that was closed and reopened would have a different
      // one.
      expect(await connections()).toEqual(before);
    }
  });
}

describe.skipIf(!postgresIsThere)('tokens on PostgreSQL', () => {
  let database: string;
  beforeAll(async () => {
    database = await emptyDatabase();
  });
  contract(
    () => openDispatchQueue(null, `${POSTGRES}/${database}`, NAME),
    async () => {
      const client = new Client({ connectionString: `${POSTGRES}/postgres` });
      await client.connect();
      const { rows } = await client
        .query<{ pid: number }>(
          'SELECT pid FROM pg_stat_activity WHERE datname = $1 ORDER BY pid',
          [database],
        )
        .finally(() => client.end());
      return rows.map(({ pid }) => String(pid));
    },
  );
  afterAll(() => dropDatabase(database));

  it('survives the loss of a connection within a transaction', async () => {
    const pool = queuePool(`${POSTGRES}/${database}`, NAME);
    const client = await pool.connect();
    await client.query('BEGIN');
    const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    // Without a listener of its own, this event would end the process.
    const lost = new Promise((resolve) => client.once('end', () => resolve(null)));
    await pool.query('SELECT pg_terminate_backend($1)', [rows[0]!.pid]);
    await lost;
    await expect(client.query('COMMIT')).rejects.toThrow();
    client.release(true);
    await pool.end();
  });
});

describe.skipIf(!redisIsThere)('tokens on Redis', () => {
  const redis = new Redis(REDIS);
  contract(
    () => openDispatchQueue(REDIS, '', NAME),
    async () => {
      const clients = ((await redis.client('LIST')) as string).split('\n');
      const own = clients.filter((line) => line.includes(`name=${NAME}`));
      return own.map((line) => /\bid=(\d+)/.exec(line)?.[1] ?? '').sort();
    },
  );
  afterAll(async () => {
    const keys = await redis.keys(`${NAME}*`);
    if (keys.length > 0) await redis.del(...keys);
    redis.disconnect();
  });
});

it.skipIf(!redisIsThere)(
  'rejects a Redis that does not respond, and names GRAFT_QUEUE_URL',
  async () => {
    await expect(openDispatchQueue('redis://127.0.0.1:1', '', NAME)).rejects.toThrow(
      'GRAFT_QUEUE_URL',
    );
  },
);
