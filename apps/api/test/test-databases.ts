// Databases for tests on the run's PostgreSQL. Migrating takes seconds, so it happens once: every database with the schema
// is a copy of a template. The template's name is a hash of the migrations and of the queue's version.
import { spawnSync } from 'node:child_process';
import { createHash, randomInt } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createConnection } from 'node:net';
import pg from 'pg';
import { POSTGRES, POSTGRES_PORT, uniqueName } from '../../../test/servers.js';

export { POSTGRES, POSTGRES_PORT };

/** Returns whether a server listens on a port of this machine. Suites that need it are skipped otherwise. */
export function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host: '127.0.0.1', port });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** Creates a database with the schema and no rows; returns its name. */
export async function migratedDatabase(): Promise<string> {
  const { owner, template } = await session();
  const name = uniqueName(owner);
  await asAdmin(
    // file_copy would force two checkpoints, which wait for everything that other specs wrote.
    `CREATE DATABASE ${name} TEMPLATE ${template} STRATEGY wal_log`,
    // No test stops this server, so no commit has to survive a crash.
    `ALTER DATABASE ${name} SET synchronous_commit = off`,
  );
  return name;
}

/** Creates a database with nothing in it; returns its name. */
export async function emptyDatabase(): Promise<string> {
  const name = uniqueName((await session()).owner);
  await asAdmin(`CREATE DATABASE ${name}`);
  return name;
}

export const dropDatabase = (name: string): Promise<void> =>
  asAdmin(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);

/** First keys of advisory locks on the database `postgres`; the second key is derived from a name. */
const LOCKS = {
  /** Held by a test process while it lives: its databases are in use. */
  test: 7_240_300,
  /** Held in shared mode by processes that copy a template, while they live. */
  template: 7_240_301,
  /** Held while a template is created. */
  making: 7_240_302,
} as const;

const OURS =
  /^graft_(?:(test)_(?:\w+_)?([0-9a-f]{8})_[0-9a-f]{10}|(template)_([0-9a-f]{8})[0-9a-f]{8})$/;

/** Returns the advisory lock that is held while a database is in use, or null if the name is not one of ours. */
export function databaseLock(name: string): [number, number] | null {
  const [kind, digits] = (OURS.exec(name) ?? []).slice(1).filter(Boolean);
  if (kind === undefined || digits === undefined) return null;
  return [LOCKS[kind as 'test' | 'template'], lockNumber(digits)];
}

interface Session {
  /** Eight hexadecimal digits that the names of this process's databases begin with. */
  readonly owner: string;
  readonly template: string;
}

let current: Promise<Session> | null = null;

function session(): Promise<Session> {
  current ??= begin().catch((error: unknown) => {
    current = null;
    throw error;
  });
  return current;
}

/** Opens the connection that holds this process's locks. The server releases them when the process ends. */
async function begin(): Promise<Session> {
  const client = new pg.Client({
    connectionString: `${POSTGRES}/postgres`,
    application_name: 'graft-tests',
  });
  client.on('error', () => undefined);
  await client.connect();
  const owner = randomInt(2 ** 32)
    .toString(16)
    .padStart(8, '0');
  await client.query('SELECT pg_advisory_lock($1, $2)', [LOCKS.test, lockNumber(owner)]);
  const hash = schemaHash();
  const template = `graft_template_${hash}`;
  await client.query('SELECT pg_advisory_lock_shared($1, $2)', [LOCKS.template, lockNumber(hash)]);
  await dropLeftovers(client, template);
  await makeTemplate(client, template, owner);
  // Missing from the types of pg.
  (client as unknown as { unref(): void }).unref();
  return { owner, template };
}

const lockNumber = (name: string): number => parseInt(name.slice(0, 8), 16) | 0;

/** Drops databases of processes that have ended (killed ones leave them) and templates that no process uses. */
export async function dropLeftovers(client: pg.Client, template: string | null): Promise<void> {
  const { rows } = await client.query<{ name: string }>('SELECT datname AS name FROM pg_database');
  for (const { name } of rows) {
    const lock = databaseLock(name);
    if (lock === null || name === template) continue;
    const taken = await client.query<{ free: boolean }>(
      'SELECT pg_try_advisory_lock($1, $2) AS free',
      lock,
    );
    if (!taken.rows[0]?.free) continue;
    await client
      .query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)
      .finally(() => client.query('SELECT pg_advisory_unlock($1, $2)', lock));
  }
}

/** Creates the template unless it exists; other processes wait. It is renamed into place once it is complete. */
async function makeTemplate(client: pg.Client, template: string, owner: string): Promise<void> {
  const exists = async (): Promise<boolean> =>
    (await client.query('SELECT FROM pg_database WHERE datname = $1', [template])).rowCount === 1;
  if (await exists()) return;
  const key = [LOCKS.making, lockNumber(template.replace('graft_template_', ''))];
  await client.query('SELECT pg_advisory_lock($1, $2)', key);
  try {
    if (await exists()) return;
    const name = uniqueName(owner);
    await client.query(`CREATE DATABASE ${name}`);
    await makeSchema(`${POSTGRES}/${name}`);
    await client.query(`ALTER DATABASE ${name} RENAME TO ${template}`);
  } finally {
    await client.query('SELECT pg_advisory_unlock($1, $2)', key);
  }
}

/** Migrates an empty database as an API does at start: the schema and the queue's schema. */
async function makeSchema(url: string): Promise<void> {
  const [{ migrate }, { migrateQueue }] = await Promise.all([
    import('../src/database/migrate.js'),
    import('../src/queue/dispatch-queue.js'),
  ]);
  await migrate(url);
  await migrateQueue(url);
}

function schemaHash(): string {
  const folder = new URL('../src/database/', import.meta.url);
  const migrations = readdirSync(new URL('migrations', folder), { recursive: true })
    .map((name) => `migrations/${name.toString()}`)
    .filter((name) => name.endsWith('.ts'))
    .sort();
  const hash = createHash('sha256');
  for (const file of ['data-source.ts', ...migrations])
    hash.update(`${file}\0`).update(readFileSync(new URL(file, folder)));
  // The queue's migrations come with its package.
  const { resolve } = createRequire(import.meta.url);
  hash.update(readFileSync(resolve('bullmq/package.json')));
  return hash.digest('hex').slice(0, 16);
}

async function asAdmin(...statements: readonly string[]): Promise<void> {
  const client = new pg.Client({ connectionString: `${POSTGRES}/postgres` });
  await client.connect();
  try {
    for (const sql of statements) await client.query(sql);
  } finally {
    await client.end();
  }
}

/** Whether there is a pg_dump here for the server of this run: it must not be older. */
export async function canDump(): Promise<boolean> {
  if (!(await listens(POSTGRES_PORT))) return false;
  const { stdout } = spawnSync('pg_dump', ['--version'], { encoding: 'utf8' });
  const client = new pg.Client({ connectionString: `${POSTGRES}/postgres` });
  await client.connect();
  const { rows } = await client
    .query<{ server_version: string }>('SHOW server_version')
    .finally(() => client.end());
  const major = /\) (\d+)/.exec(stdout ?? '')?.[1] ?? 0;
  return Number(major) >= parseInt(rows[0]?.server_version ?? '', 10);
}
