import { describe, expect, it } from 'vitest';
import { cpo } from './cpo.js';
import { oddsRatio, orpo } from './orpo.js';

const issues = (options: object) => cpo.options.safeParse(options).error?.issues;

describe('cpo options', () => {
  it('have TRL’s names and defaults', () =>
    expect(cpo.options.parse({})).toEqual({
      beta: 0.1,
      loss_type: 'sigmoid',
      cpo_alpha: 1,
      simpo_gamma: 0.5,
      label_smoothing: 0,
    }));

  it.each([
    [{ loss_type: 'simpo', beta: 10, cpo_alpha: 0, simpo_gamma: 1.4, label_smoothing: 0.1 }],
    [{ loss_type: 'ipo', cpo_alpha: 0 }],
    [{ label_smoothing: 0.2 }],
  ])('accept %j', (options) => expect(issues(options)).toBeUndefined());

  it.each([
    [{ simpo_gamma: 1 }, 'simpo_gamma', /requires loss_type "simpo"/],
    [{ loss_type: 'hinge', label_smoothing: 0.1 }, 'label_smoothing', /"sigmoid" or "simpo"/],
    [{ label_smoothing: 0.5 }, 'label_smoothing', /./],
    [{ beta: 0 }, 'beta', /./],
  ])('reject %j', (options, field, reason) =>
    expect(issues(options)).toMatchObject([
      { path: [field], message: expect.stringMatching(reason) as unknown },
    ]),
  );
});

it('counts no rows for a reference model', () => {
  const sequence = { text: 'ab', spans: [[1, Infinity]], special: false, ends: false } as const;
  const tokenizer = {
    encodeBatch: (texts: readonly string[]) =>
      texts.map(() => ({ ids: Int32Array.of(1, 2), starts: Int32Array.of(0, 1) })),
  };
  for (const task of [cpo, orpo]) {
    const [encoded] = task.encode([[sequence, sequence]], { tokenizer } as never, { maxSeqLen: 9 });
    expect(encoded!.example).toMatchObject({ tokenCount: 4, rows: 4 });
  }
});

// In f32, log p of a memorized text is 0.
it('has finite odds for an answer with probability 1', () => {
  const [certain, not] = [
    { log: 0, tokens: 3 },
    { log: -6, tokens: 3 },
  ];
  const learnt = oddsRatio.score(certain, not, { beta: 0.1 });
  expect(learnt.loss).toBeLessThan(1e-6);
  const wrong = oddsRatio.score(not, certain, { beta: 0.1 });
  for (const one of [learnt, wrong])
    for (const value of [one.loss, ...one.slopes]) expect(Number.isFinite(value)).toBe(true);
  expect(wrong.loss).toBeGreaterThan(1);
});
