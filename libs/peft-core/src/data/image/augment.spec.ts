import { tensor, tidy } from '@graft/kernels';
import { describe, expect, it } from 'vitest';
import { augmented, drawn, type Augmentation } from './augment.js';

const NONE = { random_flip: false, random_crop: null, color_jitter: null };
const ALL = { random_flip: true, random_crop: 0.4, color_jitter: 0.3 };
const SIZE = [20, 30] as const;
const keys = Array.from({ length: 400 }, (_, i) => ({ seed: 5, epoch: i % 7, place: i }));

describe('drawn augmentations', () => {
  it('are null by default, and equal for equal keys', () => {
    expect(drawn(NONE, keys[0]!, SIZE)).toBeNull();
    for (const key of keys) expect(drawn(ALL, key, SIZE)).toEqual(drawn(ALL, { ...key }, SIZE));
    const [a, b, c] = [{}, { epoch: 1 }, { place: 1 }].map((change) =>
      drawn(ALL, { seed: 5, epoch: 0, place: 0, ...change }, SIZE),
    );
    expect(a).not.toEqual(b);
    expect(a).not.toEqual(c);
  });

  it('stay in their ranges, and half are flipped', () => {
    const all = keys.map((key) => drawn(ALL, key, SIZE) as Augmentation);
    const flips = all.filter(({ flips }) => flips).length;
    expect(Math.abs(flips - 200)).toBeLessThan(40);
    const shares = all.map(({ crop, jitter }) => {
      const [top, left, height, width] = crop!;
      expect(top).toBeGreaterThanOrEqual(0);
      expect(left).toBeGreaterThanOrEqual(0);
      expect(top + height).toBeLessThanOrEqual(20);
      expect(left + width).toBeLessThanOrEqual(30);
      for (const factor of jitter!) expect(Math.abs(factor - 1)).toBeLessThanOrEqual(0.3);
      return (height * width) / 600;
    });
    // sides are integers
    expect(Math.min(...shares)).toBeGreaterThan(0.36);
    expect(Math.min(...shares)).toBeLessThan(0.45);
    expect(Math.max(...shares)).toBeGreaterThan(0.8);
  });

  it('do not depend on other options', () => {
    const alone = drawn({ ...ALL, random_crop: null }, keys[3]!, SIZE);
    expect(alone).toMatchObject({ ...drawn(ALL, keys[3]!, SIZE), crop: null });
  });
});

describe('an image', () => {
  const image = Uint8Array.from({ length: 3 * 4 * 6 }, (_, i) => (i * 37) % 256);
  const made = (changes: Partial<Augmentation>): Float32Array =>
    tidy(() => {
      const all = { crop: null, flips: false, jitter: null, ...changes };
      return augmented(tensor(image, [3, 4, 6]), all, 'bilinear').toArray() as Float32Array;
    });

  it('is unchanged by a full window, factors of 1, and flipping twice', () => {
    expect([...made({ crop: [0, 0, 4, 6] })]).toEqual([...image]);
    made({ jitter: [1, 1, 1] }).forEach((value, i) => expect(value).toBeCloseTo(image[i]!, 3));
    const row = (of: ArrayLike<number>): number[] => Array.from(of).slice(0, 6);
    expect(row(made({ flips: true }))).toEqual(row(image).reverse());
  });

  it('has the colors of the formula', () => {
    // 0.5 x, then 0.8 x + 0.2 mean(g), then 1.5 x - 0.5 g
    const grey = (x: number[], i: number): number =>
      0.2989 * x[i]! + 0.587 * x[i + 24]! + 0.114 * x[i + 48]!;
    const held = (v: number): number => Math.min(255, Math.max(0, v));
    const bright = Array.from(image, (v) => 0.5 * v);
    const greys = Array.from({ length: 24 }, (_, i) => grey(bright, i));
    const mean = greys.reduce((sum, v) => sum + v, 0) / 24;
    const contrast = bright.map((v) => held(0.8 * v + 0.2 * mean));
    const wanted = contrast.map((v, i) => held(1.5 * v - 0.5 * grey(contrast, i % 24)));
    made({ jitter: [0.5, 0.8, 1.5] }).forEach((v, i) => expect(v).toBeCloseTo(wanted[i]!, 3));
  });
});
