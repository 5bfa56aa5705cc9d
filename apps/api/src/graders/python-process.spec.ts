// Tests the confinement of graders with code that tries to escape. Requires Linux, root, util-linux and
// /usr/bin/python3.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { confinementOf, isTransient, LIMITS, runPython, type Limits } from './python-process.js';

const PYTHON = '/usr/bin/python3';
const can = (): boolean => {
  try {
    execFileSync('unshare', ['--net', '--pid', '--fork', 'setpriv', '--no-new-privs', 'true']);
    return process.getuid?.() === 0 && existsSync(PYTHON);
  } catch {
    return false;
  }
};

const never = new AbortController().signal;
async function run(script: string, more: Partial<Limits> = {}, stop = never) {
  const confinement = await confinementOf(PYTHON, 'nobody', [], { ...LIMITS, ...more });
  return runPython(confinement, script, '', stop);
}

it.skipIf(process.getuid?.() !== 0)(
  'rejects a missing or unknown user, root, and "self" if the API runs as root',
  async () => {
    for (const [user, message] of [
      [null, 'GRAFT_PYTHON_USER is not set'],
      ['root', 'a user other than root'],
      ['no-such-user', 'user "no-such-user" does not exist'],
      ['self', 'not allowed for an API that runs as root'],
    ] as const)
      await expect(confinementOf(PYTHON, user, [])).rejects.toThrow(message);
  },
);

it.each([
  ['unshare: unshare failed: No space left on device', false],
  ['unshare: unshare failed: Invalid argument', false],
  ['unshare: unshare failed: Function not implemented', false],
  ['unshare: unshare failed: Permission denied', false],
  ['unshare: unshare failed: Operation not permitted', false],
  ["unshare: unrecognized option '--map-current-user'", false],
  ['setpriv: failed to execute sh: No such file or directory', false],
  ['spawn unshare ENOENT', false],
  ['spawn setpriv EACCES', false],
  ['it ended with 1', false],
  ['the interpreter printed nothing', false],
  ['unshare: fork failed: Cannot allocate memory', true],
  ['unshare: fork failed: Resource temporarily unavailable', true],
  ['python: cannot allocate memory', true],
  ['sh: 1: Cannot fork', true],
  ['MemoryError', true],
  ['spawn ENOMEM', true],
  ['spawn id EAGAIN', true],
  ['spawn unshare EMFILE', true],
  ['sh: error while loading shared libraries: libc.so.6: Too many open files', true],
  ['Killed', true],
  ['it used more than 20 s of CPU time or was killed', true],
  ['it ended with SIGTERM', true],
  ['it took longer than 30 s', true],
  ['mount: /tmp: Connection timed out', true],
])('whether the failure "%s" is transient: %s', (said, expected) => {
  expect(isTransient(said)).toBe(expected);
});

