import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  createReadStream,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import OpenAI from 'openai';
import type { JobObject, ModelObject } from '@graft/contracts';
import { Authority } from '../certificates.js';
import { isAllTier } from '../tier.js';
import { CLI, WORKER, cleanEnv, graft, startUntil } from './graft.js';
import { writeChats, writeTinyBase } from '../tiny-base.js';

interface Held {
  readonly pid: number;
  readonly children: readonly { readonly pid: number; readonly script: string }[];
}

let home: string;
const started: number[] = [];
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'graft-up-'));
  chmodSync(home, 0o755);
});
afterEach(() => {
  for (const pid of started.splice(0)) if (isAlive(pid)) process.kill(pid, 'SIGKILL');
  rmSync(home, { recursive: true, force: true });
});

const up = async (folder = home) => {
  const order = ['up', '--home', folder];
  const running = await startUntil(CLI, order, cleanEnv(), 'Press Ctrl-C to stop');
  started.push(running.child.pid ?? 0, ...held(folder).children.map(({ pid }) => pid));
  return running;
};
const held = (folder = home): Held =>
  JSON.parse(readFileSync(join(folder, 'up.json'), 'utf8')) as Held;

function client(): OpenAI {
  const { url, api_key: apiKey } = JSON.parse(
    readFileSync(join(home, 'credentials.json'), 'utf8'),
  ) as { url: string; api_key: string };
  return new OpenAI({ baseURL: url, apiKey, maxRetries: 0 });
}

async function until(holds: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 100));
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
  } catch {
    return false;
  }
}

function postgresOf(folder: string): number {
  return Number(readFileSync(join(folder, 'postgres/data/postmaster.pid'), 'utf8').split('\n')[0]);
}

