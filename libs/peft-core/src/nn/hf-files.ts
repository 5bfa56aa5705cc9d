/** What a Hugging Face model folder holds: config.json, and weights by name. */
import type { GgmlMatrix, Tensor } from '@graft/kernels';

/** A config.json of transformers, versions 4 and 5. */
export type HfConfig = Readonly<Record<string, unknown>> & { readonly model_type: string };

/**
 * Weights by their Hugging Face names. A weight that is used in place belongs to its source; a weight that is read
 * anew belongs to the current scope.
 */
export interface Tensors {
  has(name: string): boolean;
  get(name: string): Tensor | undefined;
  /** A matrix in the block format of its GGUF file; undefined where the file has no such matrix. */
  blocks?(name: string): GgmlMatrix | undefined;
}
