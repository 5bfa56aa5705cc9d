/** Shapes of a model's modules and sizes of its stacks, known from config.json without any weights. */
import type { ExpertsShape } from '../layers/experts.js';
import { frontEndRows, inputKindOf } from '../front-ends/registry.js';
import type { InputKind } from '../front-ends/registry.js';
import type { Role } from '../layers/linear.js';
import { fixedRopePositionsOf } from './stack-options.js';
import type { ModelPaths } from './model-paths.js';
import type { ModelOptions, NormKind, StackOptions } from './stack-options.js';

export interface LinearShape {
  /** Module path in Transformers. */
  readonly path: string;
  readonly role: Role;
  readonly layer: number | null;
  readonly inFeatures: number;
  readonly outFeatures: number;
  readonly hasBias: boolean;
  /** Whether files store the weight as [in, out]. */
  readonly transposed: boolean;
  /** Input channels and window of a convolution, which files store as [out, channels, …]. */
  readonly kernel?: readonly number[] | undefined;
  /**
   * `false` if adapters cannot target it because Transformers reads an attribute (such as `stride`) that
   * PEFT's wrapper does not have.
   */
  readonly adaptable?: false | undefined;
}

/** Returns the shape of a linear layer's weight in files. */
export const storedShape = ({
  inFeatures,
  outFeatures,
  transposed,
  kernel,
}: Pick<LinearShape, 'inFeatures' | 'outFeatures' | 'transposed' | 'kernel'>): number[] => {
  if (kernel) return [outFeatures, ...kernel];
  return transposed ? [inFeatures, outFeatures] : [outFeatures, inFeatures];
};

/**
 * Whether a quantizer quantizes the layer. Some quantizers, such as bitsandbytes, skip heads. All skip
 * convolutions.
 */
export const isPackable = (
  { role, kernel }: Pick<LinearShape, 'role' | 'kernel'>,
  heads: boolean,
): boolean => (heads || role !== 'head') && !kernel;

export interface NormShape {
  readonly path: string;
  readonly kind: NormKind;
  readonly eps: number;
  readonly features: number;
  readonly hasBias: boolean;
}

export interface TableShape {
  readonly path: string;
  readonly rows: number;
  readonly columns: number;
  /** Factor that multiplies its rows. */
  readonly scale?: number;
  /**
   * Whether it is a convolution's kernel with one row per channel, which files store as [rows, 1, columns].
   */
  readonly isKernel?: true;
  /** Shape in files, if it is a parameter without its own module, named by its path alone. */
  readonly parameter?: readonly number[] | undefined;
}

/** Returns a table's name in files. */
export const tableName = ({ path, parameter }: Pick<TableShape, 'path' | 'parameter'>): string =>
  parameter ? path : `${path}.weight`;

/** Modules that targets are selected from: shapes (an outline), or modules of a loaded model (modules.ts). */
export interface ModuleIndex<
  L extends { readonly path: string; readonly role: Role },
  N extends { readonly path: string },
  E extends { readonly path: string },
  X extends Routed = Routed,
> {
  linears(roles?: readonly Role[]): readonly L[];
  norms(): readonly N[];
  embeddings(): readonly E[];
  /** Table of token ids, the first of the embeddings; null if the model reads none. */
  readonly tokenEmbedding: E | null;
  /** Heads that share an embedding's matrix. */
  tied(): readonly (readonly [L, E])[];
  /** Routers with their experts. */
  experts(): readonly X[];
}

export interface Routed {
  readonly shapes: ReadonlyMap<string, readonly number[]>;
  /** Paths that match in `target_modules`. */
  readonly names: readonly string[];
  readonly oldNames: ExpertsShape['oldNames'];
}

/**
 * Returns linear layers of these roles, in the model's order. Defaults to all. A fused layer has all of its
 * parts' roles.
 */
export function ofRoles<L extends { readonly role: Role }>(
  linears: readonly L[],
  roles?: readonly Role[],
): readonly L[] {
  if (!roles) return linears;
  const wanted = new Set<Role>(roles);
  if (wanted.has('q') || wanted.has('k') || wanted.has('v')) wanted.add('qkv');
  if (wanted.has('gate') || wanted.has('up')) wanted.add('gate_up');
  return linears.filter(({ role }) => wanted.has(role));
}

/** Sizes of a stack. */
export interface StackShape {
  readonly layers: number;
  readonly hiddenSize: number;
  /** Width of embedded rows, including virtual ones. */
  readonly embeddingSize: number;
  readonly heads: number;
  readonly kvHeads: number;
  /** Number of key heads of a prefix: that of keys, or that of queries. */
  readonly prefixHeads: number;
  readonly headDim: number;
  readonly maxPositions: number;
  /**
   * Largest sequence length up to which rotary frequencies do not depend on the length. Sequences that share
   * virtual tokens are not longer.
   */
  readonly fixedRopePositions: number;
  readonly defaultMaxSeqLen?: number | undefined;
  /** Whether every layer has attention, and so keys and values. */
  readonly allLayersAttend: boolean;
  readonly inputKind: InputKind;
  /**
   * Returns the number of rows for an input of this shape.
   * @throws DomainError if the stack cannot read it
   */
  inputRows(shape: readonly number[]): number;
}

/** Sizes that PEFT reads from a model: those of the stack that reads the input, and the number of stacks. */
export interface ModelShape extends StackShape {
  /** PEFT's num_transformer_submodules. */
  readonly stackCount: 1 | 2;
  /** Number of decoder layers that attend to an encoder; 0 if there is none. */
  readonly attendingLayers: number;
}

export const stackShape = (options: StackOptions): StackShape & Pick<StackOptions, 'blocks'> => {
  const { hiddenSize, embeddingSize = hiddenSize, kvHeads, prefixHeads = kvHeads } = options;
  const allLayersAttend = !options.convolutions?.layers.includes(true);
  const fixedRopePositions = fixedRopePositionsOf(options);
  const { frontEnd } = options;
  return {
    ...options,
    embeddingSize,
    prefixHeads,
    allLayersAttend,
    fixedRopePositions,
    inputKind: inputKindOf(frontEnd),
    inputRows: (shape) => (frontEnd ? frontEndRows(frontEnd, shape) : (shape[0] as number)),
  };
};

/** Returns the sizes of the stack that reads the input. */
export const inputShape = ({ encoder, decoder }: ModelOptions): ReturnType<typeof stackShape> =>
  stackShape((encoder ?? decoder) as StackOptions);

/** Returns the number of positions of an encoder-decoder's decoder; null for other models. */
export const targetPositions = ({ encoder, decoder }: ModelOptions): number | null =>
  encoder && decoder ? decoder.maxPositions : null;

/** Returns the width of the rows that heads read. */
export const headWidth = (options: ModelOptions, { encoder, decoder }: ModelPaths): number => {
  const { hiddenSize, embeddingSize } = inputShape(options);
  return (decoder ?? encoder)?.projectOut === undefined ? hiddenSize : embeddingSize;
};
