import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command_Action } from '@graft/contracts/grpc';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ControlPlane, until } from '../../test/control-plane.js';
import { Agent, type AgentOptions } from './agent.js';
import type { Settings } from './settings.js';

const SMALL_TRAINER = fileURLToPath(new URL('../../test/small-trainer.mjs', import.meta.url));

let home: string;
let plane: ControlPlane;
let agents: Agent[];
let lines: string[];

beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), 'graft-agent-'));
  plane = new ControlPlane();
  agents = [];
  lines = [];
  await plane.listen();
});

afterEach(async () => {
  for (const agent of agents) await agent.close();
  plane.vanish();
  rmSync(home, { recursive: true, force: true });
});

async function startAgent(
  settings: Partial<Settings> = {},
  options: Partial<AgentOptions> = {},
): Promise<Agent> {
  const agent = new Agent({
    settings: {
      address: `127.0.0.1:${plane.port}`,
      tls: false,
      token: 'join-me',
      pool: 'default',
      name: 'spec',
      slots: 2,
      home,
      threads: 1,
      cacheBytes: 1e9,
      idleUnloadMs: 60_000,
      offlineLimitMs: 600_000,
      drainMs: 5_000,
      logLevel: 'info',
      ...settings,
    },
    log: pino({ level: 'debug' }, { write: (line: string) => void lines.push(line) }),
    trainerMain: SMALL_TRAINER,
    backoff: { minMs: 50, maxMs: 200 },
    freeMemory: () => 8e9,
    ...options,
  });
  agents.push(agent);
  await agent.start();
  return agent;
}

