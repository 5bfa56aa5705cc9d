import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { missingSandboxFeatures, startReader } from './reader-sandbox.js';
import { systemCallFilter } from './system-call-filter.js';

const missing = missingSandboxFeatures();
if (missing.length > 0)
  console.warn(`skipped: not available on this system: ${missing.join('; ')}`);

/** Program that prints the result of each attempt: its error code, or "done". */
const ATTEMPTS = `
import { spawnSync } from 'node:child_process';
import { chmodSync, readFileSync, readdirSync, utimesSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { Worker } from 'node:worker_threads';
const [own, secret, folder, port, socket] = process.argv.slice(2);
const outcomes = {};
const attempt = (name, work) => {
  try { work(); outcomes[name] = 'done'; } catch (error) { outcomes[name] = error.code ?? error.message; }
};
const reach = (to) => new Promise((resolve) => {
  try { connect(to).on('connect', () => resolve('done')).on('error', ({ code }) => resolve(code)); }
  catch ({ code }) { resolve(code); }
});
attempt('own file', () => readFileSync(own));
attempt('another file', () => readFileSync(secret));
attempt('its folder', () => readdirSync(folder));
attempt('accounts', () => readFileSync('/etc/passwd'));
attempt('environment of the API', () => readFileSync('/proc/' + process.ppid + '/environ'));
attempt('memory of the API', () => readFileSync('/proc/' + process.ppid + '/maps'));
attempt('command line of the API', () => readFileSync('/proc/' + process.ppid + '/cmdline'));
attempt('mode of a file', () => chmodSync(secret, 0o777));
attempt('times of a file', () => utimesSync(secret, 0, 0));
attempt('its own memory', () => process.memoryUsage.rss());
attempt('a new file', () => writeFileSync(folder + '/new', ''));
attempt('overwriting its own file', () => writeFileSync(own, ''));
attempt('a signal', () => process.kill(process.ppid, 0));
attempt('a program', () => { const { error } = spawnSync('/bin/true'); if (error) throw error; });
outcomes['a port'] = await reach({ port: Number(port), host: '127.0.0.1' });
outcomes['a socket'] = await reach({ path: socket });
outcomes['a thread'] = await new Promise((resolve) =>
  new Worker('require("node:worker_threads").parentPort.postMessage("done")', { eval: true })
    .on('message', resolve).on('error', resolve));
outcomes['environment'] = Object.keys(process.env).sort().join();
process.stdout.write(JSON.stringify(outcomes));
`;