describe.skipIf(!can())('Python code', () => {
  it('runs as another user, without groups, capabilities, environment or a way to regain privileges', async () => {
    process.env['GRAFT_SECRET_OF_THE_API'] = 'secret';
    const { stdout } = await run(
      'import os, json; print(json.dumps([os.getuid(), os.getgroups(), dict(os.environ), [l for l in open("/proc/self/status") if l.startswith(("NoNewPrivs", "CapBnd", "CapEff"))]]))',
    );
    delete process.env['GRAFT_SECRET_OF_THE_API'];
    const [uid, groups, environment, status] = JSON.parse(stdout) as [
      number,
      number[],
      Record<string, string>,
      string[],
    ];
    expect(uid).toBe(65534);
    expect(groups).toEqual([]);
    expect(
      Object.keys(environment).filter((name) => !/^(PATH|LANG|LC_\w+|PWD|SHLVL|_)$/.test(name)),
    ).toEqual([]);
    expect(status.map((line) => line.trim().split(/\s+/))).toEqual([
      ['CapEff:', '0000000000000000'],
      ['CapBnd:', '0000000000000000'],
      ['NoNewPrivs:', '1'],
    ]);
  });

  it('reaches no server on this machine and no other process', async () => {
    let reached = 0;
    const server = createServer((_, response) => {
      reached++;
      response.end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const { stdout, stderr } = await run(
      `import urllib.request\ntry:\n  urllib.request.urlopen('http://127.0.0.1:${port}', timeout=2)\nexcept OSError as e:\n  print(e)\nimport os\ntry:\n  os.kill(${process.pid}, 0)\nexcept OSError as e:\n  print(e)`,
    );
    await new Promise((resolve) => server.close(resolve));
    expect(reached).toBe(0);
    expect(stdout, stderr).toMatch(/Network is unreachable.*\n.*No such process/);
  });

  it('sees no hidden folders, no world-writable folders and no other processes', async () => {
    const folders = [join(tmpdir(), 'graft-open-'), '/var/graft-open-'].map((path) =>
      mkdtempSync(path),
    );
    const files = folders.map((folder) => join(folder, 'of-another-project'));
    try {
      for (const folder of folders) chmodSync(folder, 0o755);
      for (const file of files) writeFileSync(file, 'secret', { mode: 0o644 });
      const script = `import os, json\nprint(json.dumps([[os.path.exists(f) for f in ${JSON.stringify(files)}], sorted(int(p) for p in os.listdir('/proc') if p.isdigit())]))`;
      const confinement = await confinementOf(PYTHON, 'nobody', folders);
      const { stdout, stderr } = await runPython(confinement, script, '', never);
      expect(stdout, stderr).not.toBe('');
      expect(JSON.parse(stdout)).toEqual([
        [false, false],
        [1, expect.any(Number)],
      ]);
    } finally {
      for (const folder of folders) rmSync(folder, { recursive: true });
    }
  });

  it('cannot write files or read those of root', async () => {
    const { stdout } = await run(
      `import os\nfor path, mode in (('/tmp/of-a-grader', 'w'), ('/etc/shadow', 'r')):\n  try:\n    with open(path, mode) as f:\n      f.write('x' * 10) if mode == 'w' else f.read()\n    print('done')\n  except (OSError, PermissionError) as e:\n    print(type(e).__name__)`,
    );
    expect(stdout).toBe('OSError\nPermissionError\n');
    expect(existsSync('/tmp/of-a-grader')).toBe(false);
  });

  it('is stopped at its limits of CPU time, memory, output and time', async () => {
    expect((await run('while True: pass', { cpuSeconds: 1 })).ended).toContain(
      'more than 1 s of CPU time',
    );
    expect((await run('x = bytearray(2 * 1024 ** 3)')).stderr).toContain('MemoryError');
    expect((await run('while True: print("x" * 1000)')).ended).toContain(
      'wrote more than 65536 bytes',
    );
    expect((await run('import time; time.sleep(60)', { wallSeconds: 1 })).ended).toContain(
      'longer than 1 s',
    );
  }, 60_000);

  const children = (count: number, work: string): string =>
    `import os, time\nfor _ in range(${count}):\n  if os.fork() == 0:\n    ${work}\n    os._exit(0)\ntime.sleep(20)`;

  it('has one limit of memory and of CPU time for all its processes', async () => {
    const greedy = children(6, 'x = bytearray(60 * 2 ** 20); time.sleep(20)');
    expect((await run(greedy, { memoryBytes: 256 * 2 ** 20 })).ended).toBe(
      'its processes used more than 256 MiB of memory',
    );
    const busy = children(4, 'while True: pass');
    expect((await run(busy, { cpuSeconds: 2 })).ended).toBe(
      'its processes used more than 2 s of CPU time',
    );
  }, 60_000);

  it('runs while another run has its maximum number of processes', async () => {
    const stop = new AbortController();
    const begun = `import os, time\ntry:\n  while True:\n    if os.fork() == 0: time.sleep(30)\nexcept OSError: pass\nopen('/proc/self/comm', 'w').write('all-there')\ntime.sleep(30)`;
    const other = run(begun, {}, stop.signal);
    const isThere = (): boolean =>
      readdirSync('/proc').some((pid) => {
        try {
          return readFileSync(`/proc/${pid}/comm`, 'utf8') === 'all-there\n';
        } catch {
          return false; // no process, or it has ended
        }
      });
    await expect.poll(isThere, { timeout: 10_000 }).toBe(true);
    const { stdout, stderr } = await run('print("ran")');
    stop.abort();
    await other;
    expect(stdout, stderr).toBe('ran\n');
  });

  it('is not started if no file descriptors are left, and reports that', async () => {
    const confinement = await confinementOf(PYTHON, 'nobody', []);
    const self = ['--pid', String(process.pid)];
    const soft = execFileSync('prlimit', [...self, '--nofile', '--output=SOFT', '--noheadings']);
    // Started before the limit is set; waits for a line.
    const restore = spawn('sh', ['-c', `read go; prlimit ${self.join(' ')} --nofile=${soft}`.trim() + ':']); // prettier-ignore
    execFileSync('prlimit', [...self, '--nofile=3:']);
    const run = runPython(confinement, 'print(1)', '', never);
    restore.stdin.end('go\n');
    await once(restore, 'exit');
    expect(await run).toEqual({ stdout: '', stderr: '', ended: expect.stringContaining('EMFILE') });
    expect((await runPython(confinement, 'print(1)', '', never)).stdout).toBe('1\n');
  });

  it('leaves no processes behind', async () => {
    const mark = `7${process.hrtime.bigint() % 1_000_000n}`;
    const script = `import os, time\nfor _ in range(5):\n  if os.fork() == 0:\n    os.setsid()\n    time.sleep(${mark})\ntime.sleep(${mark})`;
    const stop = new AbortController();
    const running = run(script, {}, stop.signal);
    const left = (): number =>
      readdirSync('/proc').filter((pid) => {
        try {
          return (
            /^\d+$/.test(pid) &&
            readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`sleep(${mark})`)
          );
        } catch {
          return false; // it has ended
        }
      }).length;
    await expect.poll(left, { timeout: 10_000 }).toBeGreaterThanOrEqual(6);
    stop.abort();
    expect((await running).ended).toContain('the request was canceled');
    await expect.poll(left, { timeout: 10_000 }).toBe(0);
  });
});
