import { describe, expect, it } from 'vitest';
import { readFact } from './fact-schema.js';

const KEY = { jobId: 'j', attempt: 1 };
const metrics = { loss: 0.5, learning_rate: 1e-3, grad_norm: 1, 'rewards/margin': 2 };
const step = {
  type: 'step',
  ...KEY,
  step: 3,
  tokens: 10,
  seconds: 0.01,
  waitedSeconds: 0,
  rssBytes: 1,
  metrics,
};
const answer = {
  type: 'answer',
  id: 'a',
  kind: 'infer',
  piece: { answers: ['AAAA'], prompt_tokens: 3 },
  last: true,
  errorCode: null,
  errorMessage: null,
};
const many = Object.fromEntries(Array.from({ length: 65 }, (_, n) => [`m${n}`, n]));

describe('a fact that is heard', () => {
  it('is as it was said, NaN as null, but for fields that nobody knows', () => {
    const nan = { ...step, metrics: { ...metrics, loss: null } };
    expect(readFact({ ...nan, dir: '/etc' })).toEqual(nan);
    const failed = { type: 'failed', ...KEY, code: 'from a newer trainer', message: 'no' };
    expect(readFact({ ...failed, retryable: true })).toEqual({ ...failed, retryable: true });
    expect(readFact({ ...answer, other: 1 })).toEqual(answer);
    expect(readFact({ ...answer, piece: null })).toEqual({ ...answer, piece: null });
  });

  it.each([
    [null, 'not a fact: Invalid input: expected object, received null'],
    [{ type: 'toString' }, /^not a fact: type: /],
    [{ ...step, step: -1 }, 'the fact "step": step: Too small: expected number to be >=0'],
    [{ ...step, tokens: 2 ** 53 }, /^the fact "step": tokens: /],
    [{ ...step, jobId: 'x'.repeat(1001) }, /^the fact "step": jobId: /],
    [{ ...step, attempt: undefined }, /^the fact "step": attempt: /],
    [{ ...step, metrics: { 'a,b': 1 } }, /^the fact "step": metrics.a,b: /],
    [{ ...step, metrics: { loss: '1' } }, /^the fact "step": metrics.loss: /],
    [{ ...step, metrics: many }, 'the fact "step": metrics: more than 64 numbers'],
    [{ type: 'saved', ...KEY, step: 1, files: [{ name: 'a' }] }, 'files.0.sha256: '],
    [{ ...answer, kind: 'generate' }, /^the fact "answer": piece.text: /],
    [{ ...answer, kind: 'draw' }, /^the fact "answer": kind: /],
    [{ ...answer, piece: 'AAAA' }, /^the fact "answer": piece: /],
    [{ ...answer, piece: undefined }, /^the fact "answer": piece: /],
  ])('must be one: %j', (message, complaint) => {
    expect(() => readFact(message)).toThrow(complaint);
  });
});
