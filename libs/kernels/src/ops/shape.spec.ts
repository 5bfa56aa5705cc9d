import { describe, expect, it } from 'vitest';
import { numbers } from '../../test/near.js';
import * as k from '../index.js';
import type { Tensor } from '../index.js';

const idx = (...values: number[]): Tensor => k.tensor(values, [values.length], 'i64');
const x = k.tensor([1, 2, 3, 4, 5, 6], [2, 3]);
const seen = (t: Tensor): [readonly number[], number[]] => [t.shape, numbers(t)];

describe('views and shapes', () => {
  it.each<[string, () => Tensor, number[], number[]]>([
    ['view', () => k.view(x, [3, -1]), [3, 2], [1, 2, 3, 4, 5, 6]],
    ['reshape', () => k.reshape(k.transpose(x, 0, 1), [6]), [6], [1, 4, 2, 5, 3, 6]],
    ['transpose', () => k.transpose(x, -1, 0), [3, 2], [1, 4, 2, 5, 3, 6]],
    ['permute', () => k.permute(k.view(x, [1, 2, 3]), [2, 0, 1]), [3, 1, 2], [1, 4, 2, 5, 3, 6]],
    ['unsqueeze', () => k.unsqueeze(x, 1), [2, 1, 3], [1, 2, 3, 4, 5, 6]],
    ['squeeze', () => k.squeeze(k.view(x, [1, 6, 1])), [6], [1, 2, 3, 4, 5, 6]],
    ['squeeze dim', () => k.squeeze(k.view(x, [1, 6, 1]), 0), [6, 1], [1, 2, 3, 4, 5, 6]],
    ['expand', () => k.expand(k.narrow(x, 0, 0, 1), [2, -1]), [2, 3], [1, 2, 3, 1, 2, 3]],
    ['contiguous', () => k.contiguous(k.transpose(x, 0, 1)), [3, 2], [1, 4, 2, 5, 3, 6]],
    ['cat', () => k.cat([x, x], 1), [2, 6], [1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6]],
    ['stack', () => k.stack([idx(1), idx(2)]), [2, 1], [1, 2]],
    [
      'repeatInterleave',
      () => k.repeatInterleave(x, 2, 0),
      [4, 3],
      [1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6],
    ],
    ['narrow', () => k.narrow(x, 1, 1, 2), [2, 2], [2, 3, 5, 6]],
    ['unfold', () => k.unfold(x, 1, 2, 1), [2, 2, 2], [1, 2, 2, 3, 4, 5, 5, 6]],
    ['select', () => k.select(x, 1, -1), [2], [3, 6]],
    ['indexSelect', () => k.indexSelect(x, 1, idx(2, 2, 0)), [2, 3], [3, 3, 1, 6, 6, 4]],
    ['gather', () => k.gather(x, 1, k.view(idx(2, 0), [2, 1])), [2, 1], [3, 4]],
    ['index', () => k.index(x, [idx(1, 0), idx(0, 2)]), [2], [4, 3]],
    ['index with :', () => k.index(x, [null, idx(1)]), [2, 1], [2, 5]],
    [
      'indexPut',
      () => k.indexPut(x, [idx(1, 0), idx(0, 2)], k.tensor([8, 9], [2])),
      [2, 3],
      [1, 2, 9, 8, 5, 6],
    ],
    [
      'indexPut with :',
      () => k.indexPut(x, [null, idx(1)], k.tensor([8, 9], [2, 1])),
      [2, 3],
      [1, 8, 3, 4, 9, 6],
    ],
    ['upperIndices', () => k.upperIndices(3), [2, 3], [0, 0, 1, 1, 2, 2]],
    [
      'blockDiagonal',
      () => k.blockDiagonal([x, k.ones([1, 1])]),
      [3, 4],
      [1, 2, 3, 0, 4, 5, 6, 0, 0, 0, 0, 1],
    ],
    ['where', () => k.where(k.gt(x, 3), x, k.zeros([2, 3])), [2, 3], [0, 0, 0, 4, 5, 6]],
    ['where numbers', () => k.where(k.gt(x, 3), 1, 0), [2, 3], [0, 0, 0, 1, 1, 1]],
    ['where number else', () => k.where(k.gt(x, 3), x, 0), [2, 3], [0, 0, 0, 4, 5, 6]],
    ['where number then', () => k.where(k.gt(x, 3), 0, x), [2, 3], [1, 2, 3, 0, 0, 0]],
    [
      'maskedFill',
      () => k.maskedFill(x, k.lt(x, 3), -Infinity),
      [2, 3],
      [-Infinity, -Infinity, 3, 4, 5, 6],
    ],
    ['tril', () => k.tril(x), [2, 3], [1, 0, 0, 4, 5, 0]],
    ['triu', () => k.triu(x, 1), [2, 3], [0, 2, 3, 0, 0, 6]],
    ['to', () => k.to(k.tensor([1.9, -1.9], [2]), 'i32'), [2], [1, -1]],
    ['toDevice', () => k.toDevice(x, 'cpu'), [2, 3], [1, 2, 3, 4, 5, 6]],
  ])('%s', (_name, make, shape, values) => {
    expect(k.tidy(() => seen(make()))).toEqual([shape, values]);
  });

  it('splits', () => {
    expect(k.tidy(() => k.split(x, 2, 1).map(seen))).toEqual([
      [
        [2, 2],
        [1, 2, 4, 5],
      ],
      [
        [2, 1],
        [3, 6],
      ],
    ]);
    expect(k.tidy(() => k.split(x, [1, 2], 1).map(numbers))).toEqual([
      [1, 4],
      [2, 3, 5, 6],
    ]);
    expect(k.tidy(() => k.chunk(x, 2).map(numbers))).toEqual([
      [1, 2, 3],
      [4, 5, 6],
    ]);
  });

  it('clones apart, views together', () => {
    k.tidy(() => {
      const t = k.tensor([1, 2], [2]);
      const [view, copy] = [k.view(t, [1, 2]), k.clone(t)];
      k.fill_(t, 5);
      expect([numbers(view), numbers(copy)]).toEqual([
        [5, 5],
        [1, 2],
      ]);
    });
  });

  it('rejects a view that the memory layout does not allow', () => {
    expect(() => k.view(k.transpose(x, 0, 1), [6])).toThrow('aten::view(self f32[3,2], size [6])');
  });
});