describe('graft up', () => {
  it('starts a worker, rejects a second instance, and leaves no process running after Ctrl-C', async () => {
    const { child, text } = await up();
    const children = held().children.map(({ pid }) => pid);
    const postgres = postgresOf(home);
    // Output that is not a terminal may be a log, which must not contain the key.
    expect(text().err).toContain(`(the API key is in ${join(home, 'credentials.json')})`);
    expect(text().out + text().err).not.toContain('sk-graft-');
    expect(children).toHaveLength(2);
    expect((await graft(home, ['workers'])).out).toContain('online');
    const second = await graft(home, ['up']);
    expect(second).toMatchObject({
      code: 1,
      err: expect.stringContaining(`already running in ${home} (pid ${child.pid})`),
    });
    child.kill('SIGINT');
    const [code] = (await once(child, 'exit')) as [number | null];
    expect([code, text().err.trimEnd().split('\n').at(-1)]).toEqual([0, 'Stopped.']);
    expect([...children, postgres].filter(isAlive)).toEqual([]);
    expect(existsSync(join(home, 'up.json'))).toBe(false);
  });

  it('chooses another port if an instance that starts at the same time takes it', async () => {
    const both = await Promise.all([up(), up(join(home, 'second'))]);
    const urls = both.map(({ text }) => /Workers connect to (\S+) from/.exec(text().err)?.[1]);
    expect(new Set(urls).size).toBe(2);
    for (const { child } of both) child.kill('SIGTERM');
    for (const { child } of both) if (child.exitCode === null) await once(child, 'exit');
  });

  it('prints the command for another worker, with the same port after a restart', async () => {
    // The default port is taken, either here or by another program.
    const usual = createServer().on('error', () => undefined);
    usual.listen(8081, '127.0.0.1');
    const first = await up();
    const printed = first.text().err;
    expect(printed).toContain('port 8081 for workers is already in use');
    const [, url] = /Workers connect to (grpc:\/\/127\.0\.0\.1:\d+) from this host only/.exec(
      printed,
    )!;
    const [, command] = /^ {2}npx graft-worker (.*)$/m.exec(printed)!;
    expect(command).toContain(`--url ${url} --token-file ${join(home, 'join-token')}`);
    const second = await startUntil(
      WORKER,
      command!.split(' '),
      cleanEnv({ GRAFT_LOG_LEVEL: 'info' }),
      '"connected"',
    );
    started.push(second.child.pid ?? 0);
    expect((await graft(home, ['workers'])).out.match(/online/g)).toHaveLength(2);
    second.child.kill('SIGTERM');
    first.child.kill('SIGTERM');
    await Promise.all([once(second.child, 'exit'), once(first.child, 'exit')]);
    const again = await up();
    expect(again.text().err).toContain(`Workers connect to ${url} from this host only`);
    expect(again.text().err).not.toContain('already in use');
    again.child.kill('SIGTERM');
    await once(again.child, 'exit');
    usual.close();
  });

  it.runIf(isAllTier)(
    'serves remote workers over TLS with a certificate in graft.json, and its local worker without',
    async () => {
      const authority = new Authority(home, 'authority');
      const { cert, key } = authority.issue('DNS:graft.example.org');
      const file = { grpc_tls_cert: cert, grpc_tls_key: key };
      writeFileSync(join(home, 'graft.json'), JSON.stringify(file));
      const { child } = await up();
      expect((await graft(home, ['workers'])).out).toContain('online');
      const [, port] = /"grpc_url":"127\.0\.0\.1:(\d+)"/.exec(
        readFileSync(join(home, 'logs/api.log'), 'utf8'),
      )!;
      const socket = connect({
        port: Number(port),
        ca: readFileSync(authority.cert),
        servername: 'graft.example.org',
        ALPNProtocols: ['h2'],
      });
      await once(socket, 'secureConnect');
      expect([socket.authorized, socket.alpnProtocol]).toEqual([true, 'h2']);
      socket.destroy();
      child.kill('SIGTERM');
      await once(child, 'exit');
    },
  );

  it('stops the leftovers of a killed instance, and starts again with the same key', async () => {
    const first = await up();
    const key = readFileSync(join(home, 'credentials.json'), 'utf8');
    const left = held().children.map(({ pid }) => pid);
    first.child.kill('SIGKILL');
    await once(first.child, 'exit');
    expect(left.every(isAlive)).toBe(true);
    const second = await up();
    expect(left.filter(isAlive)).toEqual([]);
    expect(JSON.parse(readFileSync(join(home, 'credentials.json'), 'utf8'))).toMatchObject({
      api_key: (JSON.parse(key) as { api_key: string }).api_key,
    });
    const children = held().children.map(({ pid }) => pid);
    second.child.kill('SIGTERM');
    await once(second.child, 'exit');
    expect(children.filter(isAlive)).toEqual([]);
  });

  it('restarts a killed API at the same ports while the worker trains, and stops its PostgreSQL even if the API was killed', async () => {
    const { child, text } = await up();
    const api = client();
    await api.post('/models', {
      body: { id: 'tiny', source: `dir:${writeTinyBase(join(home, 'tiny'))}` },
    });
    await until(async () => (await api.get<ModelObject>('/models/tiny')).graft?.status === 'ready');
    const file = await api.files.create({
      file: createReadStream(writeChats(join(home, 'chats.jsonl'), 20)),
      purpose: 'fine-tune',
    });
    const body = { batch_size: 2, n_epochs: 50 };
    const { id } = await api.fineTuning.jobs.create({
      model: 'tiny',
      training_file: file.id,
      hyperparameters: body,
    });
    const job = () => api.get<JobObject>(`/fine_tuning/jobs/${id}`);
    await until(async () => (await job()).graft.progress.step > 0);
    const before = readFileSync(join(home, 'credentials.json'), 'utf8');
    const [server, worker] = held().children;
    process.kill(server!.pid, 'SIGKILL');
    await until(() => text().err.includes('the API was killed by SIGKILL; restarting in 1 s'));
    await until(() =>
      api.get('/models').then(
        () => true,
        () => false,
      ),
    );
    started.push(...held().children.map(({ pid }) => pid));
    await until(async () => !['queued', 'running'].includes((await job()).status));
    const { status, graft: own } = await job();
    expect([status, own.attempts.length]).toEqual(['succeeded', 1]);
    expect(readFileSync(join(home, 'credentials.json'), 'utf8')).toBe(before);
    expect(held().children.map(({ pid }) => pid)).toContain(worker!.pid);
    expect(text().err).not.toMatch(/^\s*request$/m);
    const postgres = postgresOf(home);
    process.kill(held().children.find(({ pid }) => pid !== worker!.pid)!.pid, 'SIGKILL');
    await until(() => text().err.match(/the API was killed by SIGKILL/g)?.length === 2);
    expect(isAlive(postgres)).toBe(true);
    child.kill('SIGTERM');
    await once(child, 'exit');
    expect(isAlive(postgres)).toBe(false);
  });

  it.runIf(isAllTier)('prints the dashboard URL with the API key on a terminal', async () => {
    // `script` runs a command on a pseudo-terminal.
    const command = `${process.execPath} ${CLI} up --home ${home}`;
    const onTerminal = spawn('script', ['-qec', command, '/dev/null'], { env: cleanEnv() });
    let shown = '';
    onTerminal.stdout.on('data', (chunk: Buffer) => (shown += chunk.toString()));
    await until(() => shown.includes('Press Ctrl-C to stop') || onTerminal.exitCode !== null);
    started.push(held().pid, ...held().children.map(({ pid }) => pid));
    expect(shown).toMatch(/Dashboard: http:\/\/127\.0\.0\.1:\d+\/#key=sk-graft-/);
    process.kill(held().pid, 'SIGTERM');
    await once(onTerminal, 'exit');
  });

  it('fails if the requested port is in use', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    expect(await graft(home, ['up', '--port', String(port)])).toMatchObject({
      code: 1,
      err: expect.stringContaining(`port ${port} is already in use`),
    });
    server.close();
  });
});
