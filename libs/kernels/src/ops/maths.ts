/** Elementwise operators, reductions, comparisons and sorting. */
import { many, one } from '../call.js';
import type { Dtype } from '../dtype.js';
import type { Tensor } from '../tensor.js';

type Operand = Tensor | number;
type Dims = number | readonly number[];

const overload = (op: string, b: Operand): string =>
  `${op}.${typeof b === 'number' ? 'Scalar' : 'Tensor'}`;
const list = (dims: Dims): readonly number[] => (typeof dims === 'number' ? [dims] : dims);

/** a + alpha · b */
export const add = (a: Tensor, b: Operand, alpha = 1): Tensor =>
  one(overload('aten::add', b), a, b, alpha);
/** a - alpha · b */
export const sub = (a: Tensor, b: Operand, alpha = 1): Tensor =>
  one(overload('aten::sub', b), a, b, alpha);
export const mul = (a: Tensor, b: Operand): Tensor => one(overload('aten::mul', b), a, b);
export const div = (a: Tensor, b: Operand): Tensor => one(overload('aten::div', b), a, b);
export const minimum = (a: Tensor, b: Tensor): Tensor => one('aten::minimum', a, b);
export const maximum = (a: Tensor, b: Tensor): Tensor => one('aten::maximum', a, b);
export const clamp = (t: Tensor, min?: number, max?: number): Tensor =>
  one('aten::clamp', t, min ?? null, max ?? null);

export const neg = (t: Tensor): Tensor => one('aten::neg', t);
export const log = (t: Tensor): Tensor => one('aten::log', t);
export const log10 = (t: Tensor): Tensor => one('aten::log10', t);
export const sqrt = (t: Tensor): Tensor => one('aten::sqrt', t);
export const rsqrt = (t: Tensor): Tensor => one('aten::rsqrt', t);
export const reciprocal = (t: Tensor): Tensor => one('aten::reciprocal', t);
/** Rounds to the nearest integer, ties to even. */
export const round = (t: Tensor): Tensor => one('aten::round', t);
export const square = (t: Tensor): Tensor => one('aten::square', t);
export const abs = (t: Tensor): Tensor => one('aten::abs', t);
export const sin = (t: Tensor): Tensor => one('aten::sin', t);
export const cos = (t: Tensor): Tensor => one('aten::cos', t);
export const tanh = (t: Tensor): Tensor => one('aten::tanh', t);
export const sigmoid = (t: Tensor): Tensor => one('aten::sigmoid', t);
export const relu = (t: Tensor): Tensor => one('aten::relu', t);
/** x · sigmoid(x) */
export const silu = (t: Tensor): Tensor => one('aten::silu', t);
/** x · Φ(x), exactly or with GPT-2's tanh approximation */
export const gelu = (t: Tensor, approximate: 'none' | 'tanh' = 'none'): Tensor =>
  one('aten::gelu', t, approximate);

/** Softmax along `dim`, computed and returned in `dtype` when given. */
export const softmax = (t: Tensor, dim = -1, dtype?: Dtype): Tensor =>
  one('aten::softmax.int', t, dim, dtype);
export const logSoftmax = (t: Tensor, dim = -1, dtype?: Dtype): Tensor =>
  one('aten::log_softmax.int', t, dim, dtype);
export const logsumexp = (t: Tensor, dims: Dims, keepdim = false): Tensor =>
  one('aten::logsumexp', t, list(dims), keepdim);

/** Sum of all elements, or along `dims`. */
export const sum = (t: Tensor, dims?: Dims, keepdim = false, dtype?: Dtype): Tensor =>
  dims === undefined
    ? one('aten::sum', t, dtype)
    : one('aten::sum.dim_IntList', t, list(dims), keepdim, dtype);
export const mean = (t: Tensor, dims?: Dims, keepdim = false, dtype?: Dtype): Tensor =>
  dims === undefined
    ? one('aten::mean', t, dtype)
    : one('aten::mean.dim', t, list(dims), keepdim, dtype);
export const amax = (t: Tensor, dims: Dims, keepdim = false): Tensor =>
  one('aten::amax', t, list(dims), keepdim);
/** Position of the largest element (i64), along `dim` or in the flattened tensor. */
export const argmax = (t: Tensor, dim?: number, keepdim = false): Tensor =>
  one('aten::argmax', t, dim ?? null, keepdim);
/** Largest of all elements. */
export const max = (t: Tensor): Tensor => one('aten::max', t);
export const min = (t: Tensor): Tensor => one('aten::min', t);
/** (Σ |x|^p)^(1/p), over all elements or along `dims`. */
export const norm = (t: Tensor, p = 2, dims?: Dims, keepdim = false): Tensor =>
  one('aten::norm.ScalarOpt_dim', t, p, dims === undefined ? [] : list(dims), keepdim);

export const eq = (a: Tensor, b: Operand): Tensor => one(overload('aten::eq', b), a, b);
export const lt = (a: Tensor, b: Operand): Tensor => one(overload('aten::lt', b), a, b);
export const gt = (a: Tensor, b: Operand): Tensor => one(overload('aten::gt', b), a, b);
export const ge = (a: Tensor, b: Operand): Tensor => one(overload('aten::ge', b), a, b);
export const logicalNot = (t: Tensor): Tensor => one('aten::logical_not', t);
export const all = (t: Tensor): Tensor => one('aten::all', t);
export const any = (t: Tensor): Tensor => one('aten::any', t);

export interface Sorted {
  values: Tensor;
  /** i64 positions along the sorted dimension */
  indices: Tensor;
}

export const sort = (t: Tensor, dim = -1, descending = false): Sorted => {
  const [values, indices] = many('aten::sort', t, dim, descending) as [Tensor, Tensor];
  return { values, indices };
};
/** The k largest (or smallest) along `dim`, in order. */
export const topk = (t: Tensor, k: number, dim = -1, largest = true): Sorted => {
  const [values, indices] = many('aten::topk', t, k, dim, largest) as [Tensor, Tensor];
  return { values, indices };
};
