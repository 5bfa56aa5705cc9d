import type { Tensor } from '@graft/kernels';
import type { HfConfig, Tensors } from '../nn/hf-files.js';
import type { LinearShape } from '../nn/outline/outline.js';
import type { Stored } from '../nn/outline/stored-names.js';
import type { Weight } from '../nn/weight.js';

/**
 * Quantizer of frozen matrices. Quantization is a property of the weights; methods do not depend on it.
 */
export interface Quantizer {
  readonly name: string;
  readonly title: string;
  /** Short description of its memory and its effect, to help users choose. */
  readonly summary: string;
  /**
   * Quantizes W [out, in] in the base model's dtype. The caller still owns `matrix`; the weight frees what
   * it holds. Omitted if matrices are already quantized in the base model's files, or stay dense.
   */
  quantize?(matrix: Tensor): Weight;
  /** Transformers' `quantization_config` for such a base model. Omitted if loading needs none. */
  readonly transformers?: string;
  /** Whether embeddings and heads are also quantized, not only the matrices of the blocks. */
  readonly tables?: true;
  /** Returns the bytes of a quantized matrix. */
  bytes(outFeatures: number, inFeatures: number, config: HfConfig): number;
  /** Returns why a base model cannot be quantized in this way, or null. */
  refusal?(config: HfConfig): string | null;
  /** Whether `read` supports files with this `quantization_config` of config.json. */
  reads?(stored: Readonly<Record<string, unknown>>): boolean;
  /**
   * Whether such files hold a matrix quantized, by their headers only. `read` checks the contents of
   * tensors.
   * @throws DomainError invalid_model as `read` does
   */
  holds?(
    stored: Stored,
    path: string,
    shape: Pick<LinearShape, 'outFeatures' | 'inFeatures'>,
  ): boolean;
  /**
   * Reads a quantized matrix by the module's name in the files. Null if they hold it dense.
   * @throws DomainError invalid_model if its tensors do not match the shape
   */
  read?(
    tensors: Tensors,
    path: string,
    shape: Pick<LinearShape, 'outFeatures' | 'inFeatures'>,
  ): Weight | null;
}

/** Infers a quantizer's type. */
export const defineQuantizer = (quantizer: Quantizer): Quantizer => quantizer;
