import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ControlPlane, until } from '../../test/control-plane.js';
import { isAlive } from '../../test/scene.js';

const WORKER = fileURLToPath(new URL('../../test/worker.mjs', import.meta.url));
const MAIN = fileURLToPath(new URL('../../bundle/main.js', import.meta.url));

let home: string;
let plane: ControlPlane;
let children: ChildProcess[];
let output: string;

beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), 'graft-worker-'));
  plane = new ControlPlane();
  children = [];
  output = '';
  await plane.listen();
});

afterEach(() => {
  for (const child of children) child.kill('SIGKILL');
  for (const pid of trainerPids()) if (isAlive(pid)) process.kill(pid, 'SIGKILL');
  plane.vanish();
  rmSync(home, { recursive: true, force: true });
});

function start(script = WORKER, ...more: string[]): ChildProcess {
  const args = [
    script,
    '--url',
    `grpc://127.0.0.1:${plane.port}`,
    '--home',
    home,
    '--threads',
    '1',
    ...more,
  ];
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env['PATH'],
      GRAFT_WORKER_TOKEN: 'join-me',
      GRAFT_SECRET: 'not for trainers',
    },
  });
  child.stdout?.on('data', (text: Buffer) => (output += text.toString()));
  child.stderr?.on('data', (text: Buffer) => (output += text.toString()));
  children.push(child);
  return child;
}

function exitOf(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve) => child.once('exit', (code) => resolve(code)));
}

function trainerPids(): number[] {
  const folder = join(home, 'trainers');
  return existsSync(folder) ? readdirSync(folder).map((name) => parseInt(name, 10)) : [];
}

async function startTraining(
  ...flags: string[]
): Promise<{ child: ChildProcess; trainer: number }> {
  const child = start(WORKER, ...flags);
  await until('a pull', () => plane.pulls.length > 0, 10_000);
  plane.assign({ plan: { steps: 100_000, stepMs: 5 } });
  await until('steps', () => plane.fact('step'), 10_000);
  const [trainer = 0] = trainerPids();
  return { child, trainer };
}

/** Users of trainers: the worker's own and, if this process may switch users, another one. */
const USERS = [
  { user: 'its own', flags: [] },
  { user: 'another', flags: ['--trainer-user', 'nobody'] },
].slice(0, process.getuid?.() === 0 ? 2 : 1);

describe('a worker process', () => {
  it('gives its trainer an empty environment and its own process group', async () => {
    const { child, trainer } = await startTraining();
    const environment = readFileSync(`/proc/${trainer}/environ`, 'utf8')
      .split('\0')
      .filter((entry) => entry !== '');
    const names = environment.map((entry) => entry.slice(0, entry.indexOf('=')));
    expect(names).toEqual(expect.arrayContaining(['PATH', 'OMP_NUM_THREADS', 'PEFT_JOB']));
    expect(environment.join(' ')).not.toMatch(/join-me|not for trainers/);
    const group = readFileSync(`/proc/${trainer}/stat`, 'utf8')
      .replace(/^.*\) /, '')
      .split(' ')[2];
    expect(group).toBe(String(trainer));
    expect(child.exitCode).toBeNull();
  });

  it.each(USERS)(
    'leaves no trainer of $user user behind when it is killed with -9',
    async ({ flags }) => {
      const { child, trainer } = await startTraining(...flags);
      const { uid } = statSync(`/proc/${trainer}`);
      expect(uid === process.getuid?.()).toBe(flags.length === 0);
      const from = performance.now();
      child.kill('SIGKILL');
      await until('the trainer to be gone', () => !isAlive(trainer), 12_000);
      expect(performance.now() - from).toBeLessThan(12_000);
    },
  );

  it('kills trainers of a killed worker, and no other processes', async () => {
    const { child, trainer } = await startTraining();
    // A stopped trainer cannot notice that its parent has exited.
    process.kill(trainer, 'SIGSTOP');
    child.kill('SIGKILL');
    await exitOf(child);
    expect(isAlive(trainer)).toBe(true);
    start();
    await until('the second worker', () => plane.hellos.length === 2, 10_000);
    expect(isAlive(trainer)).toBe(false);
    expect(output).toContain('killed trainers that a previous worker left behind');
    expect(plane.hellos[1]?.instanceId).not.toBe(plane.hellos[0]?.instanceId);
  });

  it('drains on SIGTERM: checkpoint, drained, exit 0', async () => {
    const { child, trainer } = await startTraining();
    const from = performance.now();
    child.kill('SIGTERM');
    expect(await exitOf(child)).toBe(0);
    expect(performance.now() - from).toBeLessThan(5000);
    expect(plane.drainings).toEqual(['SIGTERM']);
    const stopped = plane.fact('stopped');
    expect(stopped?.reason).toBe('drain');
    expect(plane.fact('saved')?.step).toBe(stopped?.step);
    expect(isAlive(trainer)).toBe(false);
    expect(existsSync(join(home, 'worker.pid'))).toBe(false);
  });

  it('exits immediately on a second SIGTERM', async () => {
    const { child, trainer } = await startTraining();
    plane.acknowledges = false;
    child.kill('SIGTERM');
    await until('the drain', () => plane.drainings.length > 0);
    const from = performance.now();
    child.kill('SIGTERM');
    expect(await exitOf(child)).toBe(130);
    expect(performance.now() - from).toBeLessThan(1000);
    await until('the trainer to be gone', () => !isAlive(trainer), 1000);
  });

  it('rejects a home that another worker uses, and invalid flags, with a message', async () => {
    await startTraining();
    expect(await exitOf(start())).toBe(2);
    expect(output).toMatch(/graft-worker: worker \d+ already uses this --home/);
    expect(await exitOf(start(MAIN, '--slots', '0'))).toBe(2);
    expect(output).toContain('graft-worker: --slots must be a number ≥ 1 (got 0)');
    expect(await exitOf(start(MAIN, '--trainer-user', 'no-such-user'))).toBe(2);
    expect(output).toContain('graft-worker: --trainer-user');
  });

  it('never writes its token', async () => {
    await startTraining('--log-level', 'trace');
    expect(output).toContain('connected');
    expect(output).not.toContain('join-me');
  });
});
