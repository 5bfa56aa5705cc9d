import { backward, keep, counterNormal, noGrad, onesLike, tidy, to, zeros } from '@graft/kernels';
import type { Dtype, Tensor } from '@graft/kernels';
import { describe, expect, it } from 'vitest';
import type { PackedRows, Sequence } from '../batch.js';
import { selfAttention } from './attention.js';
import { PackedLayout } from '../layout.js';
import { Slot } from '../sites/slots.js';
import type { VirtualInputs, VirtualPrefix } from '../sites/slots.js';

const SIZE = 8;
const LENGTHS = [5, 1, 7];
const ROWS = 13;

/** Heads of a test case, and what its queries see in addition to their own sequence: a prefix of the run. */
interface Case {
  readonly heads: number;
  readonly kvHeads: number;
  readonly window: number | null;
  readonly prefix: number;
  /** Heads of the prefix's keys. Defaults to `kvHeads`. */
  readonly prefixHeads?: number;
}

const draw = (rows: number, heads: number, site: number, dtype: Dtype): Tensor =>
  tidy(() => to(to(counterNormal([rows, heads, SIZE], { seed: 1, step: 0, site }), 'bf16'), dtype));

function layoutOf(prefix: number): PackedLayout {
  const slots = { inputs: new Slot<VirtualInputs>(), prefix: new Slot<VirtualPrefix>() };
  const nothing = { k: zeros([1]), v: zeros([1]) };
  if (prefix > 0) slots.prefix.attach(1, { length: prefix, open: () => () => nothing });
  let start = 0;
  const sequences: Sequence[] = LENGTHS.map((length) => {
    start += length;
    return { run: 1, start: start - length, length };
  });
  const batch: PackedRows = {
    inputs: new Int32Array(ROWS),
    positions: new Int32Array(ROWS),
    sequences,
  };
  return new PackedLayout(batch, slots, 'causal');
}

/** Reference implementation, row by row in double precision. */
function reference(
  { heads, kvHeads, window, prefix, prefixHeads = kvHeads }: Case,
  scale: number,
): number[] {
  const values = (rows: number, count: number, site: number): Float32Array =>
    tidy(() => draw(rows, count, site, 'f32').toArray() as Float32Array);
  const [q, k, v] = [values(ROWS, heads, 1), values(ROWS, kvHeads, 2), values(ROWS, kvHeads, 3)];
  const [pk, pv] = [
    values(Math.max(prefix, 1), prefixHeads, 4),
    values(Math.max(prefix, 1), prefixHeads, 5),
  ];
  const row = (from: Float32Array, count: number, index: number, head: number): number[] => [
    ...from.slice((index * count + head) * SIZE, (index * count + head + 1) * SIZE),
  ];
  const output: number[] = [];
  let start = 0;
  for (const length of LENGTHS) {
    for (let i = 0; i < length; i++) {
      for (let head = 0; head < heads; head++) {
        const kvHead = Math.floor(head / (heads / kvHeads));
        const prefixHead = Math.floor(head / (heads / prefixHeads));
        const seen: [number[], number[]][] = [];
        for (let j = 0; j < prefix; j++)
          seen.push([row(pk, prefixHeads, j, prefixHead), row(pv, prefixHeads, j, prefixHead)]);
        for (let j = 0; j <= i; j++) {
          seen.push([row(k, kvHeads, start + j, kvHead), row(v, kvHeads, start + j, kvHead)]);
        }
        const near = window === null ? seen : seen.slice(-window);
        const query = row(q, heads, start + i, head);
        const weights = near.map(([key]) =>
          Math.exp(scale * key.reduce((sum, x, d) => sum + x * (query[d] as number), 0)),
        );
        const total = weights.reduce((a, b) => a + b, 0);
        for (let d = 0; d < SIZE; d++) {
          output.push(
            near.reduce(
              (sum, [, value], j) => sum + ((weights[j] as number) / total) * (value[d] as number),
              0,
            ),
          );
        }
      }
    }
    start += length;
  }
  return output;
}

const CASES: readonly Case[] = [
  { heads: 4, kvHeads: 2, window: null, prefix: 0 },
  { heads: 6, kvHeads: 2, window: null, prefix: 3 },
  { heads: 2, kvHeads: 2, window: 3, prefix: 0 },
  { heads: 4, kvHeads: 1, window: 4, prefix: 5 },
  { heads: 4, kvHeads: 2, window: null, prefix: 3, prefixHeads: 4 },
];

/** bf16 has 8 significant bits, and scores are rounded to bf16 too. */
describe.each<[Dtype, number]>([
  ['f32', 1e-5],
  ['bf16', 3e-2],
])('%s', (dtype, tolerance) => {
  it.each(CASES)('%j', (given) => {
    const scale = 0.4;
    const layout = layoutOf(given.prefix);
    const leaves = [1, 2, 3, 4, 5].map((site) => {
      const { kvHeads, prefixHeads = kvHeads } = given;
      const rows = site > 3 ? Math.max(given.prefix, 1) : ROWS;
      const heads = site === 1 ? given.heads : site > 3 ? prefixHeads : kvHeads;
      const t = keep(draw(rows, heads, site, dtype));
      t.requiresGrad = true;
      return t;
    });
    const [q, k, v, pk, pv] = leaves as [Tensor, Tensor, Tensor, Tensor, Tensor];
    const run = (): Tensor =>
      selfAttention(
        q,
        { k, v },
        { scale, causal: true, window: given.window },
        { layout, kept: 0, prefix: () => ({ k: pk, v: pv }), cache: undefined },
      );
    const expected = reference(given, scale);
    const found = noGrad(() => tidy(() => to(run(), 'f32').toArray() as Float32Array));
    expect(found.length).toBe(expected.length);
    found.forEach((value, i) =>
      expect(Math.abs(value - (expected[i] as number))).toBeLessThan(tolerance),
    );
    // attention weights sum to one, so the gradients of the values sum to those of the outputs
    tidy(() => {
      const output = run();
      backward([output], [onesLike(output)]);
      const summed = [v, ...(given.prefix > 0 ? [pv] : [])];
      const total = summed.reduce(
        (sum, t) =>
          sum + (to(t.grad as Tensor, 'f32').toArray() as Float32Array).reduce((a, b) => a + b, 0),
        0,
      );
      expect(total / (ROWS * given.heads * SIZE)).toBeCloseTo(1, dtype === 'f32' ? 4 : 1);
    });
    leaves.forEach((t) => t.dispose());
  });
});
