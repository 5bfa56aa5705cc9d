import type { Tensor } from '@graft/kernels';
import type { HfConfig, Tensors } from '../nn/hf-files.js';
import type { LinearShape } from '../nn/outline/outline.js';
import type { Stored } from '../nn/outline/stored-names.js';
import type { Weight } from '../nn/weight.js';

/** Packs frozen matrices. A quantised base is a property of its weights: no method knows of it. */
export interface Quantizer {
  readonly name: string;
  readonly title: string;
  /** What it takes of memory and what it changes, in a few words for who chooses. */
  readonly summary: string;
  /**
   * Packs W [out, in], of the base's dtype. `matrix` stays its owner's; what the weight holds is freed with it. Left out:
   * matrices are packed in the base's files, or stay dense.
   */
  quantize?(matrix: Tensor): Weight;
  /** transformers' quantization_config that holds a base so; left out where loading it plainly does. */
  readonly transformers?: string;
  /** Whether the table of tokens and heads are packed as well as the matrices of blocks. */
  readonly tables?: true;
  /** Bytes of a packed matrix. */
  bytes(outFeatures: number, inFeatures: number, config: HfConfig): number;
  /** Why a base is not held so; null where it can be. */
  refusal?(config: HfConfig): string | null;
  /** Whether this quantization_config of a config.json is of files that `read` reads. */
  reads?(stored: Readonly<Record<string, unknown>>): boolean;
  /**
   * Whether such files hold a matrix packed, by their headers alone; what tensors contain is looked at by `read`.
   * @throws DomainError invalid_model as `read` does
   */
  holds?(
    stored: Stored,
    path: string,
    shape: Pick<LinearShape, 'outFeatures' | 'inFeatures'>,
  ): boolean;
  /**
   * The matrix that files hold packed, by the name they give the module; null where they hold it dense.
   * @throws DomainError invalid_model when its tensors do not fit the shape
   */
  read?(
    tensors: Tensors,
    path: string,
    shape: Pick<LinearShape, 'outFeatures' | 'inFeatures'>,
  ): Weight | null;
}

/** Gives a quantiser its type. */
export const defineQuantizer = (quantizer: Quantizer): Quantizer => quantizer;
