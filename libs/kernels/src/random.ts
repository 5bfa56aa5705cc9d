/**
 * Random numbers without generator state: each is a function of (seed, step, site) and the ELEMENT's index, by
 * Philox4x32-10 (native/ops/philox.h). A resume needs no saved state, and packing runs changes nothing.
 */
import { one } from './call.js';
import { device } from './device.js';
import { KernelError } from './errors.js';
import { ownKernels } from './ops/instruction-set.js';
import { mul } from './ops/maths.js';
import { toDevice } from './ops/shape.js';
import { tidy } from './scope.js';
import type { Tensor } from './tensor.js';

/** Identifies a stream of random numbers. */
export interface RandomKey {
  /** the run's seed: an integer up to 2^53 */
  readonly seed: number;
  /** 0 … 2^48 - 1 */
  readonly step: number;
  /** use of randomness in the model: 0 … 2^32 - 1 */
  readonly site: number;
}

/** f32 in [0, 1), 24 bits each. Element i is number `offset + i` of the stream. */
export const counterUniform = (shape: readonly number[], key: RandomKey, offset = 0): Tensor =>
  onDevice(() => one('graft::uniform', shape, key.seed, key.step, key.site, offset));

/** f32, standard normal (Box–Muller). Element i is number `offset + i` of the stream. */
export const counterNormal = (shape: readonly number[], key: RandomKey, offset = 0): Tensor =>
  onDevice(() => one('graft::normal', shape, key.seed, key.step, key.site, offset));

// Computed on the CPU and copied, so that a seed means the same on every device.
const onDevice = (make: () => Tensor): Tensor =>
  device() === 'cpu' ? make() : tidy(() => toDevice(make(), device()));

/**
 * Dropout with autograd: zero with probability p, otherwise x / (1 - p). Rows are all dimensions but the last. Element
 * (i, j) is number `(rowOffset + i) · columns + j` of the stream, so rows can be computed separately.
 */
export function counterDropout(x: Tensor, p: number, key: RandomKey, rowOffset = 0): Tensor {
  if (!(p >= 0 && p <= 1)) {
    throw new KernelError('graft::dropout', `counterDropout: p must be in [0, 1], got ${p}`);
  }
  if (x.device === 'cpu' && ownKernels())
    return one('graft::dropout', x, p, key.seed, key.step, key.site, rowOffset);
  return tidy(() => {
    const columns = x.shape[x.shape.length - 1] as number;
    const dropped = one('aten::lt.Scalar', counterUniform(x.shape, key, rowOffset * columns), p);
    return one('aten::masked_fill.Scalar', mul(x, p < 1 ? 1 / (1 - p) : 0), dropped, 0);
  });
}
