/** Operations that change their first argument and return it. On parameters, use them inside `noGrad`. */
import { run } from '../call.js';
import type { Argument } from '../call.js';
import type { Tensor } from '../tensor.js';

type Operand = Tensor | number;
const overload = (op: string, b: Operand): string =>
  `${op}.${typeof b === 'number' ? 'Scalar' : 'Tensor'}`;

const changed = (t: Tensor, op: string, ...args: Argument[]): Tensor => {
  run(op, t, ...args);
  return t;
};

/** t += alpha · b */
export const add_ = (t: Tensor, b: Operand, alpha = 1): Tensor =>
  changed(t, overload('aten::add_', b), b, alpha);
/** t -= alpha · b */
export const sub_ = (t: Tensor, b: Operand, alpha = 1): Tensor =>
  changed(t, overload('aten::sub_', b), b, alpha);
export const mul_ = (t: Tensor, b: Operand): Tensor => changed(t, overload('aten::mul_', b), b);
export const div_ = (t: Tensor, b: Operand): Tensor => changed(t, overload('aten::div_', b), b);
/** Copies, converting and broadcasting. */
export const copy_ = (t: Tensor, source: Tensor): Tensor => changed(t, 'aten::copy_', source);
/** t += value · a · b */
export const addcmul_ = (t: Tensor, a: Tensor, b: Tensor, value = 1): Tensor =>
  changed(t, 'aten::addcmul_', a, b, value);
/** t += value · a / b */
export const addcdiv_ = (t: Tensor, a: Tensor, b: Tensor, value = 1): Tensor =>
  changed(t, 'aten::addcdiv_', a, b, value);
/** t = beta · t + alpha · a b */
export const addmm_ = (
  t: Tensor,
  a: Tensor,
  b: Tensor,
  { beta = 1, alpha = 1 }: { beta?: number; alpha?: number } = {},
): Tensor => changed(t, 'aten::addmm_', a, b, beta, alpha);
/** t += weight · (end - t) */
export const lerp_ = (t: Tensor, end: Tensor, weight: number): Tensor =>
  changed(t, 'aten::lerp_.Scalar', end, weight);
export const sqrt_ = (t: Tensor): Tensor => changed(t, 'aten::sqrt_');
export const zero_ = (t: Tensor): Tensor => changed(t, 'aten::zero_');
export const fill_ = (t: Tensor, value: number): Tensor => changed(t, 'aten::fill_.Scalar', value);
/** Adds alpha · source to the rows `index` of t along `dim`. */
export const indexAdd_ = (
  t: Tensor,
  dim: number,
  index: Tensor,
  source: Tensor,
  alpha = 1,
): Tensor => changed(t, 'aten::index_add_', dim, index, source, alpha);
export const indexCopy_ = (t: Tensor, dim: number, index: Tensor, source: Tensor): Tensor =>
  changed(t, 'aten::index_copy_', dim, index, source);
