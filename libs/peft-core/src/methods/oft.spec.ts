import { setThreads } from '@graft/kernels';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { largest, OneLinear, refusal, worst } from '../../test/one-linear.js';
import { checkPeft } from '../catalog.js';

const stirred = { peft_type: 'OFT', oft_block_size: 8, init_weights: false };

let q: OneLinear;
beforeAll(() => {
  setThreads(1);
  q = new OneLinear();
});
afterAll(() => q.close());

// q is 32 × 32
it.each([
  { oft_block_size: 4 },
  { oft_block_size: 7 },
  { oft_block_size: 100 },
  { oft_block_size: 0, r: 2 },
  { block_share: true },
  { use_cayley_neumann: false },
  { num_cayley_neumann_terms: 2 },
  { num_cayley_neumann_terms: 9 },
  { coft: true, eps: 1e-2 },
])('%o: the forward pass equals the merged weight', (fields) => {
  const { update, merged } = q.outcome({ ...stirred, ...fields });
  expect(largest(merged)).toBeGreaterThan(1e-3);
  expect(worst(update, merged)).toBeLessThan(2e-5);
});

it.each([
  [{ oft_block_size: 7 }, 4 * 28],
  // of two equally near divisors, the smaller
  [{ oft_block_size: 12 }, 4 * 28],
  [{ oft_block_size: 13 }, 2 * 120],
  [{ oft_block_size: 0, r: 5 }, 4 * 28],
  [{ oft_block_size: 8, block_share: true }, 28],
])('%o has %i trainable parameters', (fields, count) => {
  expect(q.outcome({ ...stirred, ...fields }).parts.get('oft_R')?.length).toBe(count);
});

it('starts as the base', () => {
  expect(largest(q.outcome({ ...stirred, init_weights: true }).update)).toBe(0);
});

it('more terms are closer to the exact transform', () => {
  const update = (terms: number): Float32Array =>
    q.outcome({ ...stirred, num_cayley_neumann_terms: terms }).update;
  expect(worst(update(40), update(60))).toBeLessThan(1e-5);
  expect(worst(update(5), update(60))).toBeLessThan(worst(update(2), update(60)));
});

it('constrained: training shortens the parameter itself, reading does not', () => {
  const fields = { ...stirred, coft: true, eps: 1e-2 };
  const length = (block: Float32Array): number => Math.hypot(...block) * Math.SQRT2;
  const lengths = (training: boolean): number[] => {
    const angles = q.outcome(fields, { training }).parts.get('oft_R') as Float32Array;
    return [0, 1, 2, 3].map((i) => length(angles.slice(i * 28, (i + 1) * 28)));
  };
  for (const each of lengths(true)) expect(each).toBeCloseTo(1e-2 / 2, 6);
  for (const each of lengths(false)) expect(each).toBeGreaterThan(0.1);
  expect(q.outcome(fields, { training: true }).update).toEqual(q.outcome(fields).update);
});

it.each([
  [{ r: 4 }, 'oft_block_size', /either r or oft_block_size, got r 4 and oft_block_size 32/],
  [{ oft_block_size: 0 }, 'oft_block_size', /must be above 0/],
  [{ module_dropout: 0.1 }, 'module_dropout', /not supported/],
])('rejects %o', (fields, field, message) => {
  const check = (): unknown => checkPeft({ peft_type: 'OFT', ...fields }, 'llama');
  expect(check).toThrow(expect.objectContaining({ param: `peft.${field}` }));
  expect(check).toThrow(message);
});

it('rejects weights that are stored [in, out]', () => {
  expect(refusal({ peft_type: 'OFT' }, 'gpt2')).toMatchObject({
    code: 'unsupported',
    param: 'peft.peft_type',
  });
});
