import { add, mul, noGrad, tensor, tidy, to } from '@graft/kernels';
import type { LowRank, Tensor } from '@graft/kernels';
import { expect, it } from 'vitest';
import type { ForwardContext } from '../context.js';
import { Linear } from './linear.js';
import type { LinearAdapter } from './linear.js';
import { DenseWeight } from '../weight.js';
import type { Weight } from '../weight.js';

/** W = [[1, 2], [3, 4]]. Records the number of rows of each product. */
class CountingWeight implements Weight {
  readonly products: number[] = [];
  readonly #dense = new DenseWeight(tensor([1, 2, 3, 4], [2, 2]));
  readonly outFeatures = 2;
  readonly inFeatures = 2;
  readonly bytes = 16;

  multiply(x: Tensor, bias: Tensor | null): Tensor {
    this.products.push(x.shape[0] as number);
    return this.#dense.multiply(x, bias);
  }

  dense(): Tensor {
    return this.#dense.dense();
  }
}

/** Passes two rows of ones per run through W and the bias [10, 20]. */
function forward(adapters: readonly LinearAdapter[][]): { rows: number[][]; products: number[] } {
  return tidy(() => {
    const weight = new CountingWeight();
    const linear = new Linear({
      path: 'q',
      role: 'q',
      layer: 0,
      index: 0,
      weight,
      bias: tensor([10, 20], [2]),
      transposed: false,
    });
    adapters.forEach((each, run) => each.forEach((adapter) => linear.attach(run, adapter)));
    const ctx: ForwardContext = {
      training: false,
      runs: new Map(),
      rows: adapters.map((_, run) => ({ run, start: 2 * run, length: 2 })),
    };
    const x = tensor(
      adapters.flatMap(() => [1, 1, 1, 1]),
      [2 * adapters.length, 2],
    );
    const y = linear.forward(x, ctx).toArray() as Float32Array;
    const rows = adapters.map((_, run) => [y[4 * run] as number, y[4 * run + 1] as number]);
    return { rows, products: weight.products };
  });
}

const BARE: LinearAdapter[] = [];
const twiceBefore: LinearAdapter = { before: (x) => mul(x, 2) };
const plusAfter: LinearAdapter = { after: (y) => add(y, 1) };
const biased: LinearAdapter = { bias: () => tensor([1, 2], [2]) };
const identity: LinearAdapter = { weight: () => tensor([1, 0, 0, 1], [2, 2]) };
/** Subtracts from y the bias that it contains. */
const unbiased: LinearAdapter = {
  after: (y, _, { bias }) => (bias ? add(y, mul(bias, -1)) : y),
};

it('combines before, weight, bias and after', () => {
  expect(forward([[twiceBefore, plusAfter]]).rows).toEqual([[17, 35]]);
  expect(forward([[identity]]).rows).toEqual([[11, 21]]);
  expect(forward([[identity, biased]]).rows).toEqual([[2, 3]]);
  expect(forward([[twiceBefore, identity, biased, plusAfter]]).rows).toEqual([[4, 5]]);
});

it("passes the bias that y contains to adapters, including a run's own", () => {
  expect(forward([[unbiased]]).rows).toEqual([[3, 7]]);
  expect(forward([[unbiased, biased]]).rows).toEqual([[3, 7]]);
  expect(forward([[identity, biased, unbiased]]).rows).toEqual([[1, 1]]);
});

it('computes one product for all runs of a batch, whatever adapters do before and after it', () => {
  const { rows, products } = forward([BARE, [twiceBefore], [plusAfter], [biased]]);
  expect(rows).toEqual([
    [13, 27],
    [16, 34],
    [14, 28],
    [4, 9],
  ]);
  expect(products).toEqual([8]);
});

it('multiplies only rows with a weight of their own separately', () => {
  const { rows, products } = forward([BARE, [identity], [twiceBefore], [identity, biased]]);
  expect(rows).toEqual([
    [13, 27],
    [11, 21],
    [16, 34],
    [2, 3],
  ]);
  expect(products).toEqual([4]);
  expect(forward([[identity], [identity]]).products).toEqual([]);
});

/**
 * Low-rank adapter that adds `factor` times the sum of x to each output. If it is not fused, it adds 100
 * instead.
 */
const lowRank = (factor: number, dtype: 'f32' | 'bf16' = 'f32'): LinearAdapter => ({
  lowRank: ({ active }): LowRank | null =>
    active
      ? null
      : {
          a: to(tensor([1, 1], [1, 2]), dtype),
          b: to(tensor([1, 1], [2, 1]), dtype),
          scale: factor,
        },
  after: (y) => add(y, 100),
});

const bare = (weight: number[]): Linear =>
  new Linear({
    path: 'q',
    role: 'q',
    layer: 0,
    index: 0,
    weight: new DenseWeight(to(tensor(weight, [2, 2]), 'bf16')),
    bias: null,
    transposed: false,
  });

it('fuses low-rank adapters of few rows, whatever the previous rows were', () => {
  noGrad(() =>
    tidy(() => {
      const [one, other] = [bare([1, 2, 3, 4]), bare([0, 0, 0, 0])];
      const ones = (rows: number): Tensor => to(tensor(Array<number>(2 * rows).fill(1), [rows, 2]), 'bf16'); // prettier-ignore
      const made = (lengths: readonly number[], more: Partial<ForwardContext> = {}): number[][] => {
        const rows = lengths.map((length, run) => ({
          run,
          start: lengths.slice(0, run).reduce((sum, each) => sum + each, 0),
          length,
        }));
        const ctx = { training: false, runs: new Map(), rows, ...more };
        const x = ones(lengths.reduce((sum, each) => sum + each, 0));
        const each = Linear.each([one, other], x, ctx).map((y) => [...y.toArray()].map(Number));
        expect([one, other].map((each) => [...each.forward(x, ctx).toArray()].map(Number))).toEqual(each); // prettier-ignore
        return each.map((y) => y.filter((_, i) => i % 2 === 0));
      };
      one.attach(0, lowRank(10));
      other.attach(1, lowRank(0.5));
      for (const again of [1, 2])
        expect(made([1, 2]), `${again}`).toEqual([
          [23, 3, 3],
          [0, 1, 1],
        ]);
      expect(made([2, 1])).toEqual([
        [23, 23, 3],
        [0, 0, 1],
      ]);
      one.detach(0);
      one.attach(1, lowRank(20));
      expect(made([2, 1])).toEqual([
        [3, 3, 43],
        [0, 0, 1],
      ]);
      // an adapter that acts on some rows only is not fused, in this forward pass alone
      const active = new Map([[1, ones(1)]]);
      expect(made([2, 1], { active })[0]).toEqual([3, 3, 103]);
      expect(made([2, 1])[0]).toEqual([3, 3, 43]);
      // limits for rank 1: 128 rows in f32, 8192 in bf16
      const last = (rows: number): unknown => made([1, rows])[0]?.at(-1);
      expect([128, 129].map(last)).toEqual([43, 103]);
      one.detach(1);
      one.attach(1, lowRank(20, 'bf16'));
      expect([129, 8192, 8193].map(last)).toEqual([43, 43, 103]);
    }),
  );
});
