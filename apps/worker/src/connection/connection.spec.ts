import type { Command_Action } from '@graft/contracts/grpc';
import { describe, expect, it } from 'vitest';
import { ControlPlane, until } from '../../test/control-plane.js';
import { useScene } from '../../test/scene.js';

const scene = useScene();

describe('the connection', () => {
  it('keeps training while disconnected, then replays the spool once and in order', async () => {
    await scene.startAgent();
    await scene.pulled();
    scene.plane.assign({ plan: { steps: 300, stepMs: 5, saveEvery: 50 } });
    await until('some steps', () => scene.plane.facts().length > 20);
    const { port } = scene.plane;
    scene.plane.vanish();
    await new Promise((resolve) => setTimeout(resolve, 700));
    const before = scene.plane.events.length;
    await scene.plane.listen(port);
    await until('finished', () => scene.plane.fact('finished'), 10_000);
    expect(scene.plane.hellos[1]?.instanceId).toBe(scene.plane.hellos[0]?.instanceId);
    expect(scene.plane.hellos[1]?.leases).toMatchObject([{ jobId: 'job-1', attempt: 1 }]);
    const after = scene.plane.events.slice(before).map((event) => event.sequence);
    expect(after).toEqual(after.map((_, index) => (after[0] ?? 0) + index));
    const numbers = scene.plane.facts().map((event) => event.sequence);
    expect(numbers).toEqual(numbers.map((_, index) => index + 1));
    const steps = scene.plane.all('step').map(({ step }) => step);
    expect(steps).toEqual(Array.from({ length: 300 }, (_, index) => index + 1));
  });

  it('continues at the next address if one does not respond, and back', async () => {
    const other = new ControlPlane();
    await other.listen();
    try {
      await scene.startAgent({
        address: `127.0.0.1:1,127.0.0.1:${scene.plane.port},127.0.0.1:${other.port}`,
      });
      const planes = [scene.plane, other];
      const first = await until('a hello', () => planes.find((plane) => plane.hellos.length > 0));
      const second = planes.find((plane) => plane !== first) as ControlPlane;
      first.vanish();
      await until('a hello at the other', () => second.hellos.length > 0);
      expect(second.hellos[0]?.instanceId).toBe(first.hellos[0]?.instanceId);
    } finally {
      other.vanish();
    }
  });

  it('moves when its API process will stop, and finishes requests on the old stream', async () => {
    const other = new ControlPlane();
    await other.listen();
    try {
      await scene.startAgent({
        address: `127.0.0.1:${scene.plane.port},127.0.0.1:${other.port}`,
      });
      const planes = [scene.plane, other];
      const first = await until('a pull', () => planes.find((plane) => plane.pulls.length > 0));
      const second = planes.find((plane) => plane !== first) as ControlPlane;
      first.assign({ plan: { steps: 100_000, stepMs: 5 } });
      await until('steps', () => first.fact('step'));
      const question = (plane: ControlPlane, id: string, words: number) =>
        plane.chat(id, 'a '.repeat(words), { max_tokens: words });
      const ended = (plane: ControlPlane, id: string) =>
        plane.chunks.find((chunk) => chunk.id === id && chunk.last);
      question(first, 'g1', 60);
      await until('the first words', () => first.chunks.length > 0);
      first.send({ $case: 'goAway', value: {} });
      await until('a hello at the other', () => second.hellos.length > 0);
      expect(ended(first, 'g1')).toBeUndefined();
      expect(second.hellos[0]?.instanceId).toBe(first.hellos[0]?.instanceId);
      expect(second.hellos[0]?.leases).toMatchObject([{ jobId: 'job-1', attempt: 1 }]);
      await until('steps there', () => second.fact('step'));
      // A request that was in transit is processed, too.
      question(first, 'g2', 3);
      const answers = await until('both answers', () => ended(first, 'g1') && ended(first, 'g2'));
      expect(answers.finish_reason).toBe('stop');
      expect(ended(first, 'g1')?.finish_reason).toBe('stop');
      expect(second.chunks).toEqual([]);
      first.vanish();
      question(second, 'g3', 3);
      await until('an answer there', () => ended(second, 'g3'));
      expect([first.hellos.length, second.hellos.length]).toEqual([1, 1]);
    } finally {
      other.vanish();
    }
  });

  it('stays with an API process that will stop while no other responds', async () => {
    await scene.startAgent({ address: `127.0.0.1:1,127.0.0.1:${scene.plane.port}` });
    await scene.pulled();
    scene.plane.send({ $case: 'goAway', value: {} });
    await until('a try', () =>
      scene.lines.some((line) => line.includes('cannot connect to 127.0.0.1:1')),
    );
    const beats = scene.plane.heartbeats.length;
    await until('more heartbeats', () => scene.plane.heartbeats.length > beats + 3);
  });

  it('never has more batches in flight than allowed, and never slows the trainer', async () => {
    scene.plane.acknowledges = false;
    scene.plane.maxUnacked = 3;
    await scene.startAgent();
    await scene.pulled();
    const from = performance.now();
    scene.plane.assign({ plan: { steps: 2000, stepMs: 0 } });
    await until('three batches', () => scene.plane.mostUnacknowledged === 3);
    await until(
      'the adapter to be uploaded',
      () => scene.plane.puts.some((put) => put.ref.name === 'adapter_model.txt'),
      10_000,
    );
    expect(performance.now() - from).toBeLessThan(10_000);
    expect(scene.plane.mostUnacknowledged).toBe(3);
    scene.plane.acknowledges = true;
    scene.plane.hangUp();
    await until('finished', () => scene.plane.fact('finished'));
    expect(scene.plane.all('step')).toHaveLength(2000);
  });

  it('saves checkpoints and stops after a long disconnection, and reports it on reconnect', async () => {
    await scene.startAgent({ offlineLimitMs: 400 });
    await scene.pulled();
    scene.plane.assign({ plan: { steps: 100_000, stepMs: 5 } });
    await until('steps', () => scene.plane.fact('step'));
    const { port } = scene.plane;
    scene.plane.vanish();
    await new Promise((resolve) => setTimeout(resolve, 900));
    await scene.plane.listen(port);
    const stopped = await until('stopped', () => scene.plane.fact('stopped'));
    expect(stopped.reason).toBe('drain');
    expect(scene.plane.fact('saved')?.step).toBe(stopped.step);
  });

  it('transfers blobs with the session of its last Welcome', async () => {
    await scene.startAgent();
    await scene.pulled();
    scene.plane.assign({ plan: { steps: 100, stepMs: 5 } });
    await until('steps', () => scene.plane.fact('step'));
    scene.plane.hangUp();
    await until('the second hello', () => scene.plane.hellos.length > 1);
    scene.plane.assign({ jobId: 'job-2', plan: { steps: 3 }, spec: { seed: 9 } });
    await until('the first to finish', () => scene.plane.fact('finished'));
    await until('the second to finish', () => scene.plane.fact('finished', 'job-2'));
  });

  it('reopens a stream without messages', async () => {
    await scene.startAgent();
    await scene.pulled();
    const { port } = scene.plane;
    scene.plane.vanish();
    await scene.plane.listen(port);
    await until('the second hello', () => scene.plane.hellos.length > 1);
  });

  it('reports an invalid token or address, and retries rarely', async () => {
    scene.plane.token = 'another';
    await scene.startAgent();
    await until('the token', () =>
      scene.lines.some((line) => line.includes('rejected the join token')),
    );
    expect(scene.lines.join('')).not.toContain('join-me');
    scene.plane.token = 'join-me';
    scene.newHome();
    await scene.startAgent({ address: '127.0.0.1:1' });
    await until('the address', () =>
      scene.lines.some((line) => line.includes('cannot connect to 127.0.0.1:1')),
    );
    expect(scene.plane.hellos).toHaveLength(0);
  });
});

