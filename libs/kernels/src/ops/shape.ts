/** Views, concatenation, indexing and conversions. Dimensions count from 0, or from the end if negative. */
import { many, one } from '../call.js';
import { device } from '../device.js';
import type { Dtype } from '../dtype.js';
import type { Device } from '../device.js';
import type { Tensor } from '../tensor.js';

type Shape = readonly number[];

/**
 * Views the same memory in another shape; one size may be -1. @throws KernelError if the memory layout does not allow
 * it
 */
export const view = (t: Tensor, shape: Shape): Tensor => one('aten::view', t, shape);
/** Like `view`, but copies if a view is not possible. */
export const reshape = (t: Tensor, shape: Shape): Tensor => one('aten::reshape', t, shape);
export const transpose = (t: Tensor, a: number, b: number): Tensor =>
  one('aten::transpose.int', t, a, b);
export const permute = (t: Tensor, dims: readonly number[]): Tensor =>
  one('aten::permute', t, dims);
export const unsqueeze = (t: Tensor, dim: number): Tensor => one('aten::unsqueeze', t, dim);
/** Drops a dimension of size 1, or all of them. */
export const squeeze = (t: Tensor, dim?: number): Tensor =>
  dim === undefined ? one('aten::squeeze', t) : one('aten::squeeze.dim', t, dim);
/** Repeats dimensions of size 1 without copying; -1 keeps a size. */
export const expand = (t: Tensor, shape: Shape): Tensor => one('aten::expand', t, shape);
export const contiguous = (t: Tensor): Tensor => one('aten::contiguous', t);
export const clone = (t: Tensor): Tensor => one('aten::clone', t);

export const cat = (ts: readonly Tensor[], dim = 0): Tensor => one('aten::cat', ts, dim);
export const stack = (ts: readonly Tensor[], dim = 0): Tensor => one('aten::stack', ts, dim);
/** Pieces of `size` (the last may be shorter), or of the sizes listed. */
export const split = (t: Tensor, size: number | readonly number[], dim = 0): Tensor[] =>
  typeof size === 'number'
    ? many('aten::split.Tensor', t, size, dim)
    : many('aten::split_with_sizes', t, size, dim);
/** Splits into at most `n` pieces of equal size. */
export const chunk = (t: Tensor, n: number, dim = 0): Tensor[] => many('aten::chunk', t, n, dim);
export const repeatInterleave = (t: Tensor, repeats: number, dim: number): Tensor =>
  one('aten::repeat_interleave.self_int', t, repeats, dim);

/** Elements start … start + length - 1 along `dim`: a view. */
export const narrow = (t: Tensor, dim: number, start: number, length: number): Tensor =>
  one('aten::narrow', t, dim, start, length);
/** Windows of `size` along `dim`, one each `step`, as a view; the window is the last dimension. */
export const unfold = (t: Tensor, dim: number, size: number, step: number): Tensor =>
  one('aten::unfold', t, dim, size, step);
export const select = (t: Tensor, dim: number, index: number): Tensor =>
  one('aten::select.int', t, dim, index);
export const indexSelect = (t: Tensor, dim: number, index: Tensor): Tensor =>
  one('aten::index_select', t, dim, index);
export const gather = (t: Tensor, dim: number, index: Tensor): Tensor =>
  one('aten::gather', t, dim, index);
/** `t[indices]` as in PyTorch; null stands for `:`. */
export const index = (t: Tensor, indices: readonly (Tensor | null)[]): Tensor =>
  one('aten::index.Tensor', t, indices);
/** Returns a copy with `values` at the indices of each dimension (i64); null means the whole dimension. */
export const indexPut = (t: Tensor, indices: readonly (Tensor | null)[], values: Tensor): Tensor =>
  one('aten::index_put', t, indices, values, false);
/** [2,k]: rows and columns above the diagonal of a square matrix, row by row. */
export function upperIndices(size: number): Tensor {
  // the meta device does not have this operator
  const places = one('aten::triu_indices', size, size, 1, 'i64', undefined, 'cpu');
  return device() === 'cpu' ? places : toDevice(places, device());
}
/** The diagonal of a matrix. */
export const diagonal = (t: Tensor): Tensor => one('aten::diagonal', t);
/** Matrices on the diagonal of a larger one. */
export const blockDiagonal = (ts: readonly Tensor[]): Tensor => one('aten::block_diag', ts);

/** Converts to another element type; returns the same memory if nothing changes. */
export const to = (t: Tensor, dtype: Dtype): Tensor => one('aten::to.dtype', t, dtype);
/** Moves to another device; returns the same memory if it is already there. */
export const toDevice = (t: Tensor, device: Device): Tensor =>
  one('aten::to.device', t, device, t.dtype);

const WHERE = [
  'aten::where.Scalar',
  'aten::where.ScalarSelf',
  'aten::where.ScalarOther',
  'aten::where.self',
];
/** a where `condition` is true, otherwise b. */
export const where = (condition: Tensor, a: Tensor | number, b: Tensor | number): Tensor => {
  const kind = (typeof a === 'number' ? 0 : 2) + (typeof b === 'number' ? 0 : 1);
  return one(WHERE[kind] as string, condition, a, b);
};
export const maskedFill = (t: Tensor, mask: Tensor, value: number): Tensor =>
  one('aten::masked_fill.Scalar', t, mask, value);
export const tril = (t: Tensor, diagonal = 0): Tensor => one('aten::tril', t, diagonal);
export const triu = (t: Tensor, diagonal = 0): Tensor => one('aten::triu', t, diagonal);
