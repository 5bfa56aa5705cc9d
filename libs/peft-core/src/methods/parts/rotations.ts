/** Rotations of blocks for OFT, BOFT and PSOFT. s: size of a block, k: number of blocks. */
import {
  add,
  bmm,
  expand,
  eye,
  indexPut,
  reshape,
  select,
  solve,
  sub,
  transpose,
  zeros,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';

export interface Blocks {
  readonly blocks: number;
  readonly size: number;
}

/**
 * Returns the number of elements that computing rotations and their backward pass needs. @param terms of Neumann's
 * series; null: Cayley's transform
 */
export function rotationNumbers({ blocks, size }: Blocks, terms: number | null): number {
  // each power, or the parts of the linear solve; Q, R and its gradient; and the indices, 8 bytes each
  return (((terms ?? 5) + 3) * blocks + 2) * size ** 2;
}

/**
 * Returns skew-symmetric matrices [k, s, s] with the given elements above the diagonal.
 * @param above [k, s (s-1)/2], row by row
 * @param places `upperIndices(s)`
 */
export function skew(above: Tensor, places: Tensor, size: number): Tensor {
  const [rows, columns] = [select(places, 0, 0), select(places, 0, 1)];
  const upper = indexPut(
    zeros([above.shape[0] as number, size, size]),
    [null, rows, columns],
    above,
  );
  return sub(upper, transpose(upper, 1, 2));
}

/** Returns Cayley's transform (I + Q)⁻¹ (I - Q) of skew-symmetric matrices [k, s, s]: rotations. */
export function cayley(q: Tensor): Tensor {
  const identity = eye(q.shape[2] as number);
  return solve(add(identity, q), sub(identity, q), false);
}

/**
 * Returns the first terms of the Neumann series of Cayley's transform of -Q: I + 2 (Q + … + Qᵗ⁻²) + Qᵗ⁻¹. As PEFT adds
 * them, four terms are three, and two terms are I + 2 Q.
 */
export function neumann(q: Tensor, terms: number): Tensor {
  let total = add(eye(q.shape[2] as number), q, 2);
  if (terms === 2) return total;
  let power = bmm(q, q);
  total = add(total, power, 2);
  for (let i = 3; i < terms - 1; i++) {
    power = bmm(power, q);
    total = add(total, power, 2);
  }
  return add(total, bmm(power, q));
}

/** Multiplies each block of t's rows [n, k s] by its rotation [k or 1, s, s]. */
export function turnBlocks(t: Tensor, rotation: Tensor, { blocks, size }: Blocks): Tensor {
  const parted = transpose(reshape(t, [-1, blocks, size]), 0, 1);
  const turned = bmm(parted, expand(rotation, [blocks, -1, -1]));
  return reshape(transpose(turned, 0, 1), t.shape);
}
