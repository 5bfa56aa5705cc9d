import type { Spec } from '@graft/contracts';
import { expect, it } from 'vitest';
import { cursorAt, totalSteps } from './cursor.js';

const spec = (fields: Partial<Spec>): Spec =>
  ({
    batch_size: 4,
    gradient_accumulation_steps: 2,
    n_epochs: 3,
    max_steps: null,
    ...fields,
  }) as Spec;

it('visits every example once per epoch; the last step takes the rest', () => {
  const each = spec({});
  expect(totalSteps(each, 21)).toBe(9);
  const epochs = Array.from({ length: 9 }, (_, step) => cursorAt(each, 21, step));
  expect(epochs.slice(0, 4)).toEqual([
    { epoch: 0, from: 0, to: 8 },
    { epoch: 0, from: 8, to: 16 },
    { epoch: 0, from: 16, to: 21 },
    { epoch: 1, from: 0, to: 8 },
  ]);
  expect(epochs.reduce((sum, { from, to }) => sum + to - from, 0)).toBe(63);
});

it('stops at max_steps or after the epochs, whichever is first', () => {
  expect(totalSteps(spec({ max_steps: 5 }), 21)).toBe(5);
  expect(totalSteps(spec({ max_steps: 50 }), 21)).toBe(9);
});
