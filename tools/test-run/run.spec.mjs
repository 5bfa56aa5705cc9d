// A killed test run leaves nothing behind, and does not affect anything else.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { processesOf } from './leftovers.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PORT = process.env['GRAFT_TEST_POSTGRES_PORT'] ?? '5432';
const { Client } = createRequire(join(ROOT, 'apps/api/package.json'))('pg');

/** Spec that starts everything that specs start, writes where, and never ends. */
const SPEC = `
  import { execFileSync, spawn } from 'node:child_process';
  import { mkdirSync, writeFileSync } from 'node:fs';
  import { createRequire } from 'node:module';
  import { tmpdir } from 'node:os';
  import { join } from 'node:path';
  import { it } from 'vitest';
  import { startEmbeddedPostgres } from '${join(ROOT, 'apps/api/dist/database/embedded-postgres.js')}';

  const { Client } = createRequire('${join(ROOT, 'apps/api/package.json')}')('pg');
  const { GRAFT_TEST_RUN: id, TMPDIR } = process.env;
  const sleeper = [process.execPath, ['-e', 'setInterval(() => undefined, 1000)']];

  it('starts everything', async () => {
    await startEmbeddedPostgres(join(tmpdir(), 'api'));
    const children = [
      spawn(...sleeper, { stdio: 'ignore' }),
      spawn(...sleeper, { stdio: 'ignore', detached: true, env: { TMPDIR } }),
    ];
    const left = [];
    const start = (what, work) => {
      try {
        work();
        left.push(what);
      } catch {
        // The machine does not have the program, or does not allow mounts.
      }
    };
    start('redis', () => {
      execFileSync('redis-server', ['--version'], { stdio: 'ignore' });
      const flags = ['--port', '0', '--unixsocket', join(tmpdir(), 'redis.sock'), '--dir', tmpdir()];
      children.push(spawn('redis-server', flags, { stdio: 'ignore' }));
    });
    const disk = join(tmpdir(), 'disk');
    mkdirSync(disk);
    start('disk', () => execFileSync('mount', ['-t', 'tmpfs', 'graft-test', disk], { stdio: 'ignore' }));
    const client = new Client('postgres://postgres@127.0.0.1:${PORT}/postgres');
    const connected = await client.connect().then(() => true, () => false);
    if (connected) {
      await client.query('CREATE DATABASE graft_test_' + id + '_left');
      left.push('database');
    }
    const pids = children.map(({ pid }) => pid);
    writeFileSync(process.env.SAYS, JSON.stringify({ id, dir: TMPDIR, pids, left }));
    await new Promise(() => undefined);
  }, 120_000);
`;

let folder;
let vitest;
const bystanders = [];
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'graft-killed-run-'));
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
  const setup = join(ROOT, 'tools/test-run/global-setup.mjs');
  writeFileSync(
    join(folder, 'vitest.config.mjs'),
    `export default { test: { pool: 'forks', globalSetup: '${setup}' } };`,
  );
  writeFileSync(join(folder, 'everything.spec.mjs'), SPEC);
});
afterAll(async () => {
  vitest?.kill('SIGKILL');
  await until(
    'the reaper to exit',
    () => commandsWith(`reaper.mjs\0`, `\0${tmpdir()}/`).length === 0,
  );
  for (const child of bystanders) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

async function until(what, holds, ms = 100_000) {
  const end = performance.now() + ms;
  for (;;) {
    const seen = await holds();
    if (seen === true) return;
    if (performance.now() > end) throw new Error(`timed out waiting for ${what}: ${seen}`);
    await sleep(100);
  }
}

const commandsWith = (...texts) =>
  readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid))
    .filter((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
        return texts.every((text) => command.includes(text));
      } catch {
        return false;
      }
    });

/** Whether a process is running. A zombie is not. */
function runs(pid) {
  try {
    return !/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

async function databases(id) {
  const client = new Client({
    connectionString: `postgres://postgres@127.0.0.1:${PORT}/postgres`,
  });
  await client.connect();
  const { rows } = await client.query(
    'SELECT datname FROM pg_database WHERE starts_with(datname, $1)',
    [`graft_test_${id}_`],
  );
  await client.end();
  return rows.map(({ datname }) => datname);
}

it.skipIf(!existsSync('/proc/self/environ'))(
  'a run that is killed with kill -9 leaves no process, directory, mount or database',
  async () => {
    const says = join(folder, 'says.json');
    const { GRAFT_TEST_RUN: _, ...env } = process.env;
    for (const name of Object.keys(env)) if (name.startsWith('VITEST')) delete env[name];
    vitest = spawn(
      process.execPath,
      [join(ROOT, 'node_modules/vitest/vitest.mjs'), 'run', '--root', folder],
      { env: { ...env, SAYS: says, GRAFT_LOG_LEVEL: 'error' }, stdio: 'ignore' },
    );
    await until('the run to start everything', () => existsSync(says));
    const run = JSON.parse(readFileSync(says, 'utf8'));
    const { id, dir, left } = run;
    const before = processesOf(run).map(({ pid }) => pid);
    expect(before).toEqual(expect.arrayContaining(run.pids));
    if (left.includes('database')) expect(await databases(id)).toEqual([`graft_test_${id}_left`]);
    if (left.includes('disk'))
      expect(readFileSync('/proc/mounts', 'utf8')).toContain(join(dir, 'disk'));
    // Another run whose id begins with this one's id, and a process of a user in its directory.
    const sleeper = ['-e', 'setInterval(() => undefined, 1000)'];
    const other = { ...env, GRAFT_TEST_RUN: `${id}0`, TMPDIR: `${dir}0` };
    bystanders.push(
      spawn(process.execPath, sleeper, { env: other, stdio: 'ignore' }),
      spawn(process.execPath, [...sleeper, dir], { cwd: dir, env, stdio: 'ignore' }),
    );
    vitest.kill('SIGKILL');
    await once(vitest, 'exit');
    await until('its processes to end', () => {
      const found = [
        ...processesOf(run).map(({ command }) => command),
        ...commandsWith(`reaper.mjs\0${id}`),
      ];
      return found.length === 0 || found.join();
    });
    expect(before.filter(runs)).toEqual([]);
    expect(existsSync(dir)).toBe(false);
    expect(readFileSync('/proc/mounts', 'utf8')).not.toContain(dir);
    if (left.includes('database')) expect(await databases(id)).toEqual([]);
    for (const { exitCode, signalCode } of bystanders)
      expect([exitCode, signalCode]).toEqual([null, null]);
  },
  180_000,
);
