// How many chats a worker answers at once, with the small trainer.
import { expect, it } from 'vitest';
import { until } from '../../test/control-plane.js';
import { useScene } from '../../test/scene.js';

const scene = useScene();

const question = (words: number): string =>
  JSON.stringify([
    { role: 'user', content: Array.from({ length: words }, () => 'word').join(' ') },
  ]);

/** A word takes 20 ms. */
function ask(id: string, words = 5, messagesJson = question(words)): void {
  scene.plane.send({
    $case: 'generate',
    value: {
      id,
      base: {
        id: 'base-a',
        nameOrPath: 'base-a',
        files: [scene.plane.blob('base.txt', 'weights of base a')],
      },
      messagesJson,
      adapter: [],
      maxTokens: 8,
      temperature: 0,
      topP: 1,
      seed: 0,
      stop: [],
      baseDtype: '',
      quantization: '',
    },
  });
}

const end = (id: string) =>
  scene.plane.chunks.find((chunk) => chunk.id === id && chunk.finishReason !== '');
const cancel = (id: string) => scene.plane.send({ $case: 'generateCancel', value: { id } });

it('answers so many at once, has twice as many wait, and refuses the next with the reason', async () => {
  await scene.startAgent({ maxChats: 1 });
  await scene.pulled();
  expect(scene.plane.pulls[0]).toMatchObject({ freeChats: 1 });
  for (const id of ['first', 'second', 'third', 'fourth']) ask(id, 40);
  expect(await until('the fourth to be refused', () => end('fourth'))).toMatchObject({
    finishReason: 'error',
    errorCode: 'queue_full',
    errorMessage: 'this worker answers 1 chat at once and 2 wait; try again later',
  });
  await until('the first to begin', () => scene.plane.chunks.some(({ id }) => id === 'first'));
  cancel('second');
  await until('the first to end', () => end('first'));
  await until('the third to end', () => end('third'));
  expect(end('second')).toBeUndefined();
  const order = scene.plane.chunks.filter(({ text }) => text !== '').map(({ id }) => id);
  expect(order).toEqual([...order].sort((a, b) => Number(b === 'first') - Number(a === 'first')));
  await until('it to say that it has room again', () => scene.plane.pulls.at(-1)?.freeChats === 1);
  ask('fifth');
  expect(await until('the fifth to end', () => end('fifth'))).toMatchObject({ errorCode: '' });
});

it('holds no memory for an answer that never began', async () => {
  const bytes = 1e9;
  await scene.startAgent({}, { freeMemory: () => bytes, totalMemory: () => bytes });
  await scene.pulled();
  ask('broken', 1, '"no list"');
  await until('its refusal', () => end('broken'));
  // Nearly all that the base leaves.
  scene.plane.assign({
    jobId: 'job',
    plan: { steps: 5, needs: 0.7e9 },
    spec: { base_dtype: 'bf16' },
  });
  await until('the run to finish', () => scene.plane.fact('finished', 'job'));
});
