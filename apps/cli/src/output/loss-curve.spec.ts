import { expect, it } from 'vitest';
import { LossCurve } from './loss-curve.js';

function curveOf(losses: readonly number[]): LossCurve {
  const curve = new LossCurve();
  for (const [n, loss] of losses.entries()) curve.add(n + 1, loss);
  return curve;
}

it('is empty before the first step', () => {
  const curve = new LossCurve();
  expect(curve.average).toBeNull();
  expect(curve.sparkline(8)).toBe('');
});

it('averages noisy losses', () => {
  const noisy = Array.from({ length: 200 }, (_, n) => 2 + (n % 2 === 0 ? 0.5 : -0.5));
  const { average } = curveOf(noisy);
  expect(Math.abs((average ?? 0) - 2)).toBeLessThan(0.05);
});

it('draws a falling curve', () => {
  const falling = Array.from({ length: 80 }, (_, n) => 80 - n);
  expect(curveOf(falling).sparkline(8)).toBe('█▇▆▅▄▃▂▁');
});

it('replaces the steps that a resumed run repeats', () => {
  const curve = curveOf([3, 2, 9, 9]);
  curve.add(3, 1);
  curve.add(4, 0.5);
  expect(curve.average).toBe(curveOf([3, 2, 1, 0.5]).average);
});
