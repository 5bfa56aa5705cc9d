import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { uniqueName } from '../../../test/servers.js';
import { until } from './fixture.js';
import {
  databaseLock,
  dropDatabase,
  dropLeftovers,
  listens,
  migratedDatabase,
  POSTGRES,
  POSTGRES_PORT,
} from './test-databases.js';

const HELD = `SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid::int8 = $1 AND objid::int8 = $2::int8 & 4294967295`;
const hex = (bytes: number): string => randomBytes(bytes).toString('hex');

describe.skipIf(!(await listens(POSTGRES_PORT)))('test databases', () => {
  const clients: pg.Client[] = [];
  const connect = async (): Promise<pg.Client> => {
    const client = new pg.Client({ connectionString: `${POSTGRES}/postgres` });
    clients.push(client);
    await client.connect();
    return client;
  };
  let admin: pg.Client;
  beforeEach(async () => {
    admin = await connect();
  });
  afterEach(async () => {
    for (const client of clients.splice(0)) await client.end();
  });
  const exists = async (name: string): Promise<boolean> =>
    (await admin.query('SELECT FROM pg_database WHERE datname = $1', [name])).rowCount === 1;

  it('start with the schema and no rows', async () => {
    const name = await migratedDatabase();
    const client = new pg.Client({ connectionString: `${POSTGRES}/${name}` });
    await client.connect();
    const rows = async (table: string) => (await client.query(`SELECT FROM ${table}`)).rowCount;
    expect(await rows('migration')).toBeGreaterThan(0);
    expect(await rows('installation')).toBe(0);
    await client.end();
    await dropDatabase(name);
    expect(await exists(name)).toBe(false);
  });

  it.each([
    ['test databases', uniqueName(hex(4))],
    ['templates', `graft_template_${hex(8)}`],
  ])('(%s) are dropped after no process holds their lock', async (_, name) => {
    const other = await connect();
    const lock: number[] = databaseLock(name) ?? [];
    await other.query('SELECT pg_advisory_lock_shared($1, $2)', lock);
    await admin.query(`CREATE DATABASE ${name}`);
    await dropLeftovers(admin, null);
    expect(await exists(name)).toBe(true);
    // The lock ends with the process, however it ends.
    await other.end();
    await until(async () => (await admin.query(HELD, lock)).rowCount === 0);
    await dropLeftovers(admin, null);
    expect(await exists(name)).toBe(false);
  });

  it('have certain names; databases with other names are not dropped', async () => {
    const name = `graft_test_${hex(4)}`;
    expect(databaseLock(name)).toBeNull();
    await admin.query(`CREATE DATABASE ${name}`);
    await dropLeftovers(admin, null);
    expect(await exists(name)).toBe(true);
    await dropDatabase(name);
  });
});
