import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { POSTGRES_PORT, REDIS, REDIS_PORT, uniqueName } from '../../../../test/servers.js';
import { scratchDatabase, type ScratchDatabase } from '../../test/scratch-database.js';
import { listens } from '../../test/test-databases.js';
import { Settings, type ApiConfig } from '../config.js';
import { Database } from '../database/database.js';
import { RateLimits } from './rate-limits.js';

const NAME = uniqueName('limits');

const postgresIsThere = await listens(POSTGRES_PORT);
const redisIsThere = await listens(REDIS_PORT);

describe.skipIf(!postgresIsThere)('rate limits', () => {
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

  /** Creates the rate limits of one API process. */
  const limits = (requestsPerMinute: number, more: Partial<ApiConfig> = {}): RateLimits => {
    const settings = new Settings({ home: '/', requestsPerMinute, queuePrefix: NAME, ...more }, '');
    const made = new RateLimits(database, settings);
    opened.push(made);
    return made;
  };

  const contract = (
    open: (perMinute: number, more?: Partial<ApiConfig>) => Promise<RateLimits>,
    /** Moves the last request of the key this many milliseconds into the past. */
    wait: (key: string, ms: number) => Promise<unknown>,
  ): void => {
    it('allows a burst of one minute of requests, then as many as are refilled', async () => {
      const bucket = await open(6);
      for (let n = 5; n >= 0; n--)
        expect(await bucket.take('a', 'p-a')).toMatchObject({ limit: 6, remaining: n, waitMs: 0 });
      const refused = await bucket.take('a', 'p-a');
      expect(refused).toMatchObject({ limit: 6, remaining: 0 });
      // One token is refilled in ten seconds; this test took less.
      expect(refused?.waitMs).toBeGreaterThan(0);
      expect(refused?.waitMs).toBeLessThanOrEqual(10_000);
      await wait('a', 10_000);
      expect(await bucket.take('a', 'p-a')).toMatchObject({ remaining: 0, waitMs: 0 });
      expect((await bucket.take('a', 'p-a'))?.waitMs).toBeGreaterThan(0);
      // The bucket never holds more than the tokens of one minute.
      await wait('a', 3_600_000);
      expect(await bucket.take('a', 'p-a')).toMatchObject({ remaining: 5, waitMs: 0 });
    });

    it('limits each key across all processes', async () => {
      const processes = [await open(20), await open(20), await open(20)];
      const all = await Promise.all(
        Array.from({ length: 60 }, (_, n) => processes[n % 3]?.take('shared', 'p-shared')),
      );
      const allowed = all.filter((allowance) => allowance?.waitMs === 0).length;
      // One token is refilled every three seconds.
      expect(allowed).toBeGreaterThanOrEqual(20);
      expect(allowed).toBeLessThanOrEqual(25);
      expect((await processes[0]?.take('other', 'p-other'))?.waitMs).toBe(0);
    });

    it('limits all keys of a project together', async () => {
      const bucket = await open(20, { projectRequestsPerMinute: 30 });
      const all = await Promise.all(
        Array.from({ length: 60 }, (_, n) => bucket.take(`crowd-${n % 3}`, 'crowd')),
      );
      const allowed = all.filter((allowance) => allowance?.waitMs === 0).length;
      // One token is refilled every two seconds.
      expect(allowed).toBeGreaterThanOrEqual(30);
      expect(allowed).toBeLessThanOrEqual(40);
      expect(await bucket.take('crowd-3', 'crowd')).toMatchObject({ of: 'project', limit: 30 });
      expect(await bucket.take('alone', 'quiet')).toMatchObject({
        of: 'API key',
        limit: 20,
        remaining: 19,
        waitMs: 0,
      });
    });

    it('does not count rejected requests of a key against its project', async () => {
      const bucket = await open(2, { projectRequestsPerMinute: 4 });
      for (let n = 0; n < 20; n++) await bucket.take('greedy', 'patient');
      expect(await bucket.take('greedy', 'patient')).toMatchObject({ of: 'API key', limit: 2 });
      for (let n = 0; n < 2; n++)
        expect(await bucket.take('modest', 'patient')).toMatchObject({ waitMs: 0 });
    });
  };

  describe('counted in PostgreSQL', () => {
    contract(
      async (perMinute, more) => limits(perMinute, more),
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
    const connected = async (
      perMinute: number,
      more: Partial<ApiConfig> = {},
    ): Promise<RateLimits> => {
      const made = limits(perMinute, { ...more, queueUrl: REDIS });
      for (let n = 0; !(await counted(`probe-${opened.length}`)); n++) {
        if (n > 100) throw new Error('Redis counts nothing');
        await made.take(`probe-${opened.length}`, `p-probe-${opened.length}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      return made;
    };
    contract(connected, async (key, ms) => {
      expect(await counted(key)).toBe(true);
      await redis.hset(name(key), 'at', Number(await redis.hget(name(key), 'at')) - ms);
    });
  });

  it('counts in PostgreSQL while Redis does not respond', async () => {
    const bucket = limits(2, { queueUrl: 'redis://127.0.0.1:1' });
    expect(await bucket.take('lost', 'p-lost')).toMatchObject({ remaining: 1, waitMs: 0 });
    expect(await bucket.take('lost', 'p-lost')).toMatchObject({ remaining: 0, waitMs: 0 });
    expect((await bucket.take('lost', 'p-lost'))?.waitMs).toBeGreaterThan(0);
  });

  it('allows a project four times the limit of a key by default', async () => {
    const limitOf = async (made: RateLimits, id: string): Promise<unknown> =>
      (await made.take(id, `p-${id}`))?.limit;
    const of = (config: Partial<ApiConfig>): number =>
      new Settings({ home: '/', ...config }, '').projectRequestsPerMinute;
    expect([of({}), of({ requestsPerMinute: 0 })]).toEqual([24_000, 0]);
    expect(await limitOf(limits(0, { projectRequestsPerMinute: 7 }), 'only')).toBe(7);
    expect(await limitOf(limits(7, { projectRequestsPerMinute: 0 }), 'own')).toBe(7);
  });

  it('does not limit requests if the limit is 0', async () => {
    expect(await limits(0).take('free', 'p-free')).toBeNull();
  });
});
