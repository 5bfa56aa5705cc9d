// Admission of runs by the memory that they need, with the small trainer.
import { Command_Action } from '@graft/contracts/grpc';
import { expect, it } from 'vitest';
import { until } from '../../test/control-plane.js';
import { useScene } from '../../test/scene.js';

const scene = useScene();
const GIGABYTE = 1e9;
const LONG = { steps: 100_000, stepMs: 5 };

async function startWith(gigabytes: number, settings: object = {}): Promise<void> {
  const bytes = gigabytes * GIGABYTE;
  await scene.startAgent(settings, { freeMemory: () => bytes, totalMemory: () => bytes });
  await scene.pulled();
}

const trains = (job: string) => until(`a step of ${job}`, () => scene.plane.fact('step', job));
const waits = (job: string) =>
  until(`${job} to wait`, () => scene.plane.phase('waiting_for_memory', job));
const other = () => ({
  id: 'base-b',
  nameOrPath: 'base-b',
  files: [scene.plane.blob('base.txt', 'weights of base b')],
});
const command = (jobId: string, action: Command_Action) =>
  scene.plane.send({ $case: 'command', value: { jobId, attempt: 1, action } });

it('lets a second run wait until it fits with the first', async () => {
  await startWith(3);
  scene.plane.assign({ jobId: 'first', plan: { ...LONG, needs: 1.5 * GIGABYTE } });
  await trains('first');
  scene.plane.assign({ jobId: 'second', plan: { steps: 5, needs: 1.5 * GIGABYTE } });
  expect(await waits('second')).toMatchObject({
    message: expect.stringMatching(
      /^the run needs about 1\.5 GB of memory and [\d.]+ GB are free; waiting for another run to end$/,
    ) as string,
  });
  expect(scene.plane.fact('started', 'second')).toBeUndefined();
  command('first', Command_Action.ACTION_CANCEL);
  await until('the second to finish', () => scene.plane.fact('finished', 'second'));
});

it('counts reservations, not only used memory, so that two concurrent runs do not share free memory', async () => {
  await startWith(3);
  for (const jobId of ['one', 'two'])
    scene.plane.assign({ jobId, plan: { ...LONG, needs: 2 * GIGABYTE } });
  const started = () => ['one', 'two'].filter((job) => scene.plane.fact('started', job));
  await until('one to start', () => started().length > 0);
  const [other] = ['one', 'two'].filter((job) => !started().includes(job)) as [string];
  await waits(other);
  expect(started()).toHaveLength(1);
});

it('rejects a run that never fits by name, without affecting the other run', async () => {
  await startWith(3);
  scene.plane.assign({ jobId: 'good', plan: { steps: 300, stepMs: 5, needs: GIGABYTE } });
  await trains('good');
  scene.plane.assign({ jobId: 'huge', plan: { steps: 5, needs: 20 * GIGABYTE } });
  expect(await until('its end', () => scene.plane.fact('failed', 'huge'))).toMatchObject({
    code: 'no_memory',
    param: 'peft',
    message: expect.stringMatching(
      /^the run needs about 20\.0 GB of memory in addition to its base .* this worker has at most 2\.7 GB; /,
    ) as string,
  });
  await until('the good one to finish', () => scene.plane.fact('finished', 'good'));
  expect(scene.plane.fact('failed', 'good')).toBeUndefined();
});

it('fails a run that does not fit if nothing that ends would free memory', async () => {
  await scene.startAgent({}, { freeMemory: () => GIGABYTE, totalMemory: () => 10 * GIGABYTE });
  await scene.pulled();
  scene.plane.assign({ jobId: 'large', plan: { steps: 5, needs: 5 * GIGABYTE } });
  expect(await until('its end', () => scene.plane.fact('failed', 'large'))).toMatchObject({
    code: 'no_memory',
  });
});

it('does not let a small run overtake a waiting large one', async () => {
  await startWith(3, { slots: 3 });
  scene.plane.assign({ jobId: 'first', plan: { ...LONG, needs: 1.5 * GIGABYTE } });
  await trains('first');
  scene.plane.assign({ jobId: 'large', plan: { steps: 5, needs: 2 * GIGABYTE } });
  await waits('large');
  scene.plane.assign({ jobId: 'small', plan: { steps: 5, needs: 0.1 * GIGABYTE } });
  await waits('small');
  command('first', Command_Action.ACTION_CANCEL);
  await until('the large one', () => scene.plane.fact('finished', 'large'));
  await until('the small one', () => scene.plane.fact('finished', 'small'));
});

it('stops a waiting run at its step', async () => {
  await startWith(3);
  scene.plane.assign({ jobId: 'first', plan: { ...LONG, needs: 2 * GIGABYTE } });
  await trains('first');
  scene.plane.assign({ jobId: 'second', plan: { steps: 5, needs: 2 * GIGABYTE } });
  await waits('second');
  command('second', Command_Action.ACTION_PAUSE);
  expect(await until('it to stop', () => scene.plane.fact('stopped', 'second'))).toMatchObject({
    reason: 'pause',
  });
  expect(scene.plane.fact('failed', 'second')).toBeUndefined();
});

it('removes a waiting run whose process exits, so that later ones continue', async () => {
  await startWith(4, { slots: 3 });
  scene.plane.assign({ jobId: 'first', plan: { ...LONG, needs: 1.5 * GIGABYTE } });
  await trains('first');
  const before = scene.trainerPids();
  scene.plane.assign({ jobId: 'large', base: other(), plan: { steps: 5, needs: 3 * GIGABYTE } });
  await waits('large');
  scene.plane.assign({ jobId: 'small', plan: { steps: 5, needs: 0.1 * GIGABYTE } });
  await waits('small');
  const [pid] = scene.trainerPids().filter((one) => !before.includes(one)) as [number];
  process.kill(pid, 'SIGKILL');
  await until('the large one to fail', () => scene.plane.fact('failed', 'large'));
  await until('the small one to finish', () => scene.plane.fact('finished', 'small'));
  expect(scene.plane.fact('finished', 'first')).toBeUndefined();
});

it('waits for a run on another base that is still reading its data, which starts first', async () => {
  await startWith(4);
  const plan = { steps: 5, needs: GIGABYTE, readMs: 2000 };
  scene.plane.assign({ jobId: 'reads', base: other(), plan });
  await until('its base', () => scene.plane.phase('loading_base', 'reads'));
  scene.plane.assign({ jobId: 'large', plan: { steps: 5, needs: 3.6 * GIGABYTE } });
  await until('the one that read', () => scene.plane.fact('finished', 'reads'));
  await until('the large one', () => scene.plane.fact('finished', 'large'));
});

it('fails one of two runs that block each other, and the other continues', async () => {
  await startWith(4);
  const plan = { steps: 5, needs: 3.6 * GIGABYTE };
  scene.plane.assign({ jobId: 'reads', base: other(), plan: { ...plan, readMs: 1000 } });
  await until('its base', () => scene.plane.phase('loading_base', 'reads'));
  scene.plane.assign({ jobId: 'large', plan });
  const end = (kind: 'failed' | 'finished') =>
    ['reads', 'large'].filter((job) => scene.plane.fact(kind, job));
  await until('both to end', () => end('failed').length + end('finished').length === 2);
  expect(end('finished')).toHaveLength(1);
  expect(end('failed')).toHaveLength(1);
});
