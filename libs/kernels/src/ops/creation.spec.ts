import { expect, it } from 'vitest';
import { numbers } from '../../test/near.js';
import { arange, empty, full, ones, onesLike, tensor, tidy, zeros, zerosLike } from '../index.js';

it('fills tensors with a value', () => {
  tidy(() => {
    expect(numbers(zeros([2, 2]))).toEqual([0, 0, 0, 0]);
    expect(numbers(ones([2], 'bf16'))).toEqual([1, 1]);
    expect(numbers(full([2], 2.5))).toEqual([2.5, 2.5]);
    expect(full([1], 3, 'i64').toArray()).toEqual(new BigInt64Array([3n]));
    expect(empty([3, 0, 2], 'u8')).toMatchObject({
      shape: [3, 0, 2],
      dtype: 'u8',
      size: 0,
      device: 'cpu',
    });
  });
});

it('counts with arange', () => {
  tidy(() => {
    expect(numbers(arange(2, 5))).toEqual([2, 3, 4]);
    expect(arange(0, 3).dtype).toBe('i64');
    expect(numbers(arange(0, 1, 0.25, 'f32'))).toEqual([0, 0.25, 0.5, 0.75]);
    expect(numbers(arange(3, 0, -1))).toEqual([3, 2, 1]);
  });
});

it('copies shape and dtype of another', () => {
  tidy(() => {
    const t = tensor([1, 2], [1, 2], 'f64');
    expect([zerosLike(t), onesLike(t)].map(numbers)).toEqual([
      [0, 0],
      [1, 1],
    ]);
    expect(zerosLike(t)).toMatchObject({ shape: [1, 2], dtype: 'f64' });
    expect(onesLike(t, 'i8').dtype).toBe('i8');
  });
});
