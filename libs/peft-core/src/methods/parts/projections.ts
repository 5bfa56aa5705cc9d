/**
 * Random matrices that all targets of a method share, as in VeRA. PEFT draws them from a key, A before B, uniformly
 * within ±√(6 / fan_in), with the sizes of the largest target. Each target uses the first columns of A and rows of B.
 *   A: [rows, max in]  B: [max out, r]      rounded to the base's dtype as in PEFT, and stored in f32
 */
import { z } from 'zod';
import { keep, narrow, noGrad, tensor, tidy, to } from '@graft/kernels';
import type { Dtype, Tensor } from '@graft/kernels';
import type { BaseDtype } from '../../nn/precision.js';
import type { LinearShape } from '../../nn/outline/outline.js';
import type { SharedState } from '../frame/linear-method.js';
import type { ModuleParameters } from '../frame/parameters.js';
import { TorchGenerator } from '../reference-math/torch-generator.js';

type Size = Pick<LinearShape, 'inFeatures' | 'outFeatures'>;

/** PEFT fields of the random matrices. */
export const projectionFields = {
  projection_prng_key: z
    .int()
    .default(0)
    .describe('Random seed of the projection matrices; the same matrices as in PEFT'),
  save_projection: z
    .boolean()
    .default(true)
    .describe(
      'Save the projection matrices in the adapter. false: smaller file; they are regenerated from the seed',
    ),
};

export interface ProjectionOptions {
  /** Names of A and B in the file. */
  readonly parts: readonly [a: string, b: string];
  /** Rows of A; B has as many columns. */
  readonly rows: number;
  readonly r: number;
  readonly key: number;
  readonly saved: boolean;
  readonly dtype: BaseDtype;
}

/** Returns the number of elements of both matrices and of their copies in another dtype. */
export function projectionNumbers(targets: readonly Size[], rows: number, r: number): number {
  const { inFeatures, outFeatures } = largest(targets);
  return 2 * (rows * inFeatures + r * outFeatures);
}

/** Returns the size of a target with the most inputs and the most outputs of all. */
export const largest = (targets: readonly Size[]): Size => ({
  inFeatures: Math.max(...targets.map(({ inFeatures }) => inFeatures)),
  outFeatures: Math.max(...targets.map(({ outFeatures }) => outFeatures)),
});

export class Projections implements SharedState {
  readonly #a: Tensor;
  readonly #b: Tensor;
  /** Copies of both matrices in other dtypes, shared by all targets. */
  readonly #copies = new Map<Dtype, readonly [Tensor, Tensor]>();

  constructor(
    targets: readonly Size[],
    { parts: [a, b], rows, r, key, saved, dtype }: ProjectionOptions,
    parameters: ModuleParameters,
  ) {
    const { inFeatures, outFeatures } = largest(targets);
    const generator = new TorchGenerator(key);
    const draw = (height: number, width: number): Tensor => {
      const bound = Math.sqrt(3) * (Math.SQRT2 / Math.sqrt(width));
      return to(tensor(generator.uniform(height * width, -bound, bound), [height, width]), dtype);
    };
    this.#a = parameters.constant(a, () => draw(rows, inFeatures), saved);
    this.#b = parameters.constant(b, () => draw(outFeatures, r), saved);
  }

  /** Returns A[:, :in] and B[:out] in `dtype`. */
  of({ inFeatures, outFeatures }: Size, dtype: Dtype): [Tensor, Tensor] {
    const [a, b] = dtype === 'f32' ? [this.#a, this.#b] : this.#copy(dtype);
    return [narrow(a, 1, 0, inFeatures), narrow(b, 0, 0, outFeatures)];
  }

  loaded(): void {
    this.dispose();
  }

  dispose(): void {
    for (const copy of this.#copies.values()) copy.forEach((tensor) => tensor.dispose());
    this.#copies.clear();
  }

  #copy(dtype: Dtype): readonly [Tensor, Tensor] {
    const made = this.#copies.get(dtype);
    if (made) return made;
    const cast = (t: Tensor): Tensor => keep(noGrad(() => tidy(() => to(t, dtype))));
    const copies = [cast(this.#a), cast(this.#b)] as const;
    this.#copies.set(dtype, copies);
    return copies;
  }
}