describe('a newer control plane', () => {
  it('sends unknown messages and commands, which are logged, and the run continues', async () => {
    await scene.startAgent();
    await scene.pulled();
    scene.plane.assign({ plan: { steps: 100_000, stepMs: 5 } });
    await until('steps', () => scene.plane.fact('step'));
    scene.plane.send(undefined);
    const action = 9 as Command_Action;
    scene.plane.send({ $case: 'command', value: { jobId: 'job-1', attempt: 1, action } });
    await until('the message', () => scene.lines.find((line) => line.includes('unknown message')));
    await until('the command', () => scene.lines.find((line) => line.includes('"action":9')));
    const steps = scene.plane.facts().length;
    await until('more steps', () => scene.plane.facts().length > steps);
    expect(scene.plane.hellos).toHaveLength(1);
  });
});

describe('responses', () => {
  it('stream from the trainer that holds the base, with or without an adapter, next to a run', async () => {
    await scene.startAgent();
    await scene.pulled();
    scene.plane.assign({ plan: { steps: 500, stepMs: 5 } });
    await until('steps', () => scene.plane.fact('step'));
    scene.plane.chat('g1', 'one two three');
    const adapter = [scene.plane.blob('adapter_model.txt', 'tuned')];
    scene.plane.chat('g2', 'one two three', {}, { adapter });
    const ended = (id: string) => scene.plane.chunks.some((chunk) => chunk.id === id && chunk.last);
    await until('both answers', () => ended('g1') && ended('g2'));
    const text = (id: string) =>
      scene.plane.chunks
        .filter((chunk) => chunk.id === id)
        .map((chunk) => chunk.text)
        .join(' ')
        .trim();
    expect(text('g1')).toBe('one two three');
    expect(text('g2')).toBe('one two three tuned');
    expect(scene.trainerPids()).toHaveLength(1);
    scene.plane.chat('g3', 'a '.repeat(500));
    await until('the first words', () => scene.plane.chunks.some((chunk) => chunk.id === 'g3'));
    scene.plane.send({ $case: 'cancelModelRequest', value: { id: 'g3' } });
    await new Promise((resolve) => setTimeout(resolve, 100));
    const received = scene.plane.chunks.length;
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(scene.plane.chunks.length).toBe(received);
  });

  it('use the copy of the base that a run trains on, with its quantization', async () => {
    await scene.startAgent();
    await scene.pulled();
    const spec = { base_dtype: 'bf16', quantization: 'nf4' } as const;
    scene.plane.assign({ plan: { steps: 100_000, stepMs: 5 }, spec });
    await until('steps', () => scene.plane.fact('step'));
    const ask = async (id: string, precision: { baseDtype: string; quantization: string }) => {
      scene.plane.chat(id, '', { messages: null, prompt: 'hello' }, precision);
      await until('the answer', () =>
        scene.plane.chunks.some((chunk) => chunk.id === id && chunk.finish_reason === 'stop'),
      );
      return scene.trainerPids().length;
    };
    expect(await ask('of-its-adapter', { baseDtype: 'bf16', quantization: 'nf4' })).toBe(1);
    expect(await ask('of-the-base-itself', { baseDtype: '', quantization: '' })).toBe(1);
    expect(await ask('of-a-dense-one', { baseDtype: 'bf16', quantization: '' })).toBe(2);
  });

  it('load the base if no trainer holds it, and report why loading fails', async () => {
    await scene.startAgent();
    await scene.pulled();
    const baseOf = (id: string, file: string, content: string) => ({
      base: { id, nameOrPath: id, files: [scene.plane.blob(file, content)] },
      baseDtype: 'bf16',
    });
    const request = { messages: null, prompt: 'hello' };
    scene.plane.chat('g1', '', request, baseOf('base-z', 'base.txt', 'z'));
    await until('the answer', () =>
      scene.plane.chunks.some((chunk) => chunk.finish_reason === 'stop' && chunk.text === 'hello'),
    );
    scene.plane.chat('g2', '', request, baseOf('bad', 'nothing.txt', 'q'));
    const bad = await until('the problem', () =>
      scene.plane.chunks.find((chunk) => chunk.id === 'g2' && chunk.errorCode !== ''),
    );
    expect(bad).toMatchObject({ errorCode: 'invalid_model', errorMessage: 'no base.txt' });
  });
});
