import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DataSource } from 'typeorm';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { FaultyProxy } from '../../../../test/chaos/battery/faulty-proxy.js';
import { REDIS, REDIS_PORT } from '../../../../test/servers.js';
import { listens } from '../../test/fixture.js';
import { Settings } from '../config.js';
import { dataSource } from '../database/data-source.js';
import { Database } from '../database/database.js';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../database/embedded-postgres.js';
import { messages, WakeUps, type Topic } from './wake-ups.js';

const redisIsThere = await listens(REDIS_PORT);

let server: EmbeddedPostgres;
let source: DataSource;
let database: Database;
const home = mkdtempSync(join(tmpdir(), `graft-wake-${randomBytes(3).toString('hex')}-`));
beforeAll(async () => {
  chmodSync(home, 0o755);
  server = await startEmbeddedPostgres(home);
  source = await dataSource(server.url).initialize();
  database = new Database(source);
});
afterAll(async () => {
  await source?.destroy();
  await server?.stop();
  rmSync(home, { recursive: true, force: true });
});

async function until(holds: () => boolean): Promise<void> {
  for (const end = Date.now() + 10_000; !holds();) {
    if (Date.now() > end) throw new Error(`not in time: ${holds.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

describe.each([
  ['PostgreSQL', {}],
  ...(redisIsThere ? [['Redis', { queueUrl: REDIS, queuePrefix: home }] as const] : []),
] as const)('wake-ups over %s', (_name, config) => {
  const opened: WakeUps[] = [];
  const open = async (): Promise<WakeUps> => {
    const wakeUps = new WakeUps(database, new Settings({ home, ...config }, server.url));
    await wakeUps.start();
    opened.push(wakeUps);
    return wakeUps;
  };
  afterEach(async () => {
    for (const wakeUps of opened.splice(0)) await wakeUps.onModuleDestroy();
  });
  const counted = (wakeUps: WakeUps, topic: Topic): { times: number } => {
    const count = { times: 0 };
    wakeUps.watch(topic, () => count.times++);
    return count;
  };

  it('arrive in all processes after a commit, and never after a rollback', async () => {
    const [here, there] = [await open(), await open()];
    const done = [counted(here, 'job:done'), counted(there, 'job:done')];
    const lost = [counted(here, 'job:lost'), counted(there, 'job:lost')];
    await database.transaction(async () => {
      here.announce('job:done');
      await new Promise((resolve) => setTimeout(resolve, 200));
      expect(done.map(({ times }) => times)).toEqual([0, 0]);
    });
    await database
      .transaction(async () => {
        here.announce('job:lost');
        throw new Error('rolled back');
      })
      .catch(() => undefined);
    await until(() => done.every(({ times }) => times === 1));
    // Messages arrive in order, so the earlier ones have arrived when this one does.
    const last = counted(there, 'worker:last');
    here.announce('worker:last');
    await until(() => last.times === 1);
    expect(done.map(({ times }) => times)).toEqual([1, 1]);
    expect(lost.map(({ times }) => times)).toEqual([0, 0]);
  });

  it('combine many changes of one job into one for other processes', async () => {
    const [here, there] = [await open(), await open()];
    const [near, far, last] = [
      counted(here, 'job:busy'),
      counted(there, 'job:busy'),
      counted(there, 'pool:last'),
    ];
    for (let n = 0; n < 500; n++) here.announce('job:busy');
    here.announce('pool:last');
    await until(() => last.times === 1);
    expect([near.times, far.times]).toEqual([500, 1]);
  });

  it('split many topics into several messages', async () => {
    const [here, there] = [await open(), await open()];
    const topics = Array.from({ length: 2_000 }, (_, n): Topic => `job:ftjob-${n}`);
    const counts = topics.map((topic) => counted(there, topic));
    here.announce(...topics);
    await until(() => counts.every(({ times }) => times === 1));
  });

  it('that are pending at shutdown are still sent', async () => {
    const [here, there] = [await open(), await open()];
    const last = counted(there, 'job:last');
    here.announce('job:first');
    here.announce('job:last');
    await opened.splice(0, 1)[0]?.onModuleDestroy();
    await until(() => last.times === 1);
  });
});

it('reopens a lost LISTEN connection and wakes all watchers', async () => {
  const [here, there] = [0, 1].map(
    () => new WakeUps(database, new Settings({ home }, server.url)),
  ) as [WakeUps, WakeUps];
  await Promise.all([here.start(), there.start()]);
  let looked = 0;
  there.watch('job:missed', () => looked++);
  await database.query(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'graft-wake'`,
  );
  await until(() => !here.alive && !there.alive);
  here.announce('job:missed');
  await until(() => looked > 0 && here.alive);
  await Promise.all([here.onModuleDestroy(), there.onModuleDestroy()]);
});

describe.skipIf(!redisIsThere)('wake-ups over an interrupted Redis connection', () => {
  let proxy: FaultyProxy;
  let here: WakeUps;
  let there: WakeUps;
  beforeEach(async () => {
    proxy = await FaultyProxy.to(REDIS_PORT);
    const queueUrl = `redis://127.0.0.1:${proxy.port}`;
    const open = () => new WakeUps(database, new Settings({ home, queueUrl }, server.url));
    [here, there] = [open(), open()];
    await Promise.all([here.start(), there.start()]);
  });
  afterEach(async () => {
    await Promise.all([here.onModuleDestroy(), there.onModuleDestroy()]);
    proxy.close();
  });

  it('arrive again after it reconnects', async () => {
    let received = 0;
    there.watch('job:again', () => received++);
    proxy.reset();
    await until(() => !here.alive && !there.alive);
    await until(() => here.alive && there.alive);
    const before = received;
    here.announce('job:again');
    await until(() => received > before);
  });

  // An unhandled rejection ends the process and fails this run.
  it('shut down without an error while reconnecting', async () => {
    // Slow enough that shutdown happens while the response to INFO, the last command of ioredis's handshake,
    // is on its way.
    proxy.become({ latencyMs: 200 });
    proxy.reset();
    await until(() => !here.alive && !there.alive);
    await until(() => proxy.connections === 4);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    await Promise.all([here.onModuleDestroy(), there.onModuleDestroy()]);
    await until(() => proxy.connections === 0);
  });
});

it('packs topics into few messages, each below the limit of NOTIFY', () => {
  const topics = Array.from(
    { length: 1_000 },
    (_, n) => `job:ftjob-${String(n).padStart(24, '0')}`,
  );
  const made = messages('api-1', topics);
  expect(made.length).toBe(5);
  for (const message of made) expect(Buffer.byteLength(message)).toBeLessThan(8_000);
  expect(made.flatMap((message) => message.split(' ').slice(1))).toEqual(topics);
  expect(messages('api-1', [])).toEqual([]);
});
