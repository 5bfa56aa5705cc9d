import type { Tensor } from '@graft/kernels';
import type { Weight } from '../nn/weight.js';

/** Packs frozen matrices. A quantised base is a property of its weights: no method knows of it. */
export interface Quantizer {
  readonly name: string;
  readonly title: string;
  /** Packs W [out, in]; `matrix` stays its owner's. */
  pack(matrix: Tensor): Weight;
}
