/** Creates tensors, empty or from JavaScript data. */
import { one } from '../call.js';
import { dtypeOf } from '../dtype.js';
import type { Dtype, TypedArray } from '../dtype.js';
import { device } from '../device.js';
import { KernelError } from '../errors.js';
import { fromTyped } from '../tensor.js';
import type { Device } from '../device.js';
import type { Tensor } from '../tensor.js';

const WHOLE: ReadonlySet<Dtype> = new Set<Dtype>(['i64', 'i32', 'i16', 'i8', 'u8']);

/**
 * Copies `data`, row-major. The dtype is the array's (f32 for plain arrays) unless given.
 * @throws KernelError if the number of elements does not match the shape, or an integer tensor gets a fraction
 */
export function tensor(
  data: TypedArray | readonly number[],
  shape: readonly number[],
  dtype?: Dtype,
): Tensor {
  const size = shape.reduce((product, n) => product * n, 1);
  if (data.length !== size) {
    const got = `${data.length} elements, [${shape.join(',')}]`;
    throw new KernelError('tensor', `tensor(${got}): the shape needs ${size} elements`);
  }
  if (!isPlainArray(data)) {
    return dtype === undefined || dtype === dtypeOf(data)
      ? fromTyped(data, shape)
      : converted(fromTyped(data, shape), dtype);
  }
  if (dtype === undefined || dtype === 'f32') return fromTyped(Float32Array.from(data), shape);
  if (WHOLE.has(dtype)) {
    const wrong = data.find((value) => !Number.isSafeInteger(value));
    if (wrong !== undefined)
      throw new KernelError('tensor', `tensor(${dtype}): ${wrong} is not an integer`);
  }
  return converted(fromTyped(Float64Array.from(data), shape), dtype);
}

// Array.isArray does not narrow readonly arrays
function isPlainArray(data: TypedArray | readonly number[]): data is readonly number[] {
  return Array.isArray(data);
}

function converted(source: Tensor, dtype: Dtype): Tensor {
  const result = one('aten::to.dtype', source, dtype);
  source.dispose();
  return result;
}

export const zeros = (
  shape: readonly number[],
  dtype: Dtype = 'f32',
  on: Device = device(),
): Tensor => one('aten::zeros', shape, dtype, undefined, on);
export const ones = (
  shape: readonly number[],
  dtype: Dtype = 'f32',
  on: Device = device(),
): Tensor => one('aten::ones', shape, dtype, undefined, on);
export const full = (
  shape: readonly number[],
  value: number,
  dtype: Dtype = 'f32',
  on: Device = device(),
): Tensor => one('aten::full', shape, value, dtype, undefined, on);
/** Uninitialized memory. */
export const empty = (
  shape: readonly number[],
  dtype: Dtype = 'f32',
  on: Device = device(),
): Tensor => one('aten::empty.memory_format', shape, dtype, undefined, on);
/** start, start + step, … below end. */
export const arange = (
  start: number,
  end: number,
  step = 1,
  dtype: Dtype = 'i64',
  on: Device = device(),
): Tensor => one('aten::arange.start_step', start, end, step, dtype, undefined, on);
/** [n,n] */
export const eye = (n: number, dtype: Dtype = 'f32', on: Device = device()): Tensor =>
  one('aten::eye', n, dtype, undefined, on);
export const zerosLike = (t: Tensor, dtype?: Dtype): Tensor => one('aten::zeros_like', t, dtype);
export const onesLike = (t: Tensor, dtype?: Dtype): Tensor => one('aten::ones_like', t, dtype);