describe.skipIf(missing.length > 0)('a program that reads an untrusted file', () => {
  let dir: string;
  const servers = [createServer(), createServer()] as const;

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'graft-reader-'));
    for (const name of ['own', 'secret']) writeFileSync(join(dir, name), name);
    servers[0].listen(0, '127.0.0.1');
    servers[1].listen(join(dir, 'socket'));
    await Promise.all(servers.map((server) => once(server, 'listening')));
  });
  afterAll(() => {
    for (const server of servers) server.close();
    if (dir) rmSync(dir, { recursive: true, force: true });
  });

  async function run(program: string, ...args: string[]) {
    const script = join(dir, 'program.mjs');
    writeFileSync(script, program);
    const child = startReader({
      script,
      arguments: args,
      readable: [join(dir, 'own')],
      speaks: 'output',
    });
    const [output, said, [code, signal]] = await Promise.all([
      text(child.stdout as Readable),
      text(child.stderr as Readable),
      once(child, 'exit'),
    ]);
    return { output, said, code: code as number | null, signal: signal as string | null };
  }

  it('can read that file, but reaches no other file, network or process', async () => {
    const { port } = servers[0].address() as AddressInfo;
    const paths = [join(dir, 'own'), join(dir, 'secret'), dir, String(port), join(dir, 'socket')];
    const { output, said } = await run(ATTEMPTS, ...paths);
    expect(said).toBe('');
    expect(JSON.parse(output)).toEqual({
      'own file': 'done',
      'another file': 'EACCES',
      'its folder': 'EACCES',
      accounts: 'EACCES',
      'environment of the API': 'EACCES',
      'memory of the API': 'EACCES',
      'command line of the API': 'EACCES',
      'mode of a file': 'EPERM',
      'times of a file': 'EPERM',
      'its own memory': 'done',
      'a new file': 'EACCES',
      'overwriting its own file': 'EACCES',
      'a signal': 'EPERM',
      'a program': 'EPERM',
      'a port': 'EPERM',
      'a socket': 'EPERM',
      'a thread': 'done',
      environment: 'OPENSSL_CONF,PATH',
    });
  });

  it('cannot allocate more than its memory limit, also outside the heap', async () => {
    const greedy = `const kept = []; for (;;) kept.push(Buffer.allocUnsafe(64e6));`;
    const { said, code } = await run(greedy);
    expect(code).toBe(1);
    expect(said).toContain('allocation failed');
  });

  it('ends with the API', async () => {
    const child = `setInterval(() => {}, 1000); process.stdout.write(String(process.pid));`;
    writeFileSync(join(dir, 'endless.mjs'), child);
    const parent = join(dir, 'parent.mjs');
    // Acts as an API that is killed and cannot end the processes that it started.
    writeFileSync(
      parent,
      `import { startReader } from ${JSON.stringify(join(import.meta.dirname, '../../dist/sandbox/reader-sandbox.js'))};
const child = startReader({ script: ${JSON.stringify(join(dir, 'endless.mjs'))}, readable: [], speaks: 'output' });
child.stdout.once('data', (pid) => process.stdout.write(pid, () => process.kill(process.pid, 'SIGKILL')));`,
    );
    const api = spawn(process.execPath, [parent], { stdio: ['ignore', 'pipe', 'inherit'] });
    const pid = Number(await text(api.stdout));
    expect(pid).toBeGreaterThan(0);
    // The process that adopts it may not have reaped it yet.
    const runs = (): boolean => {
      try {
        return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
      } catch {
        return false;
      }
    };
    await expect.poll(runs, { timeout: 10_000 }).toBe(false);
  });
});

const perl = spawnSync('perl', ['-v']).status === 0;
describe.skipIf(missing.length > 0 || !perl || process.arch !== 'x64')('system calls that', () => {
  /** Result of a system call with this number in a program behind the filter. */
  function call(number: number, ...values: (number | 'parent')[]): string {
    const dir = mkdtempSync(join(tmpdir(), 'graft-filter-'));
    try {
      const path = join(dir, 'filter');
      writeFileSync(path, systemCallFilter('x64') as Buffer);
      const words = [number, ...values].map((value) => (value === 'parent' ? 'getppid()' : value));
      const program = `my $r = syscall(${words.join(', ')}); print $r < 0 ? $!+0 : "done"`;
      const args = ['--no-new-privs', '--seccomp-filter', path, 'perl', '-e', program];
      return spawnSync('setpriv', args, { encoding: 'utf8' }).stdout;
    } finally {
      rmSync(dir, { recursive: true });
    }
  }
  const EPERM = '1';

  it.each([
    ['send a signal when a file changes', call.bind(null, 72), [0, 8, 'parent']],
    ['choose that signal', call.bind(null, 72), [0, 10, 9]],
    ['share memory with a child', call.bind(null, 9), [0, 4096, 3, 0x21, -1, 0]],
    ['share memory by a key', call.bind(null, 29), [0, 4096, 0o1600]],
    ['make a file in memory', call.bind(null, 319), [0, 0]],
    ['change limits of another process', call.bind(null, 302), ['parent', 7, 0, 0]],
    ['make a socket', call.bind(null, 41), [1, 1, 0]],
  ] as const)('%s are rejected', (_, attempt, values) => {
    expect(attempt(...values)).toBe(EPERM);
  });

  it.each([
    ['take memory', call.bind(null, 9), [0, 4096, 3, 0x22, -1, 0]],
    ['read flags of a file', call.bind(null, 72), [0, 3, 0]],
    ['ask for limits of their own process', call.bind(null, 302), [0, 7, 0, 0]],
  ] as const)('%s are allowed', (_, attempt, values) => {
    expect(attempt(...values)).toBe('done');
  });
});

it('has no filter for a processor whose system calls are unknown', () => {
  expect(systemCallFilter('x64')).not.toBeNull();
  expect(systemCallFilter('riscv64')).toBeNull();
});
