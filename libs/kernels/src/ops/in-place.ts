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
export const mul_ = (t: Tensor, b: Operand): Tensor => changed(t, overload('aten::mul_', b), b);
/** Copies, converting and broadcasting. */
export const copy_ = (t: Tensor, source: Tensor): Tensor => changed(t, 'aten::copy_', source);
/** t += value · a · b */
export const addcmul_ = (t: Tensor, a: Tensor, b: Tensor, value = 1): Tensor =>
  changed(t, 'aten::addcmul_', a, b, value);
/** t = beta · t + alpha · a b */
export const addmm_ = (
  t: Tensor,
  a: Tensor,
  b: Tensor,
  { beta = 1, alpha = 1 }: { beta?: number; alpha?: number } = {},
): Tensor => changed(t, 'aten::addmm_', a, b, beta, alpha);
export const fill_ = (t: Tensor, value: number): Tensor => changed(t, 'aten::fill_.Scalar', value);
