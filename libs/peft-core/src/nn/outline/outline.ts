/** Shapes of a model's modules and sizes of its stacks, known from config.json without any weights. */
import type { ExpertsShape } from '../layers/experts.js';
import { frontEndRows, inputKindOf } from '../front-ends/registry.js';
import type { InputKind } from '../front-ends/registry.js';
import type { Role } from '../layers/linear.js';
import { alikeIn } from './stack-options.js';
import type { ModelPaths } from './model-paths.js';
import type { ModelOptions, NormKind, StackOptions } from './stack-options.js';

export interface LinearShape {
  /** Module path as transformers has it. */
  readonly path: string;
  readonly role: Role;
  readonly layer: number | null;
  readonly inFeatures: number;
  readonly outFeatures: number;
  readonly hasBias: boolean;
  /** Whether files store the weight as [in, out]. */
  readonly transposed: boolean;
  /** Of a convolution, which files store as [out, channels, …]: those channels and its window. */
  readonly kernel?: readonly number[] | undefined;
  /** Left out: yes. Where transformers reads of it what PEFT's layers lack (its stride), an adapted model would not run there. */
  readonly adaptable?: false | undefined;
}

/** A linear's weight as files have it. */
export const storedShape = ({
  inFeatures,
  outFeatures,
  transposed,
  kernel,
}: Pick<LinearShape, 'inFeatures' | 'outFeatures' | 'transposed' | 'kernel'>): number[] => {
  if (kernel) return [outFeatures, ...kernel];
  return transposed ? [inFeatures, outFeatures] : [outFeatures, inFeatures];
};

/** Whether a quantiser packs it: matrices of blocks, as bitsandbytes, or those of heads, too. */
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
  /** What its rows are multiplied by. */
  readonly scale?: number;
  /** Whether it is a convolution's, a row for each channel: [rows, 1, columns] then. */
  readonly isKernel?: true;
  /** Of a parameter that its path alone names, as no module of its own has it: its shape in files. */
  readonly parameter?: readonly number[] | undefined;
}

/** What files call a table. */
export const tableName = ({ path, parameter }: Pick<TableShape, 'path' | 'parameter'>): string =>
  parameter ? path : `${path}.weight`;

/** What picks among modules sees of them: shapes here, modules of a loaded model (modules.ts). */
export interface ModuleIndex<
  L extends { readonly path: string; readonly role: Role },
  N extends { readonly path: string },
  E extends { readonly path: string },
  X extends Routed = Routed,
> {
  linears(roles?: readonly Role[]): readonly L[];
  norms(): readonly N[];
  embeddings(): readonly E[];
  /** That of token ids, the first of the embeddings; null where the model reads none. */
  readonly tokenEmbedding: E | null;
  /** Heads that share an embedding's matrix. */
  tied(): readonly (readonly [L, E])[];
  /** Routers with their experts. */
  experts(): readonly X[];
}

export interface Routed {
  readonly shapes: ReadonlyMap<string, readonly number[]>;
  /** Paths by which `target_modules` may mean it. */
  readonly names: readonly string[];
  readonly olds: ExpertsShape['olds'];
}

/** Linears of these roles, in the model's order; all of them when left out. A fused one answers for its parts. */
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

/** A stack's sizes. */
export interface StackShape {
  readonly layers: number;
  readonly hiddenSize: number;
  /** Width of embedded rows, virtual ones included. */
  readonly embeddingSize: number;
  readonly heads: number;
  readonly kvHeads: number;
  /** Of a prefix's keys: as many as keys have, or queries. */
  readonly prefixHeads: number;
  readonly headDim: number;
  readonly maxPositions: number;
  /** Up to how many of them sequences are rotated alike, whatever their length: none that share virtual tokens has more. */
  readonly alikePositions: number;
  readonly defaultMaxSeqLen?: number | undefined;
  /** Whether every layer attends, so that all have keys and values. */
  readonly attendsThroughout: boolean;
  /** What it reads. */
  readonly inputKind: InputKind;
  /** Rows that it makes of an input of this shape. @throws DomainError for one that it does not read */
  inputRows(shape: readonly number[]): number;
}

/** The sizes that PEFT takes of a model: those of the stack that reads the input, and how many stacks there are. */
export interface ModelShape extends StackShape {
  /** PEFT's num_transformer_submodules. */
  readonly stackCount: 1 | 2;
  /** Layers of the decoder where it attends to an encoder; else 0. */
  readonly attendingLayers: number;
}

export const stackShape = (options: StackOptions): StackShape & Pick<StackOptions, 'blocks'> => {
  const { hiddenSize, embeddingSize = hiddenSize, kvHeads, prefixHeads = kvHeads } = options;
  const attendsThroughout = !options.convolutions?.layers.includes(true);
  const alikePositions = alikeIn(options);
  const { frontEnd } = options;
  return {
    ...options,
    embeddingSize,
    prefixHeads,
    attendsThroughout,
    alikePositions,
    inputKind: inputKindOf(frontEnd),
    inputRows: (shape) => (frontEnd ? frontEndRows(frontEnd, shape) : (shape[0] as number)),
  };
};

/** Of the stack that reads the input. */
export const inputShape = ({ encoder, decoder }: ModelOptions): ReturnType<typeof stackShape> =>
  stackShape((encoder ?? decoder) as StackOptions);

/** Of a decoder beside an encoder. */
export const targetPositions = ({ encoder, decoder }: ModelOptions): number | null =>
  encoder && decoder ? decoder.maxPositions : null;

/** Of the rows that heads read. */
export const headWidth = (options: ModelOptions, { encoder, decoder }: ModelPaths): number => {
  const { hiddenSize, embeddingSize } = inputShape(options);
  return (decoder ?? encoder)?.projectOut === undefined ? hiddenSize : embeddingSize;
};
