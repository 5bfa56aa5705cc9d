import { describe, expect, it } from 'vitest';
import { readFact } from './fact-schema.js';

const KEY = { jobId: 'j', epoch: 1 };
const STEP = { type: 'step', ...KEY, step: 3, loss: 0.5, learningRate: 1e-3, gradNorm: 1 };
const MORE = { tokens: 10, supervisedTokens: 5, accuracy: 0.5, seconds: 0.01, rssBytes: 1 };
const step = { ...STEP, ...MORE };

describe('a fact that is heard', () => {
  it('is as it was said, NaN as null, but for fields that nobody knows', () => {
    expect(readFact({ ...step, loss: null, dir: '/etc' })).toEqual({ ...step, loss: null });
    const failed = { type: 'failed', ...KEY, code: 'from a newer trainer', message: 'no' };
    expect(readFact({ ...failed, retryable: true })).toEqual({ ...failed, retryable: true });
  });

  it.each([
    [null, 'not a fact: Invalid input: expected object, received null'],
    [{ type: 'toString' }, /^not a fact: type: /],
    [{ ...step, step: -1 }, 'the fact "step": step: Too small: expected number to be >=0'],
    [{ ...step, tokens: 2 ** 53 }, /^the fact "step": tokens: /],
    [{ ...step, jobId: 'x'.repeat(1001) }, /^the fact "step": jobId: /],
    [{ ...step, epoch: undefined }, /^the fact "step": epoch: /],
    [{ type: 'saved', ...KEY, step: 1, files: [{ name: 'a' }] }, 'files.0.sha256: '],
  ])('must be one: %j', (message, complaint) => {
    expect(() => readFact(message)).toThrow(complaint);
  });
});
