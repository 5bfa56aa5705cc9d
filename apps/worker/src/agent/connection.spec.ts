import { describe, expect, it } from 'vitest';
import { until } from '../../test/control-plane.js';
import { useScene } from '../../test/scene.js';

const scene = useScene();

describe('the line', () => {
  it('keeps training while it is down and replays the spool once and in order', async () => {
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
    expect(scene.plane.hellos[1]?.leases).toMatchObject([{ jobId: 'job-1', epoch: 1 }]);
    const after = scene.plane.events.slice(before).map((event) => event.sequence);
    expect(after).toEqual(after.map((_, index) => (after[0] ?? 0) + index));
    const numbers = scene.plane.facts().map((event) => event.sequence);
    expect(numbers).toEqual(numbers.map((_, index) => index + 1));
    const steps = scene.plane
      .facts()
      .flatMap(({ fact }) => (fact?.$case === 'step' ? [fact.value.step] : []));
    expect(steps).toEqual(Array.from({ length: 300 }, (_, index) => index + 1));
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
      'the adapter to be up',
      () => scene.plane.puts.some((put) => put.ref.name === 'adapter_model.txt'),
      10_000,
    );
    expect(performance.now() - from).toBeLessThan(10_000);
    expect(scene.plane.mostUnacknowledged).toBe(3);
    scene.plane.acknowledges = true;
    scene.plane.hangUp();
    await until('finished', () => scene.plane.fact('finished'));
    expect(scene.plane.facts().filter(({ fact }) => fact?.$case === 'step')).toHaveLength(2000);
  });

  it('checkpoints and stops when cut off for too long, and tells so when the line is back', async () => {
    await scene.startAgent({ offlineLimitMs: 400 });
    await scene.pulled();
    scene.plane.assign({ plan: { steps: 100_000, stepMs: 5 } });
    await until('steps', () => scene.plane.fact('step'));
    const { port } = scene.plane;
    scene.plane.vanish();
    await new Promise((resolve) => setTimeout(resolve, 900));
    await scene.plane.listen(port);
    const stopped = await until('stopped', () => scene.plane.fact('stopped'));
    expect(stopped.reason).toBe('drained');
    expect(scene.plane.fact('saved')?.step).toBe(stopped.step);
  });

  it('puts and fetches blobs with the session of its last Welcome', async () => {
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

  it('takes a silent stream for a broken one', async () => {
    await scene.startAgent();
    await scene.pulled();
    const { port } = scene.plane;
    scene.plane.vanish();
    await scene.plane.listen(port);
    await until('the second hello', () => scene.plane.hellos.length > 1);
  });

  it('says what is wrong with the token, the protocol and the address, and idles', async () => {
    scene.plane.token = 'another';
    await scene.startAgent();
    await until('the token', () =>
      scene.lines.some((line) => line.includes('refused the join token')),
    );
    expect(scene.lines.join('')).not.toContain('join-me');
    scene.plane.token = 'join-me';
    scene.plane.refuseProtocol = true;
    scene.newHome();
    await scene.startAgent();
    await until('the protocol', () =>
      scene.lines.some((line) => line.includes('worker protocol 7 to 8')),
    );
    scene.newHome();
    await scene.startAgent({ address: '127.0.0.1:1' });
    await until('the address', () =>
      scene.lines.some((line) => line.includes('nobody answers at 127.0.0.1:1')),
    );
    expect(scene.plane.hellos).toHaveLength(0);
  });
});

describe('answers', () => {
  it('stream from the trainer that holds the base, with an adapter or without, beside a run', async () => {
    await scene.startAgent();
    await scene.pulled();
    scene.plane.assign({ plan: { steps: 500, stepMs: 5 } });
    await until('steps', () => scene.plane.fact('step'));
    const request = {
      id: 'g1',
      base: {
        id: 'base-a',
        nameOrPath: 'base-a',
        files: [scene.plane.blob('base.txt', 'weights of base a')],
      },
      adapter: [],
      messagesJson: JSON.stringify([{ role: 'user', content: 'one two three' }]),
      maxTokens: 10,
      temperature: 0,
      topP: 1,
      seed: 1,
      stop: [],
      baseDtype: 'f32',
    };
    scene.plane.send({ $case: 'generate', value: request });
    scene.plane.send({
      $case: 'generate',
      value: { ...request, id: 'g2', adapter: [scene.plane.blob('adapter_model.txt', 'tuned')] },
    });
    const ended = (id: string) =>
      scene.plane.chunks.some((chunk) => chunk.id === id && chunk.finishReason !== '');
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
    scene.plane.send({
      $case: 'generate',
      value: {
        ...request,
        id: 'g3',
        messagesJson: JSON.stringify([{ role: 'user', content: 'a '.repeat(500) }]),
      },
    });
    await until('the first words', () => scene.plane.chunks.some((chunk) => chunk.id === 'g3'));
    scene.plane.send({ $case: 'generateCancel', value: { id: 'g3' } });
    await new Promise((resolve) => setTimeout(resolve, 100));
    const heard = scene.plane.chunks.length;
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(scene.plane.chunks.length).toBe(heard);
  });

  it('load the base when nobody holds it, and say why they cannot', async () => {
    await scene.startAgent();
    await scene.pulled();
    const request = {
      id: 'g1',
      base: { id: 'base-z', nameOrPath: 'base-z', files: [scene.plane.blob('base.txt', 'z')] },
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
    scene.plane.send({ $case: 'generate', value: request });
    await until('the answer', () =>
      scene.plane.chunks.some((chunk) => chunk.finishReason === 'stop' && chunk.text === 'hello'),
    );
    scene.plane.send({
      $case: 'generate',
      value: {
        ...request,
        id: 'g2',
        base: { id: 'bad', nameOrPath: 'bad', files: [scene.plane.blob('nothing.txt', 'q')] },
      },
    });
    const bad = await until('the refusal', () =>
      scene.plane.chunks.find((chunk) => chunk.id === 'g2' && chunk.finishReason === 'error'),
    );
    expect(bad).toMatchObject({ errorCode: 'invalid_model', errorMessage: 'no base.txt' });
  });
});
