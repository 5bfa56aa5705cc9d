import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { checkReach, openSandbox, type Sandbox } from './sandbox.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'graft-sandbox-'));
});
afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

const isRoot = process.getuid?.() === 0;

/** Returns the output of a script that runs in the sandbox. */
async function inside({ prefix }: Pick<Sandbox, 'prefix'>, script: string): Promise<string> {
  const [program = '', ...args] = [...prefix, process.execPath, '-e', script];
  const child = spawn(program, args, { cwd: '/', stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
  await once(child, 'close');
  return text;
}

const OPEN = { prefix: [] };
const attempt = (expression: string): string =>
  `try { ${expression}; console.log('done') } catch (error) { console.log(error.code) }`;

describe('the sandbox', () => {
  it('limits the number of open files', async () => {
    const script = attempt("for (let n = 0; n < 1100; n++) fs.openSync('/dev/null')");
    expect(await inside(openSandbox(null), script)).toBe('EMFILE\n');
  });

  it.skipIf(!isRoot)(
    'denies a named user access to the worker, its files and the network',
    async () => {
      const sandbox = openSandbox('nobody');
      const secret = join(folder, 'token');
      writeFileSync(secret, 'join-me', { mode: 0o600 });
      const server = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      const tries = [
        attempt(`fs.readFileSync('/proc/${process.pid}/environ')`),
        attempt(`process.kill(${process.pid}, 0)`),
        attempt(`fs.readFileSync('${secret}')`),
        attempt(`fs.writeFileSync('${join(folder, 'new')}', '')`),
        `net.connect(${port}, '127.0.0.1', () => console.log('done')).on('error', (error) => console.log(error.code))`,
      ];
      const answers = (where: Pick<Sandbox, 'prefix'>) =>
        Promise.all(tries.map(async (script) => (await inside(where, script)).split('\n')[0]));
      expect(await answers(sandbox)).toEqual([
        'EACCES',
        'EPERM',
        'EACCES',
        'EACCES',
        'ENETUNREACH',
      ]);
      expect(await answers(OPEN)).toEqual(Array(5).fill('done'));
      server.close();
    },
  );

  it.skipIf(!isRoot)('names the folder that the named user cannot access', () => {
    const sandbox = openSandbox('nobody');
    const runs = join(folder, 'runs');
    writeFileSync(runs, '');
    chmodSync(folder, 0o700);
    expect(() => checkReach(sandbox, '/etc/passwd', runs)).toThrow(`cannot access ${runs}`);
    chmodSync(folder, 0o711);
    chmodSync(runs, 0o711);
    expect(() => checkReach(sandbox, '/etc/passwd', runs)).not.toThrow();
  });

  it('skips and reports unsupported restrictions, but never the named user', () => {
    for (const program of ['id', 'true'])
      symlinkSync(
        execFileSync('which', [program], { encoding: 'utf8' }).trim(),
        join(folder, program),
      );
    vi.stubEnv('PATH', folder);
    const { prefix, missing } = openSandbox(null);
    expect(prefix).toEqual([]);
    expect(missing.join()).toMatch(/prlimit.*setpriv/);
    vi.spyOn(process, 'getuid').mockReturnValue(0);
    expect(() => openSandbox('nobody')).toThrow('--trainer-user requires setpriv of util-linux');
  });

  it('rejects a user that trainers cannot run as', () => {
    vi.spyOn(process, 'getuid').mockReturnValue(1000);
    expect(() => openSandbox('nobody')).toThrow('requires a worker that runs as root');
    vi.spyOn(process, 'getuid').mockReturnValue(0);
    expect(() => openSandbox('no-such-user')).toThrow('"no-such-user" does not exist');
    expect(() => openSandbox('root')).toThrow('must not be root');
  });
});
