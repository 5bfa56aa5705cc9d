// Blame for the exit of a trainer process that several runs share, with the small trainer.
import { Command_Action } from '@graft/contracts/grpc';
import { describe, expect, it } from 'vitest';
import { until } from '../../test/control-plane.js';
import { useScene } from '../../test/scene.js';

const LONG = { steps: 100_000, stepMs: 5 };

const scene = useScene();

const failed = (job: string) => until(`the end of ${job}`, () => scene.plane.fact('failed', job));

const started = (job: string) =>
  until(`the start of ${job}`, () => scene.plane.fact('started', job));

/** Assigns a job and waits for its first step. */
async function train(jobId: string, plan: object): Promise<void> {
  scene.plane.assign({ jobId, plan });
  await until(`a step of ${jobId}`, () => scene.plane.fact('step', jobId));
}

describe('a process of several runs that crashes', () => {
  it.each([
    ['a crash', { crashAt: 3 }, 'crash'],
    ['a SIGKILL', { crashAt: 3, signal: 'SIGKILL' }, 'crash'],
    ['a fault', { crashAt: 3, signal: 'SIGSEGV' }, 'crash'],
    ['a hang', { hangAt: 3 }, 'hang'],
  ])('by %s in one run’s work: only that run is to blame', async (_, end, code) => {
    await scene.startAgent({}, { hangMs: 1000 });
    await scene.pulled();
    await train('good', LONG);
    scene.plane.assign({ jobId: 'bad', plan: { ...LONG, ...end } });
    expect(await failed('bad')).toMatchObject({ code, blame: 'own' });
    const displaced = await failed('good');
    expect(displaced).toMatchObject({ code, blame: 'other' });
    expect(displaced.stderr_tail).toBeUndefined();
    expect(displaced.process).toMatch(/^[0-9a-f-]{36}$/);
    for (const job of ['good', 'bad']) expect((await started(job)).process).toBe(displaced.process);
  });

  it('on purpose: both runs are interrupted and none is to blame', async () => {
    await scene.startAgent();
    await scene.pulled();
    await train('one', LONG);
    await train('other', LONG);
    const interrupt = { jobId: 'one', attempt: 1, action: Command_Action.ACTION_INTERRUPT };
    scene.plane.send({ $case: 'command', value: interrupt });
    for (const job of ['one', 'other']) {
      const failure = await failed(job);
      expect(failure.code).toBe('interrupted');
      expect(failure.blame).toBeUndefined();
      expect(failure.message).toBe('the trainer process was killed on purpose');
    }
  });

  it('in shared work: all runs that share it are suspects', async () => {
    await scene.startAgent();
    await scene.pulled();
    await train('good', LONG);
    scene.plane.assign({ jobId: 'bad', plan: { ...LONG, joint: true, crashAt: 3 } });
    for (const job of ['good', 'bad'])
      expect(await failed(job)).toMatchObject({ code: 'crash', blame: 'shared' });
  });

  it('out of memory: the run with the last allocation is only a suspect', async () => {
    await scene.startAgent();
    await scene.pulled();
    await train('good', LONG);
    const stderr = { words: 'terminate called after throwing std::bad_alloc' };
    scene.plane.assign({ jobId: 'bad', plan: { ...LONG, ...stderr, crashAt: 3 } });
    expect(await failed('bad')).toMatchObject({ code: 'oom_host', blame: 'shared' });
    expect(await failed('good')).toMatchObject({ code: 'oom_host', blame: 'other' });
  });

  it('in a model request: no run is to blame, and the request fails', async () => {
    await scene.startAgent();
    await scene.pulled();
    await train('a', LONG);
    await train('b', LONG);
    scene.plane.chat('question', 'please die now', {}, { baseDtype: '' });
    for (const job of ['a', 'b']) expect(await failed(job)).toMatchObject({ blame: 'other' });
    const last = await until('the answer’s end', () =>
      scene.plane.chunks.find(({ errorCode }) => errorCode !== ''),
    );
    expect(last).toMatchObject({ id: 'question', errorCode: 'crash' });
  });

  it('because a canceled run does not stop: the other run is not charged', async () => {
    await scene.startAgent({}, { hangMs: 1500 });
    await scene.pulled();
    await train('good', LONG);
    scene.plane.assign({ jobId: 'bad', plan: { ...LONG, disobey: true, hangAt: 3 } });
    await started('bad');
    scene.plane.send({
      $case: 'command',
      value: { jobId: 'bad', attempt: 1, action: Command_Action.ACTION_KILL },
    });
    expect(await failed('good')).toMatchObject({ blame: 'other' });
  });
});

