import { describe, expect, it } from 'vitest';
import { numbers } from '../test/near.js';
import { call, KernelError, memory, split, tensor, tidy, zeros } from './index.js';
import type { Argument, Tensor } from './index.js';

describe('arguments follow the schema', () => {
  const x = tensor([1, 2, 3, 4], [2, 2]);

  it('accepts tensors, numbers, booleans, strings, lists, null and defaults', () => {
    expect(numbers(call('aten::sum.dim_IntList', x, [0], true) as Tensor)).toEqual([4, 6]);
    expect((call('aten::sum', x, 'f64') as Tensor).dtype).toBe('f64');
    expect(numbers(call('aten::clamp', x, null, 2) as Tensor)).toEqual([1, 2, 2, 2]);
    expect(numbers(call('aten::add.Tensor', x, x, undefined) as Tensor)).toEqual([2, 4, 6, 8]);
    expect(numbers(call('aten::cat', [x, x], 1) as Tensor)).toEqual([1, 2, 1, 2, 3, 4, 3, 4]);
    expect(numbers(call('aten::div.Tensor_mode', x, x, 'floor') as Tensor)).toEqual([1, 1, 1, 1]);
    expect(
      numbers(call('aten::index.Tensor', x, [null, tensor([1], [1], 'i64')]) as Tensor),
    ).toEqual([2, 4]);
    expect(
      (
        call(
          'aten::empty.memory_format',
          [1],
          'i8',
          'strided',
          'cpu',
          false,
          'contiguous',
        ) as Tensor
      ).dtype,
    ).toBe('i8');
    expect(call('aten::_foreach_mul.ScalarList', [x, x], [2, 0.5])).toHaveLength(2);
  });

  it('keeps integers: adding 1 gives integers, adding 1.5 floats', () => {
    const i = tensor([1], [1], 'i64');
    expect((call('aten::add.Scalar', i, 1) as Tensor).dtype).toBe('i64');
    expect((call('aten::add.Scalar', i, 1.5) as Tensor).dtype).toBe('f32');
    expect((call('aten::mul.Scalar', i, NaN) as Tensor).dtype).toBe('f32');
  });

  it('returns numbers, booleans, lists, several values and nothing', () => {
    expect(call('aten::item', tensor([2.5], []))).toBe(2.5);
    expect(call('aten::equal', x, x)).toBe(true);
    expect((call('aten::max.dim', x, 1) as Tensor[]).map(numbers)).toEqual([
      [2, 4],
      [1, 1],
    ]);
    expect((call('aten::unbind.int', x) as Tensor[]).map(numbers)).toEqual([
      [1, 2],
      [3, 4],
    ]);
    expect(call('aten::_foreach_add_.Scalar', [zeros([1])], 1)).toBeUndefined();
  });

  it('passes lists and results larger than the exchange buffer', () => {
    tidy(() => {
      const many = Array.from({ length: 30_000 }, (_, i) => tensor([i], [1]));
      const joined = call('aten::cat', many) as Tensor;
      expect(joined.shape).toEqual([30_000]);
      const pieces = split(joined, 1);
      expect([pieces.length, pieces[29_999]?.item()]).toEqual([30_000, 29_999]);
    });
  });
});

describe('errors name the operator and what it was given', () => {
  const x = tensor([1, 2, 3, 4, 5, 6], [2, 3]);
  it.each<[string, Argument[], string]>([
    [
      'aten::linear',
      [x, zeros([4, 5])],
      'aten::linear(input f32[2,3], weight f32[4,5]): mat1 and mat2 shapes cannot be multiplied (2x3 and 5x4)',
    ],
    [
      'aten::mm',
      [x, 3],
      "aten::mm(self f32[2,3], mat2 3): argument 'mat2' wants Tensor, got a number",
    ],
    ['aten::mm', [x], "aten::mm(self f32[2,3]): argument 'mat2' is missing"],
    ['aten::mm', [x, x, x], 'takes 2 arguments, got 3'],
    ['aten::mm', [x, zeros([3, 2], 'f64')], 'mat2 f64[3,2]'],
    ['aten::mm', [x, null], 'mat2 none'],
    [
      'aten::transpose.int',
      [x, 0, 1.5],
      "argument 'dim1' wants int, got 1.500000, which is not an exact integer",
    ],
    ['aten::transpose.int', [x, 0, NaN], 'nan, which is not an exact integer'],
    ['aten::transpose.int', [x, 0, 2 ** 60], 'which is not an exact integer'],
    [
      'aten::transpose.int',
      [x, 0, 7],
      'aten::transpose.int(self f32[2,3], dim0 0, dim1 7): Dimension out of range',
    ],
    ['aten::sum.dim_IntList', [x, 'zero'], "dim 'zero'"],
    ['aten::sum.dim_IntList', [x, [0], 1], "argument 'keepdim' wants bool, got a number"],
    ['aten::sum', [x, 'f8'], "argument 'dtype' wants"],
    ['aten::cat', [[x, 1]], 'tensors [f32[2,3], 1]'],
    ['aten::cat', [[x, null]], 'tensors [f32[2,3], none]'],
    ['aten::view', [x, [4, 2]], "shape '[4, 2]' is invalid for input of size 6"],
    ['aten::nonsense', [x], 'aten::nonsense(f32[2,3]): no such operator'],
    ['nonsense', [x], 'no such operator'],
    ['', [x], 'no such operator'],
    ['aten::add', [x, x], 'no such overload; there are aten::add.'],
    ['aten::zeros', [[-1]], 'aten::zeros(size [-1]): '],
    ['aten::zeros', [[2 ** 52, 2 ** 52]], 'aten::zeros(size [4503599627370496, 4503599627370496])'],
    ['aten::to.device', [x, 'tpu', 'f32'], 'device'],
    [
      'aten::embedding',
      [zeros([3, 2]), tensor([5], [1], 'i64')],
      'aten::embedding(weight f32[3,2], indices i64[1])',
    ],
  ])('%s #%#', (op, args, message) => {
    const before = memory().tensors;
    let thrown: unknown;
    try {
      call(op, ...args);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(KernelError);
    expect((thrown as KernelError).op).toBe(op);
    expect((thrown as KernelError).message).toContain(message);
    expect((thrown as KernelError).message).not.toContain('Exception raised from');
    expect(memory().tensors).toBe(before);
  });

  it('rejects invalid arguments', () => {
    for (const bad of [Symbol('x'), 10n, () => 1, new Float32Array(2), new Date()]) {
      expect(() => call('aten::relu', bad as unknown as Argument)).toThrow(KernelError);
    }
  });

  it('shortens long lists', () => {
    const tensors = Array.from({ length: 100 }, (_, i) => zeros([1, i]));
    const shown = /… 100 in all/;
    expect(() => call('aten::stack', tensors)).toThrow(shown);
  });

  it('works after an error', () => {
    expect(() => call('aten::mm', x, x)).toThrow(KernelError);
    expect((call('aten::mm', x, call('aten::t', x) as Tensor) as Tensor).shape).toEqual([2, 2]);
  });
});
