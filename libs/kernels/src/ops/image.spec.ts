import { expect, it } from 'vitest';
import * as k from '../index.js';

it('resizeImage averages where it shrinks, and u8 stays u8', () => {
  k.tidy(() => {
    const image = k.tensor(Uint8Array.of(0, 10, 20, 30, 40, 50, 60, 70), [1, 1, 2, 4]);
    const half = k.resizeImage(image, [2, 2], 'bilinear');
    expect(half).toMatchObject({ dtype: 'u8', shape: [1, 1, 2, 2] });
    // a triangle with weights 3, 3, 1 over three pixels at each end
    expect([...half.toArray()]).toEqual([7, 23, 47, 63]);
  });
});

it('flip reverses an axis', () => {
  k.tidy(() => {
    const image = k.tensor([1, 2, 3, 4], [1, 2, 2]);
    expect([...k.flip(image, [2]).toArray()]).toEqual([2, 1, 4, 3]);
  });
});

it('interpolateBicubic uses four pixels around each position', () => {
  k.tidy(() => {
    const image = k.tensor([0, 4, 8, 12], [1, 1, 1, 4]);
    // torch.nn.functional.interpolate(x, size=(1, 8), mode="bicubic", align_corners=False)
    const found = [...k.interpolateBicubic(image, [1, 8]).toArray()].map(Number);
    const expected = [
      -0.421875, 0.765625, 2.671875, 5.1875, 6.8125, 9.328125, 11.234375, 12.421875,
    ];
    found.forEach((value, i) => expect(value).toBeCloseTo(expected[i] as number, 5));
  });
});
