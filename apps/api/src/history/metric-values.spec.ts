import { expect, it } from 'vitest';
import { measured, openAiValues, valueOf, valuesText } from './metric-values.js';

it('stores values that are not finite as strings and returns them as null', () => {
  const stored = JSON.parse(valuesText({ loss: NaN, up: Infinity, down: -Infinity, x: 0.1 })) as {
    loss: string;
  };
  expect(stored).toEqual({ loss: 'NaN', up: 'Infinity', down: '-Infinity', x: 0.1 });
  expect([valueOf(stored, 'loss'), valueOf(stored, 'up')]).toEqual([NaN, Infinity]);
  expect(valueOf(stored, 'nowhere')).toBe(NaN);
  expect(measured(7, { step: 1, loss: 2 })).toEqual({ step: 7, loss: 2 });
  expect(measured(3, stored)).toEqual({ step: 3, loss: null, up: null, down: null, x: 0.1 });
});

it("returns the metrics that charts show, under OpenAI's names", () => {
  const values = { loss: 1, accuracy: 0.5, supervised_tokens: 9, grad_norm: 1, other: 2 };
  expect(openAiValues('causal_lm', 'train', values)).toEqual({
    train_loss: 1,
    train_mean_token_accuracy: 0.5,
  });
  expect(openAiValues('from_a_newer_build', 'valid', values)).toEqual({});
});