it.each([
  ['is a suspect, if others may have it', null, 'shared'],
  ['has that to itself, if it names what took it', 'hyperparameters.batch_size', undefined],
])('a run that runs out of memory next to another %s', async (_, param, blame) => {
  await scene.startAgent();
  await scene.pulled();
  await train('good', LONG);
  const payload = { code: 'oom_host', message: 'no memory', param, retryable: true };
  scene.plane.assign({ jobId: 'bad', plan: { claims: [{ kind: 'failed', payload }] } });
  const { code, blame: reported } = await failed('bad');
  expect([code, reported]).toEqual(['oom_host', blame]);
  expect(scene.plane.fact('failed', 'good')).toBeUndefined();
});

it('blames no run if a process writes invalid data, which may have been written earlier', async () => {
  await scene.startAgent();
  await scene.pulled();
  await train('good', LONG);
  scene.plane.assign({ jobId: 'bad', plan: { claims: [{ raw: 'null' }] } });
  for (const job of ['good', 'bad'])
    expect(await failed(job)).toMatchObject({ code: 'crash', blame: 'shared' });
});

describe('a run alone in its process', () => {
  it('is to blame for any exit', async () => {
    await scene.startAgent();
    await scene.pulled();
    const words = 'terminate called after throwing std::bad_alloc';
    scene.plane.assign({ plan: { ...LONG, words, crashAt: 3 } });
    expect(await failed('job-1')).toMatchObject({ code: 'oom_host', blame: 'own' });
  });

  it('has its own copy of the base if assigned alone, until it ends', async () => {
    await scene.startAgent({ slots: 3 });
    await scene.pulled();
    await train('good', LONG);
    const shared = scene.trainerPids();
    scene.plane.assign({ jobId: 'suspect', alone: true, plan: LONG });
    const suspect = await started('suspect');
    await train('late', LONG);
    const [own = 0, ...more] = scene.trainerPids().filter((pid) => !shared.includes(pid));
    expect(more).toEqual([]);
    expect(suspect.process).not.toBe((await started('good')).process);
    expect((await started('late')).process).toBe((await started('good')).process);
    process.kill(own, 'SIGKILL');
    expect(await failed('suspect')).toMatchObject({ blame: 'own' });
    scene.plane.assign({ jobId: 'suspect', attempt: 2, alone: true, plan: { steps: 5 } });
    await until('it to finish', () => scene.plane.fact('finished', 'suspect', 2));
    await until('its process to go', () => scene.trainerPids().length === 1);
    expect(scene.trainerPids()).toEqual(shared);
    for (const job of ['good', 'late']) expect(scene.plane.fact('failed', job)).toBeUndefined();
  });

  it('waits for memory for its copy of the base', async () => {
    let free = 8e9;
    await scene.startAgent({}, { freeMemory: () => free });
    await scene.pulled();
    await train('good', LONG);
    free = 1e6;
    scene.plane.assign({ jobId: 'suspect', alone: true, plan: { steps: 5 } });
    await until('it to wait', () => scene.plane.phase('waiting_for_memory', 'suspect'));
    free = 8e9;
    await until('it to finish', () => scene.plane.fact('finished', 'suspect'));
  });
});
