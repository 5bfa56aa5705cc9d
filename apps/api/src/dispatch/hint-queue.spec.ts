import { randomBytes } from 'node:crypto';
import { createConnection } from 'node:net';
import { Redis } from 'ioredis';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openHintQueue, type HintQueue } from './hint-queue.js';

const NAME = `graft_queue_test_${randomBytes(5).toString('hex')}`;
const POSTGRES = 'postgres://postgres@127.0.0.1:5432';
const REDIS = 'redis://127.0.0.1:6379';

const listens = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = createConnection({ host: '127.0.0.1', port });
    socket.once('connect', () => resolve(Boolean(socket.destroy())));
    socket.once('error', () => resolve(false));
  });

async function admin(sql: string): Promise<void> {
  const client = new Client({ connectionString: `${POSTGRES}/postgres` });
  await client.connect();
  await client.query(sql).finally(() => client.end());
}

const postgresIsThere = await listens(5432);
const redisIsThere = await listens(6379);

/** What the rest of the control plane relies on, whichever server carries the hints. */
function contract(open: () => Promise<HintQueue>): void {
  let queue: HintQueue;
  beforeAll(async () => {
    queue = await open();
  });
  afterAll(() => queue?.close());
  const hint = (jobId: string, pool: string, epoch = 0, priority = 100) => ({
    jobId,
    epoch,
    pool,
    priority,
  });

  it('is empty at first, and does not wait', async () => {
    const began = Date.now();
    expect(await queue.take('empty')).toBeNull();
    expect(await queue.depth('empty')).toBe(0);
    expect(Date.now() - began).toBeLessThan(3000);
  });

  it('gives a hint once', async () => {
    await queue.add(hint('ftjob-a', 'once', 4));
    expect(await queue.waiting(hint('ftjob-a', 'once', 4))).toBe(true);
    expect(await queue.take('once')).toEqual(hint('ftjob-a', 'once', 4));
    expect(await queue.take('once')).toBeNull();
    expect(await queue.waiting(hint('ftjob-a', 'once', 4))).toBe(false);
  });

  it('takes lower priorities first, then the older one', async () => {
    for (const [id, priority] of [
      ['c', 100],
      ['a', 1],
      ['d', 100],
      ['b', 50],
    ] as const) {
      await queue.add(hint(`ftjob-${id}`, 'order', 0, priority));
    }
    const taken = [];
    for (let n = 0; n < 4; n++) taken.push((await queue.take('order'))?.jobId);
    expect(taken).toEqual(['ftjob-a', 'ftjob-b', 'ftjob-c', 'ftjob-d']);
  });

  it('ignores a repeat of a waiting hint, and takes it again once it is gone', async () => {
    for (let n = 0; n < 3; n++) await queue.add(hint('ftjob-x', 'repeat', 2));
    expect(await queue.depth('repeat')).toBe(1);
    expect(await queue.take('repeat')).not.toBeNull();
    await queue.add(hint('ftjob-x', 'repeat', 2));
    expect(await queue.take('repeat')).toMatchObject({ jobId: 'ftjob-x', epoch: 2 });
  });

  it('adds many at once as one by one: to their pools, by priority and age, repeats ignored', async () => {
    await queue.add(hint('ftjob-b', 'many'));
    await queue.addAll([
      hint('ftjob-b', 'many'),
      hint('ftjob-e', 'others', 1),
      hint('ftjob-c', 'many'),
      hint('ftjob-d', 'many'),
      hint('ftjob-c', 'many'),
      hint('ftjob-a', 'many', 0, 1),
    ]);
    const taken = [];
    for (let n = 0; n < 5; n++) taken.push((await queue.take('many'))?.jobId);
    expect(taken).toEqual(['ftjob-a', 'ftjob-b', 'ftjob-c', 'ftjob-d', undefined]);
    expect(await queue.take('others')).toEqual(hint('ftjob-e', 'others', 1));
  });

  it('lets a re-emission past a hint that is stuck', async () => {
    await queue.add(hint('ftjob-y', 'stuck'));
    await queue.add(hint('ftjob-y', 'stuck'), 'r1');
    expect(await queue.depth('stuck')).toBe(2);
    expect(await queue.waiting(hint('ftjob-y', 'stuck'), 'r1')).toBe(true);
  });

  it('keeps pools apart', async () => {
    await queue.add(hint('ftjob-p', 'pool-p'));
    expect(await queue.take('pool-q')).toBeNull();
    expect(await queue.take('pool-p')).toMatchObject({ jobId: 'ftjob-p', pool: 'pool-p' });
  });

  it('holds few connections however many pools there are', async () => {
    const connections = () =>
      process.getActiveResourcesInfo().filter((kind) => kind === 'TCPSocketWrap').length;
    const before = connections();
    const pools = Array.from({ length: 60 }, (_, n) => `named-${n}`);
    for (const pool of pools) await queue.add(hint('ftjob-n', pool));
    for (const pool of pools) expect(await queue.take(pool)).toEqual(hint('ftjob-n', pool));
    for (let waited = 0; connections() - before > 70 && waited < 5000; waited += 50)
      await new Promise((resolve) => setTimeout(resolve, 50));
    expect(connections() - before).toBeLessThanOrEqual(70);
  });

  it('gives each of many hints to exactly one of several takers', async () => {
    await Promise.all(Array.from({ length: 40 }, (_, n) => queue.add(hint(`ftjob-${n}`, 'many'))));
    const taken: string[] = [];
    const taker = async (): Promise<void> => {
      for (let got = await queue.take('many'); got; got = await queue.take('many'))
        taken.push(got.jobId);
    };
    await Promise.all([taker(), taker(), taker(), taker()]);
    expect(taken).toHaveLength(40);
    expect(new Set(taken).size).toBe(40);
  });
}

describe.skipIf(!postgresIsThere)('hints on PostgreSQL', () => {
  beforeAll(() => admin(`CREATE DATABASE ${NAME}`));
  contract(() => openHintQueue(null, `${POSTGRES}/${NAME}`, NAME));
  afterAll(() => admin(`DROP DATABASE IF EXISTS ${NAME} WITH (FORCE)`));
});

describe.skipIf(!redisIsThere)('hints on Redis', () => {
  contract(() => openHintQueue(REDIS, '', NAME));
  afterAll(async () => {
    const redis = new Redis(REDIS);
    const keys = await redis.keys(`${NAME}*`);
    if (keys.length > 0) await redis.del(...keys);
    redis.disconnect();
  });
});

it.skipIf(!redisIsThere)('refuses to start on a Redis that does not answer', async () => {
  await expect(openHintQueue('redis://127.0.0.1:1', '', NAME)).rejects.toThrow('GRAFT_QUEUE_URL');
});
