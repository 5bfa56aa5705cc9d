import type { SweepObject, TrialObject } from '@graft/contracts';
import { expect, it } from 'vitest';
import { standingOf, partText } from './standing.js';

const trial = (
  peft: object,
  score: number,
  accuracy: number | null,
  size: number,
  more: object = {},
) =>
  ({
    options: { peft },
    status: 'succeeded',
    score,
    ended_at_step: null,
    trainable_parameters: size,
    best: { step: 9, valid_loss: score, ...(accuracy !== null && { accuracy }) },
    ...more,
  }) as unknown as TrialObject;
const sweep = (...trials: TrialObject[]) =>
  ({ trials, search: { metric: 'valid_loss' } }) as unknown as SweepObject;
const lora = { peft_type: 'LORA', r: 16 };
const ia3 = { peft_type: 'IA3' };

it('names a smaller method within the noise of the held-out examples', () => {
  const answer = standingOf(
    sweep(trial(ia3, 0.3, 0.96, 61_000), trial(lora, 0.2, 0.97, 4_887_360)),
    100,
  );
  expect(answer?.sentence).toBe(
    'LoRA r 16: 97 %. (IA)³ (96 %, 1/80 of the size) is within the noise: choose by size or time.',
  );
  expect(answer?.best.options['peft']).toBe(lora);
  expect(answer?.smaller?.options['peft']).toBe(ia3);
});

it('calls a clear difference a difference', () => {
  const answer = standingOf(
    sweep(trial(ia3, 0.5, 0.8, 61_000), trial(lora, 0.2, 0.97, 4_887_360)),
    100,
  );
  expect(answer?.sentence).toBe('LoRA r 16: 97 %. Next is (IA)³ with 80 %.');
  expect(answer?.smaller).toBeNull();
});

it('compares losses if there is no accuracy, and ignores trials without a result', () => {
  const failed = trial(ia3, 1, null, 10, { status: 'failed' });
  const near = trial({ peft_type: 'VERA' }, 2.45, null, 100);
  const answer = standingOf(
    sweep(trial(lora, 2.443, null, 1000), near, trial(ia3, 2.46, null, 900), failed),
    null,
  );
  expect(answer?.sentence).toBe(
    'LoRA r 16: validation loss 2.443. VeRA (2.450, 1/10 of the size) and (IA)³ (2.460) are within the noise: choose by size or time.',
  );
  expect(answer?.tied).toHaveLength(2);
  expect(answer?.smaller).toBe(near);
  expect(standingOf(sweep(trial(lora, 2, null, 1000)), null)?.sentence).toBe(
    'LoRA r 16: validation loss 2.000. No other trial has a result.',
  );
  expect(standingOf(sweep(failed), null)).toBeNull();
});

it('names the next trial of the list, also if it was stopped early', () => {
  const stopped = trial({ peft_type: 'LN_TUNING' }, 0.539, null, 10, { ended_at_step: 8 });
  const answer = standingOf(
    sweep(trial(lora, 0.5666, null, 1000), stopped, trial(ia3, 0.2195, null, 100)),
    null,
  );
  expect(answer?.sentence).toBe(
    '(IA)³: validation loss 0.2195. Next is LayerNorm tuning with 0.5390.',
  );
});

it('rounds sizes', () => {
  expect(partText(1 / 3)).toBe('1/3 of the size');
  expect(partText(0.0124)).toBe('1/80 of the size');
});
