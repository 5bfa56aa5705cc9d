import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { POSTGRES_PORT, REDIS, REDIS_PORT, uniqueName } from '../../../../test/servers.js';
import { scratchDatabase, type ScratchDatabase } from '../../test/scratch-database.js';
import { listens } from '../../test/test-databases.js';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import { RateLimits } from './rate-limits.js';

const NAME = uniqueName('limits');

const postgresIsThere = await listens(POSTGRES_PORT);
const redisIsThere = await listens(REDIS_PORT);

describe.skipIf(!postgresIsThere)('limits of requests', () => {
  let scratch: ScratchDatabase;
  let database: Database;
  const opened: RateLimits[] = [];

  beforeAll(async () => {
    scratch = await scratchDatabase();
    database = new Database(scratch.source);
  });
  afterAll(async () => {
    for (const one of opened) one.onModuleDestroy();
    await scratch?.close();
  });

  /** Those of one API process. */
  const limits = (requestsPerMinute: number, queueUrl?: string): RateLimits => {
    const more = queueUrl === undefined ? {} : { queueUrl };
    const settings = new Settings({ home: '/', requestsPerMinute, queuePrefix: NAME, ...more }, '');
    const made = new RateLimits(database, settings);
    opened.push(made);
    return made;
  };

  const contract = (
    open: (perMinute: number) => Promise<RateLimits>,
    /** As if the key had last sent something so long before. */
    wait: (key: string, ms: number) => Promise<unknown>,
  ): void => {
    it('allows a minute of requests at once, then as many as time gives back', async () => {
      const bucket = await open(6);
      for (let n = 5; n >= 0; n--)
        expect(await bucket.take('a')).toMatchObject({ limit: 6, remaining: n, waitMs: 0 });
      const refused = await bucket.take('a');
      expect(refused).toMatchObject({ limit: 6, remaining: 0 });
      // A token takes ten seconds; this test took less.
      expect(refused?.waitMs).toBeGreaterThan(0);
      expect(refused?.waitMs).toBeLessThanOrEqual(10_000);
      await wait('a', 10_000);
      expect(await bucket.take('a')).toMatchObject({ remaining: 0, waitMs: 0 });
      expect((await bucket.take('a'))?.waitMs).toBeGreaterThan(0);
      // However long nothing came, no more than a minute's worth.
      await wait('a', 3_600_000);
      expect(await bucket.take('a')).toMatchObject({ remaining: 5, waitMs: 0 });
    });

    it('is one limit for all processes, and one for each key', async () => {
      const processes = [await open(20), await open(20), await open(20)];
      const all = await Promise.all(
        Array.from({ length: 60 }, (_, n) => processes[n % 3]?.take('shared')),
      );
      const allowed = all.filter((allowance) => allowance?.waitMs === 0).length;
      // One token comes back each three seconds.
      expect(allowed).toBeGreaterThanOrEqual(20);
      expect(allowed).toBeLessThanOrEqual(25);
      expect((await processes[0]?.take('other'))?.waitMs).toBe(0);
    });
  };

  describe('counted in PostgreSQL', () => {
    contract(
      async (perMinute) => limits(perMinute),
      (key, ms) =>
        scratch.source.query(`UPDATE bucket SET at = at - $2 * interval '1 ms' WHERE key_id = $1`, [
          key,
          ms,
        ]),
    );
  });

  describe.skipIf(!redisIsThere)('counted in Redis', () => {
    const redis = new Redis(REDIS);
    const name = (key: string): string => `${NAME}:bucket:${key}`;
    afterAll(async () => {
      await redis.del(...(await redis.keys(`${NAME}*`)));
      redis.disconnect();
    });
    const counted = async (key: string): Promise<boolean> => (await redis.exists(name(key))) === 1;
    const connected = async (perMinute: number): Promise<RateLimits> => {
      const made = limits(perMinute, REDIS);
      for (let n = 0; !(await counted(`probe-${opened.length}`)); n++) {
        if (n > 100) throw new Error('Redis counts nothing');
        await made.take(`probe-${opened.length}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      return made;
    };
    contract(connected, async (key, ms) => {
      expect(await counted(key)).toBe(true);
      await redis.hset(name(key), 'at', Number(await redis.hget(name(key), 'at')) - ms);
    });
  });

  it('counts in PostgreSQL while Redis does not answer', async () => {
    const bucket = limits(2, 'redis://127.0.0.1:1');
    expect(await bucket.take('lost')).toMatchObject({ remaining: 1, waitMs: 0 });
    expect(await bucket.take('lost')).toMatchObject({ remaining: 0, waitMs: 0 });
    expect((await bucket.take('lost'))?.waitMs).toBeGreaterThan(0);
  });

  it('limits nothing where the limit is 0', async () => {
    expect(await limits(0).take('free')).toBeNull();
  });
});
