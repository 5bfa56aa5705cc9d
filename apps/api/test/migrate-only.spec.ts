import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { MigrationInterface, QueryRunner } from 'typeorm';
import { dataSource, MIGRATIONS } from '../src/database/data-source.js';
import { createLargeIndex } from '../src/database/large-index.js';
import { migrate } from '../src/database/migrate.js';
import { whileNoOtherStarts } from '../src/database/start-lock.js';
import { until } from './fixture.js';
import {
  dropDatabase,
  emptyDatabase,
  listens,
  migratedDatabase,
  POSTGRES,
  POSTGRES_PORT,
} from './test-databases.js';

const MAIN = fileURLToPath(new URL('../bundle/main.js', import.meta.url));

function start(databaseUrl: string) {
  const { GRAFT_HOME: _, GRAFT_DATABASE_URL: __, GRAFT_QUEUE_URL: ___, ...env } = process.env;
  const args = [MAIN, '--migrate-only', '--database-url', databaseUrl];
  const child = spawn(process.execPath, args, { env });
  const output = { out: '', err: '' };
  child.stdout.on('data', (chunk: Buffer) => (output.out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (output.err += chunk.toString()));
  return {
    output,
    over: once(child, 'close').then(([code]) => ({ code: code as number, ...output })),
  };
}

const adds = (table: string) => ({
  up: (runner: QueryRunner) => runner.query(`ALTER TABLE "${table}" ADD "later" text`),
  down: (runner: QueryRunner) => runner.query(`ALTER TABLE "${table}" DROP COLUMN "later"`),
});
class First1999000000000 implements MigrationInterface {
  readonly name = 'First1999000000000';
  readonly up = adds('metric').up;
  readonly down = adds('metric').down;
}
class Second1999000000001 implements MigrationInterface {
  readonly name = 'Second1999000000001';
  readonly up = adds('evaluation').up;
  readonly down = adds('evaluation').down;
}

describe.skipIf(!(await listens(POSTGRES_PORT)))('migrations without a start of the API', () => {
  let name: string;
  let clients: pg.Client[];
  const url = () => `${POSTGRES}/${name}`;
  beforeEach(() => (clients = []));
  afterEach(async () => {
    for (const client of clients) await client.end();
    await dropDatabase(name);
  });

  async function connect(): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: url() });
    await client.connect();
    clients.push(client);
    return client;
  }

  it('create the schema once, even if two processes run them at the same time', async () => {
    name = await emptyDatabase();
    const source = await dataSource(url()).initialize();
    try {
      const both = await Promise.all([start(url()).over, start(url()).over]);
      expect(both.map(({ code, err }) => [code, /not migrated/.test(err)])).toEqual([
        [0, false],
        [0, false],
      ]);
      const lines = both.flatMap(({ out }) =>
        out.split('\n').filter((line) => line.endsWith(' s')),
      );
      expect(lines).toHaveLength(source.migrations.length);
      expect(new Set(lines.map((line) => line.split(':')[0])).size).toBe(lines.length);
      expect(await source.showMigrations()).toBe(false);
      const client = await connect();
      const queue = await client.query(`SELECT 1 FROM pg_tables WHERE schemaname = 'bullmq'`);
      expect(queue.rowCount).toBeGreaterThan(0);
      expect(await start(url()).over).toMatchObject({
        code: 0,
        out: 'the database is up to date; migrations applied: 0\n',
      });
    } finally {
      await source.destroy();
    }
  });

  it('wait for a locked table without blocking others, and keep the finished ones', async () => {
    name = await migratedDatabase();
    const holder = await connect();
    const other = await connect();
    const done = async (): Promise<string[]> =>
      (await other.query<{ name: string }>('SELECT name FROM migration ORDER BY id')).rows.map(
        (row) => row.name,
      );
    const before = await done();
    await holder.query('BEGIN; SELECT 1 FROM evaluation');
    const over = migrate(url(), undefined, [
      ...MIGRATIONS,
      First1999000000000,
      Second1999000000001,
    ]);
    await until(async () => (await done()).includes('First1999000000000'));
    await until(async () => {
      const waiting = `SELECT 1 FROM pg_locks WHERE relation = 'evaluation'::regclass AND NOT granted`;
      return (await other.query(waiting)).rowCount === 1;
    });
    // Queued behind the waiting migration until its lock timeout.
    await other.query('SELECT 1 FROM evaluation');
    await holder.query('COMMIT');
    await over;
    expect(await done()).toEqual([...before, 'First1999000000000', 'Second1999000000001']);
  });

  it('reject a database of a build before 0.1.0, and leave it unchanged', async () => {
    name = await emptyDatabase();
    const client = await connect();
    await client.query(
      `CREATE TABLE migration (id serial, "timestamp" bigint, name text);
       INSERT INTO migration ("timestamp", name) VALUES (1764000000000, 'Initial1764000000000')`,
    );
    expect(await start(url()).over).toMatchObject({
      code: 1,
      err: expect.stringMatching(/before 0\.1\.0, .*Start with an empty database/) as string,
    });
    const tables = await client.query(`SELECT 1 FROM pg_tables WHERE schemaname = 'public'`);
    expect(tables.rowCount).toBe(1);
  });

  it('report an error and exit with 1', async () => {
    name = await emptyDatabase();
    const { code, err } = await start(`${POSTGRES}/no_such_database`).over;
    expect([code, err]).toEqual([
      1,
      expect.stringContaining(
        'the database was not migrated: database "no_such_database" does not',
      ),
    ]);
  });

  it('create an index on a large table while another process waits to start', async () => {
    name = await emptyDatabase();
    const client = await connect();
    await client.query('CREATE TABLE large (id int); INSERT INTO large VALUES (1), (1)');
    const source = await dataSource(url()).initialize();
    const runner = source.createQueryRunner();
    const isValid = async (): Promise<unknown> =>
      (
        await client.query(
          `SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('large_id')`,
        )
      ).rows[0];
    let second: Promise<unknown> | null = null;
    try {
      await whileNoOtherStarts(url(), async () => {
        second = whileNoOtherStarts(url(), async () => undefined);
        await until(async () => {
          const starting = `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'graft-start' AND query LIKE '%advisory_lock%'`;
          return (await client.query(starting)).rowCount === 2;
        });
        // As an interrupted CREATE INDEX leaves it.
        const broken = client.query('CREATE UNIQUE INDEX CONCURRENTLY large_id ON large (id)');
        await expect(broken).rejects.toThrow('could not create unique index');
        expect(await isValid()).toEqual({ indisvalid: false });
        await runner.query(`SET lock_timeout = '2s'`);
        for (let n = 0; n < 2; n++) await createLargeIndex(runner, 'large_id', 'ON large (id)');
        expect(await isValid()).toEqual({ indisvalid: true });
        // Later migrations have the same lock timeout as earlier ones.
        expect(await runner.query('SHOW lock_timeout')).toEqual([{ lock_timeout: '2s' }]);
      });
      await second;
    } finally {
      await source.destroy();
    }
  });
});
