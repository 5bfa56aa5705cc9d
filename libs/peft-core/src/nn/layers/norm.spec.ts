import { backward, counterNormal, mul, tensor, tidy, to } from '@graft/kernels';
import type { Dtype, Tensor } from '@graft/kernels';
import { describe, expect, it } from 'vitest';
import { Norm } from './norm.js';

const [ROWS, SIZE, EPS] = [5, 24, 1e-6];
const f = Math.fround;

/** Rounds to the nearest bf16, ties to even. */
function bf16(value: number): number {
  const bits = new Uint32Array(Float32Array.of(value).buffer)[0] as number;
  const rounded = (bits + 0x7fff + ((bits >>> 16) & 1)) & 0xffff0000;
  return new Float32Array(Uint32Array.of(rounded).buffer)[0] as number;
}

const draw = (shape: readonly number[], site: number, dtype: Dtype): Tensor =>
  to(counterNormal([...shape], { seed: 4, step: 0, site }), dtype).detach();
const floats = (t: Tensor): number[] => [...(to(t, 'f32').toArray() as Float32Array)];

/** Reference implementation, row by row. */
function expected(
  kind: 'rms' | 'rms_wide' | 'rms_from_one',
  x: number[],
  w: number[],
  isHalf: boolean,
): number[] {
  const round = isHalf ? bf16 : f;
  return x.map((value, i) => {
    const row = x.slice(i - (i % SIZE), i - (i % SIZE) + SIZE);
    const normed = value / Math.sqrt(row.reduce((sum, v) => sum + v * v, 0) / SIZE + EPS);
    const weight = w[i % SIZE] as number;
    if (kind === 'rms') return round(round(normed) * weight);
    return round(normed * (kind === 'rms_wide' ? weight : 1 + weight));
  });
}

describe.each(['rms', 'rms_wide', 'rms_from_one'] as const)('%s', (kind) => {
  it.each(['f32', 'bf16'] as const)('matches the reference in %s', (dtype) => {
    tidy(() => {
      const [x, weight] = [draw([ROWS, SIZE], 1, dtype), draw([SIZE], 2, dtype)];
      const ctx = { training: true, runs: new Map(), rows: [] };
      const ours = floats(new Norm('norm', kind, EPS, weight, null).forward(x, ctx));
      const wanted = expected(kind, floats(x), floats(weight), dtype === 'bf16');
      // another order of summation may change how a value between two bf16 numbers rounds
      const tolerance = dtype === 'bf16' ? 2 ** -7 : 1e-6;
      ours.forEach((value, i) =>
        expect(Math.abs(value - (wanted[i] as number))).toBeLessThanOrEqual(
          tolerance * Math.abs(wanted[i] as number),
        ),
      );
    });
  });
});

it.each([1e-12, 1e-5, 1e-3])('a LayerNorm uses its own epsilon, %d', (eps) => {
  tidy(() => {
    // rows whose variance is close to epsilon, so that epsilon affects the result
    const x = mul(draw([ROWS, SIZE], 1, 'f32'), Math.sqrt(eps));
    const [weight, bias] = [draw([SIZE], 2, 'f32'), draw([SIZE], 3, 'f32')];
    const ctx = { training: true, runs: new Map(), rows: [] };
    const ours = floats(new Norm('norm', 'layer', eps, weight, bias).forward(x, ctx));
    const [values, w, b] = [floats(x), floats(weight), floats(bias)];
    ours.forEach((value, i) => {
      const row = values.slice(i - (i % SIZE), i - (i % SIZE) + SIZE);
      const mean = row.reduce((sum, v) => sum + v, 0) / SIZE;
      const variance = row.reduce((sum, v) => sum + (v - mean) ** 2, 0) / SIZE;
      const normed = ((values[i] as number) - mean) / Math.sqrt(variance + eps);
      expect(value).toBeCloseTo(normed * (w[i % SIZE] as number) + (b[i % SIZE] as number), 5);
    });
  });
});

it('rounds only once if it scales in f32', () => {
  tidy(() => {
    const [x, weight] = [draw([64, SIZE], 3, 'bf16'), draw([SIZE], 4, 'bf16')];
    const ctx = { training: true, runs: new Map(), rows: [] };
    const exact = expected('rms_wide', floats(x), floats(weight), true);
    const misses = (kind: 'rms' | 'rms_wide'): number =>
      floats(new Norm('norm', kind, EPS, weight, null).forward(x, ctx)).filter(
        (value, i) => value !== exact[i],
      ).length;
    expect(misses('rms_wide')).toBeLessThan(3);
    expect(misses('rms')).toBeGreaterThan(100);
  });
});

it('computes the gradient of a weight that is an offset from one', () => {
  tidy(() => {
    const x = tensor([3, 4], [1, 2]);
    const weight = tensor([0, 0], [2]);
    weight.requiresGrad = true;
    const norm = new Norm('norm', 'rms_from_one', EPS, tensor([0, 0], [2]), null);
    norm.attach(1, { weight });
    const rows = [{ run: 1, start: 0, length: 1 }];
    const y = norm.forward(x, { training: true, runs: new Map(), rows });
    backward([y], [tensor([1, 1], [1, 2])]);
    const root = Math.sqrt(12.5);
    expect(floats(weight.grad as Tensor)).toEqual([
      expect.closeTo(3 / root, 5),
      expect.closeTo(4 / root, 5),
    ]);
  });
});