function alive(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

function trainerPids(): number[] {
  return readdirSync(join(home, 'trainers')).map((name) => parseInt(name, 10));
}

async function pulled(): Promise<void> {
  await until('a pull', () => plane.pulls.length > 0);
}

describe('an assignment', () => {
  it('goes from blobs to a trainer and back up as facts, checkpoints and the adapter', async () => {
    await startAgent();
    await pulled();
    expect(plane.hellos[0]).toMatchObject({
      name: 'spec',
      pool: 'default',
      slots: 2,
      trainerBuild: 'small-1',
      devices: ['cpu'],
      leases: [],
    });
    plane.assign({ plan: { steps: 20, saveEvery: 10 } });
    const finished = await until('finished', () => plane.fact('finished'));
    const kinds = plane.facts().map(({ fact }) => fact?.$case);
    expect(kinds.filter((kind) => kind === 'step')).toHaveLength(20);
    expect(kinds.indexOf('started')).toBeLessThan(kinds.indexOf('step'));
    expect(kinds.at(-1)).toBe('finished');
    expect(plane.facts().map((event) => event.sequence)).toEqual(
      kinds.map((_, index) => index + 1),
    );
    const saved = plane.fact('saved');
    expect(saved?.adapter.map((file) => file.name)).toEqual(['adapter.txt']);
    for (const file of [...(saved?.files ?? []), ...finished.adapter])
      expect(plane.blobs.has(file.sha256)).toBe(true);
    expect(plane.puts.every((put) => put.jobId === 'job-1' && put.epoch === 1)).toBe(true);
    await until('the lease to be over', () => plane.heartbeats.at(-1)?.leases.length === 0);
    expect(plane.heartbeats.at(-1)?.residentBases).toEqual(['base-a']);
    await until('the run folder to go', () => readdirSync(join(home, 'runs')).length === 0);
  });

  it('puts a checkpoint’s files before it says saved', async () => {
    await startAgent();
    await pulled();
    plane.assign({ plan: { steps: 400, stepMs: 2, saveEvery: 5 } });
    for (let seen = 0; seen < 5;) {
      const saved = plane.events.filter(({ fact }) => fact?.$case === 'saved');
      for (const { fact } of saved)
        if (fact?.$case === 'saved')
          for (const file of fact.value.files)
            expect(plane.puts.some((put) => put.ref.sha256 === file.sha256)).toBe(true);
      seen = saved.length;
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  });

  it('resumes from a checkpoint and ends as the uninterrupted run', async () => {
    await startAgent();
    await pulled();
    plane.assign({ jobId: 'whole', plan: { steps: 30, saveEvery: 10 } });
    await until('the whole run', () => plane.fact('finished', 'whole'));
    const saved = plane.fact('saved', 'whole');
    plane.assign({
      jobId: 'again',
      epoch: 2,
      plan: { steps: 30 },
      checkpoint: [...(saved?.files ?? [])],
      checkpointStep: 10,
    });
    await until('the resumed run', () => plane.fact('finished', 'again', 2));
    expect(plane.fact('started', 'again', 2)?.fromStep).toBe(10);
    const [first] = plane.fact('finished', 'whole')?.adapter ?? [];
    expect(plane.fact('finished', 'again', 2)?.adapter[0]).toEqual(first);
  });

  it('becomes failed in words when the spec, the base or a blob is bad', async () => {
    await startAgent();
    await pulled();
    plane.assign({ jobId: 'spec', plan: { steps: 1 }, spec: { batch_size: -1 } });
    expect(await until('spec', () => plane.fact('failed', 'spec'))).toMatchObject({
      code: 'unsupported',
      retryable: false,
    });
    plane.assign({
      jobId: 'base',
      plan: { steps: 1 },
      base: { id: 'b', files: [plane.blob('other.txt', 'x')] },
    });
    expect(await until('base', () => plane.fact('failed', 'base'))).toMatchObject({
      code: 'invalid_model',
      message: 'no base.txt',
    });
    plane.assign({
      jobId: 'name',
      plan: { steps: 1 },
      trainingFile: { ...plane.blob('x', 'y'), name: '../../evil' },
    });
    expect((await until('name', () => plane.fact('failed', 'name'))).message).toContain(
      'no plain file name',
    );
    plane.assign({
      jobId: 'gone',
      plan: { steps: 1 },
      trainingFile: { name: 'x', sha256: 'ab'.repeat(32), size: 3 },
    });
    expect(await until('gone', () => plane.fact('failed', 'gone'))).toMatchObject({
      code: 'io_error',
      retryable: true,
    });
  });

  it('refuses a corrupt blob and keeps nothing of it', async () => {
    await startAgent();
    await pulled();
    const good = plane.blob('train.jsonl', JSON.stringify({ steps: 3 }));
    plane.blobs.set(good.sha256, Buffer.from(JSON.stringify({ steps: 4 })));
    plane.assign({ plan: {}, trainingFile: good });
    const failed = await until('failed', () => plane.fact('failed'));
    expect(failed).toMatchObject({ code: 'io_error', retryable: true });
    expect(failed.message).toContain('arrived damaged');
    expect(readdirSync(join(home, 'cache', 'partial'))).toEqual([]);
    plane.blobs.set(good.sha256, Buffer.from(JSON.stringify({ steps: 3 })));
    plane.assign({ plan: {}, epoch: 2, trainingFile: good });
    await until('the next attempt', () => plane.fact('finished', 'job-1', 2));
  });

  it('takes up an interrupted download where it stopped', async () => {
    plane.cutAfter = 1000;
    await startAgent();
    await pulled();
    const big = plane.blob('base.txt', Buffer.alloc(700_000, 'b'));
    plane.assign({ plan: { steps: 2 }, base: { id: 'big', files: [big] } });
    await until('finished', () => plane.fact('finished'));
    expect(
      plane.fetches.filter((fetch) => fetch.sha256 === big.sha256).map((fetch) => fetch.offset),
    ).toEqual([0, 1000]);
  });
});

describe('a shared base', () => {
  it('is held by one trainer for all its runs, another base by another', async () => {
    await startAgent({ slots: 3 });
    await pulled();
    plane.assign({ jobId: 'a', plan: { steps: 150, stepMs: 2 } });
    plane.assign({ jobId: 'b', plan: { steps: 150, stepMs: 2 } });
    plane.assign({
      jobId: 'c',
      plan: { steps: 5 },
      base: { id: 'base-c', files: [plane.blob('base.txt', 'weights of c')] },
    });
    for (const job of ['a', 'b', 'c']) await until(job, () => plane.fact('finished', job));
    const pid = (job: string) =>
      plane.puts.find((put) => put.jobId === job && put.ref.name === 'pid.txt')?.data.toString();
    expect(pid('a')).toBe(pid('b'));
    expect(pid('c')).not.toBe(pid('a'));
    expect(trainerPids()).toHaveLength(2);
  });

  it('waits for memory, unloads an idle base for another, and says when it can never fit', async () => {
    let free = 1e9;
    await startAgent({}, { freeMemory: () => free });
    await pulled();
    plane.assign({ jobId: 'a', plan: { steps: 60, stepMs: 20 } });
    await until('a to run', () => plane.fact('started', 'a'));
    const [pid = 0] = trainerPids();
    free = 0;
    const other = (letter: string) => ({
      id: `base-${letter}`,
      files: [plane.blob('base.txt', `weights of ${letter}`)],
    });
    plane.assign({ jobId: 'b', plan: { steps: 3 }, base: other('b') });
    const waiting = await until('b to wait', () => plane.phase('waiting_for_memory', 'b'));
    expect(waiting.message).toContain('waiting for a run on another base to end');
    await until('a to be unloaded', () => !alive(pid));
    expect(plane.fact('finished', 'a')).toBeDefined();
    free = 1e9;
    await until('b to run', () => plane.fact('finished', 'b'));
    free = 0;
    plane.assign({ jobId: 'c', plan: { steps: 3 }, base: other('c') });
    const failed = await until('c to be refused', () => plane.fact('failed', 'c'));
    expect(failed.code).toBe('oom_host');
    expect(failed.message).toContain('needs about 0.3 GB');
  });

  it('is unloaded after the idle time', async () => {
    await startAgent({ idleUnloadMs: 300 });
    await pulled();
    plane.assign({ plan: { steps: 3 } });
    await until('finished', () => plane.fact('finished'));
    const [pid = 0] = trainerPids();
    expect(alive(pid)).toBe(true);
    await until('the trainer to go', () => !alive(pid));
    await until('the base to be gone', () => plane.heartbeats.at(-1)?.residentBases.length === 0);
  });
});

describe('ownership', () => {
  it.each(['ack', 'heartbeat', 'command'] as const)(
    'kills a run within 1 s when told so by %s',
    async (by) => {
      await startAgent();
      await pulled();
      plane.assign({ plan: { steps: 100_000, stepMs: 5 } });
      await until('steps', () => plane.fact('step'));
      const [pid = 0] = trainerPids();
      const lease = { jobId: 'job-1', epoch: 1, step: 0 };
      const from = performance.now();
      if (by === 'ack') plane.stale.push(lease);
      else if (by === 'heartbeat') plane.lost.push(lease);
      else
        plane.send({ $case: 'command', value: { ...lease, action: Command_Action.ACTION_KILL } });
      await until('the trainer to be gone', () => !alive(pid), 1000);
      expect(performance.now() - from).toBeLessThan(1000);
      await until('no lease', () => plane.heartbeats.at(-1)?.leases.length === 0);
      expect(plane.fact('stopped') ?? plane.fact('failed')).toBeUndefined();
    },
  );

  it('drops a lost run beside a neighbour that goes on', async () => {
    await startAgent();
    await pulled();
    plane.assign({ jobId: 'zombie', plan: { steps: 100_000, stepMs: 5 } });
    plane.assign({ jobId: 'neighbour', plan: { steps: 200, stepMs: 5 } });
    await until('both', () => plane.fact('step', 'zombie') && plane.fact('step', 'neighbour'));
    plane.lost.push({ jobId: 'zombie', epoch: 1, step: 0 });
    await until(
      'the lease to go',
      () => !plane.heartbeats.at(-1)?.leases.some((lease) => lease.jobId === 'zombie'),
    );
    const heard = plane.facts('zombie').length;
    await until('the neighbour', () => plane.fact('finished', 'neighbour'));
    expect(plane.facts('zombie').length).toBeLessThanOrEqual(heard + 30);
    expect(trainerPids()).toHaveLength(1);
  });

  it('kills the trainer when the lost run does not obey within 2 s; the neighbour may be tried again', async () => {
    await startAgent();
    await pulled();
    plane.assign({ jobId: 'zombie', plan: { steps: 100_000, stepMs: 5, disobey: true } });
    plane.assign({ jobId: 'neighbour', plan: { steps: 100_000, stepMs: 5 } });
    await until('both', () => plane.fact('step', 'zombie') && plane.fact('step', 'neighbour'));
    const from = performance.now();
    plane.lost.push({ jobId: 'zombie', epoch: 1, step: 0 });
    const failed = await until('the neighbour', () => plane.fact('failed', 'neighbour'));
    expect(failed).toMatchObject({ code: 'crash', retryable: true });
    expect(performance.now() - from).toBeGreaterThan(1900);
    expect(plane.fact('failed', 'zombie')).toBeUndefined();
  });

  it('reports how a trainer died, with the end of its stderr', async () => {
    await startAgent();
    await pulled();
    plane.assign({ plan: { steps: 50, crashAt: 7 } });
    const failed = await until('failed', () => plane.fact('failed'));
    expect(failed).toMatchObject({ code: 'crash', retryable: true });
    expect(failed.stderrTail).toContain('boom');
    plane.assign({ epoch: 2, plan: { steps: 5 } });
    await until('the next attempt', () => plane.fact('finished', 'job-1', 2));
  });

  it('cancels without a checkpoint and pauses with one', async () => {
    await startAgent();
    await pulled();
    plane.assign({ jobId: 'c', plan: { steps: 100_000, stepMs: 5 } });
    plane.assign({ jobId: 'p', plan: { steps: 100_000, stepMs: 5 } });
    await until('both', () => plane.fact('step', 'c') && plane.fact('step', 'p'));
    plane.send({
      $case: 'command',
      value: { jobId: 'c', epoch: 1, action: Command_Action.ACTION_CANCEL },
    });
    plane.send({
      $case: 'command',
      value: { jobId: 'p', epoch: 1, action: Command_Action.ACTION_PAUSE },
    });
    expect(await until('cancelled', () => plane.fact('stopped', 'c'))).toMatchObject({
      reason: 'cancelled',
    });
    const paused = await until('paused', () => plane.fact('stopped', 'p'));
    expect(paused.reason).toBe('paused');
    expect(plane.fact('saved', 'p')?.step).toBe(paused.step);
    expect(plane.fact('saved', 'c')).toBeUndefined();
    await until('free slots', () => plane.pulls.at(-1)?.freeSlots === 2);
  });

  it('hands back what does not fit in its slots', async () => {
    await startAgent({ slots: 1 });
    await pulled();
    plane.assign({ jobId: 'a', plan: { steps: 1000, stepMs: 5 } });
    plane.assign({ jobId: 'b', plan: { steps: 1 }, checkpointStep: 12 });
    expect(await until('b back', () => plane.fact('stopped', 'b'))).toEqual({
      reason: 'drained',
      step: 12,
    });
  });
});

describe('the line', () => {
  it('keeps training while it is down and replays the spool once and in order', async () => {
    await startAgent();
    await pulled();
    plane.assign({ plan: { steps: 300, stepMs: 5, saveEvery: 50 } });
    await until('some steps', () => plane.facts().length > 20);
    const { port } = plane;
    plane.vanish();
    await new Promise((resolve) => setTimeout(resolve, 700));
    const before = plane.events.length;
    await plane.listen(port);
    await until('finished', () => plane.fact('finished'), 10_000);
    expect(plane.hellos[1]?.instanceId).toBe(plane.hellos[0]?.instanceId);
    expect(plane.hellos[1]?.leases).toMatchObject([{ jobId: 'job-1', epoch: 1 }]);
    const after = plane.events.slice(before).map((event) => event.sequence);
    expect(after).toEqual(after.map((_, index) => (after[0] ?? 0) + index));
    const numbers = plane.facts().map((event) => event.sequence);
    expect(numbers).toEqual(numbers.map((_, index) => index + 1));
    const steps = plane
      .facts()
      .flatMap(({ fact }) => (fact?.$case === 'step' ? [fact.value.step] : []));
    expect(steps).toEqual(Array.from({ length: 300 }, (_, index) => index + 1));
  });

  it('never has more batches in flight than allowed, and never slows the trainer', async () => {
    plane.acknowledges = false;
    plane.maxUnacked = 3;
    await startAgent();
    await pulled();
    const from = performance.now();
    plane.assign({ plan: { steps: 2000, stepMs: 0 } });
    await until('three batches', () => plane.mostUnacknowledged === 3);
    await until(
      'the adapter to be up',
      () => plane.puts.some((put) => put.ref.name === 'adapter_model.txt'),
      10_000,
    );
    expect(performance.now() - from).toBeLessThan(10_000);
    expect(plane.mostUnacknowledged).toBe(3);
    plane.acknowledges = true;
    plane.hangUp();
    await until('finished', () => plane.fact('finished'));
    expect(plane.facts().filter(({ fact }) => fact?.$case === 'step')).toHaveLength(2000);
  });

  it('checkpoints and stops when cut off for too long, and tells so when the line is back', async () => {
    await startAgent({ offlineLimitMs: 400 });
    await pulled();
    plane.assign({ plan: { steps: 100_000, stepMs: 5 } });
    await until('steps', () => plane.fact('step'));
    const { port } = plane;
    plane.vanish();
    await new Promise((resolve) => setTimeout(resolve, 900));
    await plane.listen(port);
    const stopped = await until('stopped', () => plane.fact('stopped'));
    expect(stopped.reason).toBe('drained');
    expect(plane.fact('saved')?.step).toBe(stopped.step);
  });

  it('takes a silent stream for a broken one', async () => {
    await startAgent();
    await pulled();
    const { port } = plane;
    plane.vanish();
    await plane.listen(port);
    await until('the second hello', () => plane.hellos.length > 1);
  });

  it('says what is wrong with the token, the protocol and the address, and idles', async () => {
    plane.token = 'another';
    await startAgent();
    await until('the token', () => lines.some((line) => line.includes('refused the join token')));
    expect(lines.join('')).not.toContain('join-me');
    plane.token = 'join-me';
    plane.refuseProtocol = true;
    home = mkdtempSync(join(tmpdir(), 'graft-agent-'));
    await startAgent();
    await until('the protocol', () =>
      lines.some((line) => line.includes('worker protocol 7 to 8')),
    );
    home = mkdtempSync(join(tmpdir(), 'graft-agent-'));
    await startAgent({ address: '127.0.0.1:1' });
    await until('the address', () =>
      lines.some((line) => line.includes('nobody answers at 127.0.0.1:1')),
    );
    expect(plane.hellos).toHaveLength(0);
  });
});

describe('answers', () => {
  it('stream from the trainer that holds the base, with an adapter or without, beside a run', async () => {
    await startAgent();
    await pulled();
    plane.assign({ plan: { steps: 500, stepMs: 5 } });
    await until('steps', () => plane.fact('step'));
    const request = {
      id: 'g1',
      base: { id: 'base-a', files: [plane.blob('base.txt', 'weights of base a')] },
      adapter: [],
      messagesJson: JSON.stringify([{ role: 'user', content: 'one two three' }]),
      maxTokens: 10,
      temperature: 0,
      topP: 1,
      seed: 1,
      stop: [],
      baseDtype: 'f32',
    };
    plane.send({ $case: 'generate', value: request });
    plane.send({
      $case: 'generate',
      value: { ...request, id: 'g2', adapter: [plane.blob('adapter_model.txt', 'tuned')] },
    });
    const ended = (id: string) =>
      plane.chunks.some((chunk) => chunk.id === id && chunk.finishReason !== '');
    await until('both answers', () => ended('g1') && ended('g2'));
    const text = (id: string) =>
      plane.chunks
        .filter((chunk) => chunk.id === id)
        .map((chunk) => chunk.text)
        .join(' ')
        .trim();
    expect(text('g1')).toBe('one two three');
    expect(text('g2')).toBe('one two three tuned');
    expect(trainerPids()).toHaveLength(1);
    plane.send({
      $case: 'generate',
      value: {
        ...request,
        id: 'g3',
        messagesJson: JSON.stringify([{ role: 'user', content: 'a '.repeat(500) }]),
      },
    });
    await until('the first words', () => plane.chunks.some((chunk) => chunk.id === 'g3'));
    plane.send({ $case: 'generateCancel', value: { id: 'g3' } });
    await new Promise((resolve) => setTimeout(resolve, 100));
    const heard = plane.chunks.length;
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(plane.chunks.length).toBe(heard);
  });

  it('load the base when nobody holds it, and say why they cannot', async () => {
    await startAgent();
    await pulled();
    const request = {
      id: 'g1',
      base: { id: 'base-z', files: [plane.blob('base.txt', 'z')] },
      adapter: [],
      messagesJson: '',
      prompt: 'hello',
      maxTokens: 1,
      temperature: 0,
      topP: 1,
      seed: 1,
      stop: [],
      baseDtype: 'bf16',
    };
    plane.send({ $case: 'generate', value: request });
    await until('the answer', () =>
      plane.chunks.some((chunk) => chunk.finishReason === 'stop' && chunk.text === 'hello'),
    );
    plane.send({
      $case: 'generate',
      value: { ...request, id: 'g2', base: { id: 'bad', files: [plane.blob('nothing.txt', 'q')] } },
    });
    const bad = await until('the refusal', () =>
      plane.chunks.find((chunk) => chunk.id === 'g2' && chunk.finishReason === 'error'),
    );
    expect(bad).toMatchObject({ errorCode: 'invalid_model', errorMessage: 'no base.txt' });
  });
});

describe('draining', () => {
  it('checkpoints every run, hands them back and takes nothing new', async () => {
    const agent = await startAgent();
    await pulled();
    plane.assign({ jobId: 'a', plan: { steps: 100_000, stepMs: 5 } });
    plane.assign({ jobId: 'b', plan: { steps: 100_000, stepMs: 5 } });
    await until('both', () => plane.fact('step', 'a') && plane.fact('step', 'b'));
    const [pid = 0] = trainerPids();
    expect(await agent.drain('SIGTERM')).toBe(true);
    agents = [];
    expect(plane.drainings).toEqual(['SIGTERM']);
    for (const job of ['a', 'b']) {
      expect(plane.fact('stopped', job)?.reason).toBe('drained');
      expect(plane.fact('saved', job)?.step).toBe(plane.fact('stopped', job)?.step);
    }
    expect(alive(pid)).toBe(false);
  });

  it('gives up at the deadline when the control plane is away, and the spool survives', async () => {
    const agent = await startAgent({ drainMs: 700 });
    await pulled();
    plane.assign({ plan: { steps: 100_000, stepMs: 5 } });
    await until('steps', () => plane.fact('step'));
    const { port } = plane;
    plane.vanish();
    expect(await agent.drain('SIGTERM')).toBe(false);
    agents = [];
    const seen = plane.facts().length;
    await plane.listen(port);
    await startAgent();
    await until('what was spooled', () => plane.facts().length > seen);
    const numbers = plane.facts().map((event) => event.sequence);
    expect(numbers).toEqual(numbers.map((_, index) => index + 1));
  });
});
