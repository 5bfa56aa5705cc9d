import { describe, expect, it } from 'vitest';
import { numbers } from '../test/near.js';
import {
  add,
  call,
  fromBytes,
  full,
  KernelError,
  memory,
  tensor,
  tidy,
  to,
  transpose,
  zeros,
} from './index.js';
import type { Dtype, Tensor } from './index.js';

describe('copying in and out', () => {
  it.each<[Dtype, number[]]>([
    ['f32', [1.5, -2, 0]],
    ['f64', [1.5, -2, 1e300]],
    ['bf16', [1.5, -2, 0]],
    ['f16', [1.5, -2, 0]],
    ['i64', [1, -2, 2 ** 53 - 1]],
    ['i32', [1, -2, 2 ** 31 - 1]],
    ['i16', [1, -2, 32767]],
    ['i8', [1, -2, 127]],
    ['u8', [1, 2, 255]],
    ['bool', [1, 0, 1]],
  ])('keeps %s', (dtype, values) => {
    const t = tensor(values, [3], dtype);
    expect(t.dtype).toBe(dtype);
    expect(numbers(t)).toEqual(values);
    const again = fromBytes(t.bytes(), [3], dtype);
    expect(numbers(again)).toEqual(values);
  });

  it('uses the dtype of a typed array', () => {
    expect(tensor(new Float64Array([1]), [1]).dtype).toBe('f64');
    expect(tensor(new BigInt64Array([5n]), [1]).toArray()).toEqual(new BigInt64Array([5n]));
    expect(tensor(new Uint8Array([5]), [1]).dtype).toBe('u8');
    expect(tensor(new Int32Array([5, 6]).subarray(1), [1], 'f32').item()).toBe(6);
  });

  it('gives elements of a transposed view in its own order', () => {
    const t = transpose(tensor([1, 2, 3, 4, 5, 6], [2, 3]), 0, 1);
    expect(t.shape).toEqual([3, 2]);
    expect(numbers(t)).toEqual([1, 4, 2, 5, 3, 6]);
    expect(new Float32Array(t.bytes().buffer)).toEqual(new Float32Array([1, 4, 2, 5, 3, 6]));
  });

  it('is a copy: changing the array changes nothing', () => {
    const source = new Float32Array([1, 2]);
    const t = tensor(source, [2]);
    source[0] = 9;
    (t.toArray() as Float32Array)[1] = 9;
    expect(numbers(t)).toEqual([1, 2]);
  });

  it('holds scalars and empty tensors', () => {
    expect(tensor([7], []).item()).toBe(7);
    expect(tensor([7], []).shape).toEqual([]);
    const none = zeros([0, 3]);
    expect([none.size, none.toArray().length, none.bytes().length]).toEqual([0, 0, 0]);
  });

  it('keeps NaN, infinities and negative zero', () => {
    const t = tensor([NaN, Infinity, -Infinity, -0], [4]);
    expect(numbers(t)).toEqual([NaN, Infinity, -Infinity, -0]);
    expect(Number.isNaN(full([1], NaN).item())).toBe(true);
  });

  it('rounds to bf16 to nearest even', () => {
    // bf16 has 8 bits: 1 + 2^-8 is a tie that rounds to 1, 1 + 3 2^-8 one that rounds to 1 + 2^-6
    expect(numbers(tensor([1 + 2 ** -8, 1 + 3 * 2 ** -8], [2], 'bf16'))).toEqual([1, 1 + 2 ** -6]);
  });
});

describe('invalid use', () => {
  const failure = (fn: () => unknown): KernelError => {
    try {
      fn();
    } catch (error) {
      expect(error).toBeInstanceOf(KernelError);
      return error as KernelError;
    }
    throw new Error('nothing was thrown');
  };

  it('rejects data that does not fit the shape', () => {
    expect(failure(() => tensor([1, 2, 3], [2, 2])).message).toBe(
      'tensor(3 elements, [2,2]): the shape needs 4 elements',
    );
    expect(failure(() => fromBytes(new Uint8Array(7), [2], 'f32')).message).toContain(
      'needs 8 bytes, got 7',
    );
    expect(failure(() => fromBytes(new Uint8Array(8), [-2], 'f32')).message).toContain('negative');
    expect(
      failure(() => fromBytes(new Uint8Array(8), [2 ** 40, 2 ** 40], 'f32')).message,
    ).toContain('too large');
    expect(failure(() => tensor([1.5], [1], 'i64')).message).toContain('1.5 is not an integer');
    expect(failure(() => tensor([1], [1], 'f8' as Dtype)).message).toContain("'f8'");
    expect(failure(() => fromBytes(new Uint8Array(1), [1], 'f8' as Dtype)).message).toContain(
      'expected one of',
    );
  });

  it('names the operation when a disposed tensor is used', () => {
    const t = tensor([1, 2], [2]);
    t.dispose();
    t.dispose(); // twice is fine
    expect(t.disposed).toBe(true);
    expect(failure(() => t.toArray()).message).toBe(
      'toArray(f32[2] disposed): the tensor was disposed',
    );
    expect(failure(() => add(t, 1)).message).toContain(
      'aten::add.Scalar(self f32[2] disposed, other 1',
    );
    expect(failure(() => t.backward()).op).toBe('backward');
    for (const use of [
      () => t.item(),
      () => t.grad,
      () => t.zeroGrad(),
      () => t.detach(),
      () => t.bytes(),
    ]) {
      expect(failure(use).message).toContain('disposed');
    }
    expect(failure(() => (t.requiresGrad = true)).message).toContain('disposed');
  });

  it('returns an item only for one element', () => {
    expect(failure(() => zeros([2]).item()).message).toBe(
      'item(f32[2]): expected a tensor with one element',
    );
  });

  it('rejects requires_grad on integers and on results', () => {
    expect(failure(() => (zeros([1], 'i64').requiresGrad = true)).message).toContain('i64[1]');
    const leaf = zeros([1]);
    leaf.requiresGrad = true;
    expect(failure(() => (add(leaf, 1).requiresGrad = false)).message).toContain('leaves');
  });

  it('rejects unknown element types without a leak', () => {
    tidy(() => {
      const t = to(tensor([1, 2], [2]), 'f64');
      const before = memory().tensors;
      expect(failure(() => call('aten::fft_fft', t)).message).toContain('unsupported element type');
      expect(memory().tensors).toBe(before);
    });
  });

  it('rejects objects that only look like tensors', () => {
    const fake = { handle: 1, shape: [1], dtype: 'f32' } as unknown as Tensor;
    expect(failure(() => add(fake, 1)).message).toContain('cannot pass [object Object]');
  });
});

it('a view keeps the memory of its disposed source', () => {
  const source = tensor([1, 2, 3, 4], [2, 2]);
  const view = transpose(source, 0, 1);
  source.dispose();
  for (let i = 0; i < 50; i++) tidy(() => void zeros([2, 2])); // would reuse the memory
  expect(numbers(view)).toEqual([1, 3, 2, 4]);
});

it('converting to the same dtype shares memory, to another copies', () => {
  const t = tensor([1], [1]);
  call('aten::add_.Scalar', to(t, 'f32'), 1);
  expect(t.item()).toBe(2);
  call('aten::add_.Scalar', to(t, 'f64'), 1);
  expect(t.item()).toBe(2);
});
