// Finds and removes the processes, databases, keys and files of one test run.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const requireOfApi = createRequire(
  fileURLToPath(new URL('../../apps/api/package.json', import.meta.url)),
);
const { GRAFT_TEST_POSTGRES_PORT = '5432', GRAFT_TEST_REDIS_PORT = '6379' } = process.env;

/**
 * Ends all processes of a run.
 * @param {{ id: string, dir: string }} run
 * @returns {Promise<string[]>} their command lines
 */
export async function endProcesses(run, limitMs = 10_000) {
  const ended = new Map();
  const began = performance.now();
  // A process may fork while we look, so one look that finds nothing is not enough.
  for (let empty = 0; empty < 2 && performance.now() - began < limitMs;) {
    const found = processesOf(run);
    empty = found.length === 0 ? empty + 1 : 0;
    const isLate = performance.now() - began > limitMs / 2;
    for (const { pid, name, command } of found) {
      ended.set(pid, command);
      // SIGKILL would leave PostgreSQL's System V shared memory behind.
      kill(pid, name === 'postgres' && !isLate ? 'SIGQUIT' : 'SIGKILL');
    }
    await sleep(50);
  }
  return [...ended.values()];
}

/** Processes of a run. Empty if the system has no /proc. */
export function processesOf(run) {
  return attempt(() => readdirSync('/proc'), [])
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((pid) => pid !== process.pid && belongs(pid, run))
    .map((pid) => ({ pid, name: read(`/proc/${pid}/comm`).trim(), command: commandOf(pid) }));
}

/**
 * Whether a process belongs to the run: its environment has the run's id or temporary directory (a worker passes only a few
 * variables to its trainers), or the directory is its working directory (Redis overwrites its environment).
 */
function belongs(pid, { id, dir }) {
  const variables = read(`/proc/${pid}/environ`).split('\0');
  if (variables.some((variable) => variable.includes('=')))
    return variables.some(
      (variable) => variable === `GRAFT_TEST_RUN=${id}` || isWithin(variable, `TMPDIR=${dir}`),
    );
  return isWithin(
    attempt(() => readlinkSync(`/proc/${pid}/cwd`), ''),
    dir,
  );
}

const isWithin = (path, folder) => path === folder || path.startsWith(`${folder}/`);

const commandOf = (pid) =>
  read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim().slice(0, 200) || `process ${pid}`;

const kill = (pid, signal) => attempt(() => process.kill(pid, signal), false);

/** Prefix of a run's databases in PostgreSQL and of its keys in Redis. */
export const prefixOf = (id) => `graft_test_${id}_`;

/** Drops the databases of a run. Does nothing if PostgreSQL is not running. */
export async function dropDatabases(id) {
  const { Client } = requireOfApi('pg');
  const client = new Client({
    connectionString: `postgres://postgres@127.0.0.1:${GRAFT_TEST_POSTGRES_PORT}/postgres`,
    connectionTimeoutMillis: 5000,
  });
  client.on('error', () => undefined);
  try {
    await client.connect();
  } catch {
    return;
  }
  const { rows } = await client.query(
    'SELECT quote_ident(datname) AS name FROM pg_database WHERE starts_with(datname, $1)',
    [prefixOf(id)],
  );
  for (const { name } of rows) {
    await client.query(`ALTER DATABASE ${name} IS_TEMPLATE false`);
    await client.query(`DROP DATABASE ${name} WITH (FORCE)`);
  }
  await client.end();
}

/** Removes the keys of a run. Does nothing if Redis is not running. */
export async function removeKeys(id) {
  const { Redis } = requireOfApi('ioredis');
  const redis = new Redis(`redis://127.0.0.1:${GRAFT_TEST_REDIS_PORT}`, {
    lazyConnect: true,
    retryStrategy: () => null,
  });
  redis.on('error', () => undefined);
  try {
    await redis.connect();
  } catch {
    return;
  }
  for await (const keys of redis.scanStream({ match: `${prefixOf(id)}*`, count: 1000 }))
    if (keys.length > 0) await redis.unlink(keys);
  redis.disconnect();
}

/** Unmounts everything below a directory and removes it. */
export function removeDirectory(dir) {
  const mounted = read('/proc/self/mounts')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((path) => isWithin(path, dir));
  for (const path of mounted.reverse())
    attempt(() => execFileSync('umount', ['-l', path], { stdio: 'ignore' }));
  rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
}

const read = (file) => attempt(() => readFileSync(file, 'utf8'), '');

function attempt(work, otherwise) {
  try {
    return work();
  } catch {
    return otherwise;
  }
}
