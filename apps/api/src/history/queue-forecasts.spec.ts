import { afterAll, beforeAll, expect, it } from 'vitest';
import { insertJobs, scratchDatabase, type ScratchDatabase } from '../../test/scratch-database.js';
import { until } from '../../test/fixture.js';
import type { Settings } from '../config.js';
import { Database } from '../database/database.js';
import type { Job } from '../database/entities/job.js';
import { QueueForecasts } from './queue-forecasts.js';
import { Speeds } from './speeds.js';

/** A database that counts its queries. */
class Counted extends Database {
  asked = 0;
  override query<Row>(...call: Parameters<Database['query']>): Promise<Row[]> {
    this.asked++;
    return super.query<Row>(...call);
  }
}

let scratch: ScratchDatabase;
beforeAll(async () => {
  scratch = await scratchDatabase();
});
afterAll(() => scratch?.close());

it('caches the forecasts of the 500 pools that were computed last', async () => {
  const database = new Database(scratch.source);
  const forecasts = new QueueForecasts(
    database,
    { leaseMs: 15_000 } as Settings,
    new Speeds(database),
  );
  const imagined = { project: 'one', priority: 100, base: 'base', tokens: 10 };
  for (let n = 0; n < 510; n++) await forecasts.forHypothetical(`named-${n}`, imagined);
  const kept = [...(Reflect.get(forecasts, 'pools') as Map<string, unknown>).keys()];
  expect([kept.length, kept[0], kept.at(-1)]).toEqual([500, 'named-10', 'named-509']);
});

it('computes the forecast of a pool once for concurrent requests, and again for a new job', async () => {
  const database = new Counted(scratch.source);
  const forecasts = new QueueForecasts(
    database,
    { leaseMs: 15_000 } as Settings,
    new Speeds(database),
  );
  const ask = <Row>(sql: string, values: unknown[] = []): Promise<Row[]> =>
    scratch.source.query(sql, values) as Promise<Row[]>;
  await ask(`INSERT INTO project (id, name) VALUES ('one', 'one')`);
  const jobs = (ids: readonly string[]) =>
    ids.map((id) => ({ id, pool: 'pool', state: 'queued', desired_state: 'run' }) as Job);
  const five = ['a', 'b', 'c', 'd', 'e'];
  await insertJobs(
    ask,
    five.map((id, created) => ({ id, project: 'one', created })),
  );
  const all = await Promise.all(
    Array.from({ length: 50 }, (_, n) => forecasts.of(jobs(n % 2 ? five : five.slice(0, 2)))),
  );
  expect(database.asked).toBeLessThanOrEqual(6);
  expect([...(all[1]?.entries() ?? [])]).toEqual(
    five.map((id, n) => [id, { position: n + 1, length: 5, start: null }]),
  );
  await insertJobs(ask, [{ id: 'f', project: 'one', created: 9 }]);
  const end = Date.now() + 10_000;
  for (;;) {
    const place = (await forecasts.of(jobs(['f']))).get('f');
    if (place) {
      expect(place).toEqual({ position: 6, length: 6, start: null });
      break;
    }
    expect(Date.now()).toBeLessThan(end);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  expect(database.asked).toBeLessThanOrEqual(12);
  await ask(`INSERT INTO project (id, name) VALUES ('two', 'two')`);
  const positionOf = async (project: string, priority: number) =>
    (await forecasts.forHypothetical('pool', { project, priority, base: 'base', tokens: 10 }))
      ?.position;
  expect(await positionOf('one', 100)).toBe(7);
  expect(await positionOf('one', 99)).toBe(1);
  // No project runs a job: after one job of the first project it is the second one's turn.
  expect(await positionOf('two', 100)).toBe(2);
  expect(await ask('SELECT count(*)::int AS n FROM job')).toEqual([{ n: 6 }]);
});

it('returns no position on creation in a long queue, and the position on a later request', async () => {
  const database = new Database(scratch.source);
  const forecasts = new QueueForecasts(
    database,
    { leaseMs: 15_000 } as Settings,
    new Speeds(database),
  );
  const ask = <Row>(sql: string, values: unknown[] = []): Promise<Row[]> =>
    scratch.source.query(sql, values) as Promise<Row[]>;
  await ask(`INSERT INTO project (id, name) VALUES ('full', 'full')`);
  const waiting = (id: string) =>
    ({ id, pool: 'full', state: 'queued', desired_state: 'run' }) as Job;
  const insert = (ids: readonly string[]) =>
    insertJobs(
      ask,
      ids.map((id) => ({ id, project: 'full', pool: 'full' })),
    );
  await insert(['first']);
  expect(await forecasts.forCreated(waiting('first'))).toMatchObject({ position: 1, length: 1 });
  await insert(Array.from({ length: 1_001 }, (_, n) => `more-${n}`));
  const placed = (id: string) =>
    until(async () => (await forecasts.of([waiting(id)])).has(id), 30_000);
  await placed('more-7');
  await insert(['last']);
  expect(await forecasts.forCreated(waiting('last'))).toBeNull();
  await placed('last');
});
