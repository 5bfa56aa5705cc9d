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

/** What a script says that runs where trainers run. */
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
  it('ends a process that opens more files than any trainer needs', async () => {
    const script = attempt("for (let n = 0; n < 1100; n++) fs.openSync('/dev/null')");
    expect(await inside(openSandbox(null), script)).toBe('EMFILE\n');
  });

  it.skipIf(!isRoot)('shuts the worker, its files and the network from a named user', async () => {
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
    expect(await answers(sandbox)).toEqual(['EACCES', 'EPERM', 'EACCES', 'EACCES', 'ENETUNREACH']);
    expect(await answers(OPEN)).toEqual(Array(5).fill('done'));
    server.close();
  });

  it.skipIf(!isRoot)('says which folder keeps the named user out', () => {
    const sandbox = openSandbox('nobody');
    const runs = join(folder, 'runs');
    writeFileSync(runs, '');
    chmodSync(folder, 0o700);
    expect(() => checkReach(sandbox, '/etc/passwd', runs)).toThrow(`nobody cannot reach ${runs}`);
    chmodSync(folder, 0o711);
    chmodSync(runs, 0o711);
    expect(() => checkReach(sandbox, '/etc/passwd', runs)).not.toThrow();
  });

  it('goes without what the system lacks, says so, and never without the named user', () => {
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
    expect(() => openSandbox('nobody')).toThrow('--trainer-user needs setpriv of util-linux');
  });

  it('refuses a user that trainers cannot have', () => {
    vi.spyOn(process, 'getuid').mockReturnValue(1000);
    expect(() => openSandbox('nobody')).toThrow('needs a worker that runs as root');
    vi.spyOn(process, 'getuid').mockReturnValue(0);
    expect(() => openSandbox('no-such-user')).toThrow('there is no user "no-such-user"');
    expect(() => openSandbox('root')).toThrow('must be another user than root');
  });
});
