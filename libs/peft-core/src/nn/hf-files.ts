/** Content of a Hugging Face model folder: config.json, and weights by name. */
import type { GgmlMatrix, Tensor } from '@graft/kernels';

/** A config.json of Transformers 4 or 5. */
export type HfConfig = Readonly<Record<string, unknown>> & { readonly model_type: string };

/**
 * Weights by their Hugging Face names. A weight that is used in place belongs to its source. A weight that is read into
 * new memory belongs to the current scope.
 */
export interface Tensors {
  has(name: string): boolean;
  get(name: string): Tensor | undefined;
  /** Returns a matrix in the block format of its GGUF file, or undefined if the file has no such matrix. */
  blocks?(name: string): GgmlMatrix | undefined;
}
