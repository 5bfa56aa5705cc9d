/** Paths of a model's modules in Transformers. */
import { frontEndLinears, inputKindOf } from '../front-ends/registry.js';
import type { FrontEndPaths, InputKind } from '../front-ends/registry.js';
import type { PoolingHeadPaths } from '../layers/pooling-head.js';

interface AttentionPaths {
  readonly norm: string;
  /** Path of the norm if parallel parts have a norm each. Defaults to `norm`. */
  readonly parallelNorm?: string;
  /** Norm of attention's output, in addition to the norm of its input. */
  readonly normAfter?: string;
  readonly q?: string;
  readonly k?: string;
  readonly v?: string;
  readonly qkv?: string;
  readonly qNorm?: string;
  readonly kNorm?: string;
  readonly o: string;
  /** Parameter that multiplies the output. */
  readonly scale?: string;
}

/** Paths of a router and its experts. */
export interface ExpertPaths {
  readonly router: string;
  readonly experts: string;
  /** Paths in files, which store each expert's matrices separately; '{e}' is the expert's number. */
  readonly files: {
    readonly router: string;
    readonly gate: string;
    readonly up: string;
    readonly down: string;
  };
}

/** Module paths of a stack; '{n}' is the layer's number, or the name of its block. */
export interface StackPaths {
  readonly frontEnd?: FrontEndPaths;
  readonly positions?: string;
  readonly tokenTypes?: string;
  readonly embeddingNorm?: string;
  readonly projectIn?: string;
  readonly projectOut?: string;
  /** Table of a relative bias. */
  readonly bias?: string;
  readonly attention: AttentionPaths;
  readonly cross?: AttentionPaths;
  /** Paths in convolution layers, whose norms are those of `attention`. */
  readonly convolution?: { readonly into: string; readonly kernel: string; readonly out: string };
  readonly feedForward: {
    /** Omitted if it is attention's norm. */
    readonly norm?: string;
    readonly parallelNorm?: string;
    readonly normAfter?: string;
    /** Omitted, like `up` and `down`, if every layer has experts. */
    readonly gate?: string;
    /** Also the matrix of gate and up, if they are one. */
    readonly up?: string;
    /** Path of `up` if there is no gate. Defaults to `up`. */
    readonly ungatedUp?: string;
    readonly down?: string;
    /** Path of `down` if there is a gate. Defaults to `down`. */
    readonly gatedDown?: string;
    readonly scale?: string;
    readonly experts?: ExpertPaths;
  };
  readonly finalNorm?: string;
}

/** Transformers' name of the weights of a layer sum: a parameter of the model itself, [layers + 1]. */
export const LAYER_WEIGHTS = 'layer_weights';

/**
 * Kind of task head by output: values per sequence, values per row, a span of rows, or a CTC token per row.
 */
export type TaskHeadKind = 'classification' | 'token_classification' | 'span' | 'ctc';

/**
 * Rows that a head reads: the first, the last, the mean of all, each, the first concatenated with the mean of
 * those after it (2 D wide), or the mean of the first two.
 */
export type HeadPool = 'first' | 'last' | 'mean' | 'each' | 'first_and_mean' | 'first_two';

/** Task head of a run: output(norm(act(hidden(rows)))), with or without the norm, or output(rows). */
export interface TaskHeadPaths {
  /** Rows of a sequence that it reads. */
  readonly pool: HeadPool;
  readonly hidden?: {
    readonly path: string;
    readonly activation: 'tanh' | 'relu' | 'gelu' | 'none';
    /** Norm of the activated hidden layer. */
    readonly norm?: string;
    /**
     * Whether the base model's files contain it. If so, it is not trained; else it is initialized with the
     * output layer.
     */
    readonly isStored: boolean;
  };
  /** Norm of the head's input, initialized with the output layer. */
  readonly norm?: string;
  readonly output: string;
  /** Whether the output layer has a bias. */
  readonly hasBias: boolean;
  /**
   * Set if the head reads the encoder of an encoder-decoder: Transformers' class with this head has the
   * encoder only, under other paths.
   */
  readonly missingPrefix?: MissingPrefix;
}

/**
 * Prefix of paths that another class of Transformers does not have. Applies to paths that continue with
 * `before`.
 */
export interface MissingPrefix {
  readonly prefix: string;
  readonly before: string;
}

/** Module paths in Transformers by their function. */
export interface ModelPaths {
  /** Omitted if no stack reads tokens. */
  readonly tokenEmbedding?: string;
  readonly encoder?: StackPaths;
  readonly decoder?: StackPaths;
  /** Omitted if the model generates no tokens. */
  readonly lmHead?: string;
  /** Name in files of a frozen bias of the logits, [1, V]. Files may not contain it. */
  readonly logitBias?: string;
  /** Paths of the module that pools an image's rows into one. */
  readonly pooling?: PoolingHeadPaths;
  /**
   * Path prefix that Transformers' class without a head does not have. Defaults to the first path segment.
   */
  readonly headPrefix?: string;
  /**
   * Linear layers, norms and embeddings of the Transformers classes that Graft does not load. The names of an
   * adapter's modules may match them in PEFT.
   */
  readonly unread?: {
    readonly inAll?: readonly string[];
    /** Additional modules of the class without a head, by its paths. */
    readonly inHeadless?: readonly string[];
  };
  /** Task heads. Decoders without their own classification head have Transformers' usual one. */
  readonly heads?: Readonly<Partial<Record<TaskHeadKind, TaskHeadPaths>>>;
}

const DECODER_HEADS: NonNullable<ModelPaths['heads']> = {
  classification: { pool: 'last', output: 'score', hasBias: false },
};

/** Returns the task heads that a model supports, by kind. */
export const taskHeads = ({ heads = {}, encoder }: ModelPaths): NonNullable<ModelPaths['heads']> =>
  encoder ? heads : { ...DECODER_HEADS, ...heads };

/** Stacks of a model. */
export type StackKinds = 'decoder' | 'encoder' | 'encoder_decoder';

/** Returns the stacks of a model, given the model, its options or its paths. */
export function stackKinds({
  encoder,
  decoder,
}: {
  readonly encoder?: unknown;
  readonly decoder?: unknown;
}): StackKinds {
  if (!encoder) return 'decoder';
  return decoder ? 'encoder_decoder' : 'encoder';
}

/** Stacks of a model, and the kind of its input. */
export interface ModelKind {
  readonly stacks: StackKinds;
  readonly inputs: InputKind;
}

export const modelKind = (paths: ModelPaths): ModelKind => ({
  stacks: stackKinds(paths),
  inputs: inputKindOf((paths.encoder ?? paths.decoder)?.frontEnd),
});

/**
 * Returns the path prefix of a model with a head that Transformers' class without one does not have. Empty
 * for encoder-decoders.
 */
export function headPrefix({
  tokenEmbedding,
  encoder,
  decoder,
  headPrefix: named,
}: ModelPaths): string {
  if (named !== undefined) return named;
  const [leading = ''] = encoder?.frontEnd ? frontEndLinears(encoder.frontEnd) : [];
  const first = tokenEmbedding ?? leading;
  return encoder && decoder ? '' : first.slice(0, first.indexOf('.') + 1);
}

/**
 * Returns the prefix that Transformers' encoder-only class with a task head does not have, for
 * encoder-decoder families; null if there is no such class.
 */
export const missingPrefixOf = (paths: ModelPaths): MissingPrefix | null =>
  Object.values(taskHeads(paths)).find(({ missingPrefix }) => missingPrefix)?.missingPrefix ?? null;

export const pathWithout = (path: string, { prefix, before }: MissingPrefix): string =>
  path.startsWith(prefix + before) ? path.slice(prefix.length) : path;

/** Inverse of `pathWithout`. Paths that have the prefix are unchanged. */
export const pathWith = (path: string, { prefix, before }: MissingPrefix): string =>
  path.startsWith(before) && !path.startsWith(prefix) ? prefix + path : path;

/** Returns the last path segments of linear layers, and the names of experts and routers in files. */
export function linearNames({ encoder, decoder, lmHead, heads = {} }: ModelPaths): string[] {
  const paths = [encoder, decoder].flatMap((stack) => {
    if (!stack) return [];
    const { frontEnd, attention, cross, convolution, feedForward, projectIn, projectOut } = stack;
    const each = (part: AttentionPaths | undefined) => [
      part?.q,
      part?.k,
      part?.v,
      part?.qkv,
      part?.o,
    ];
    const { gate, up, ungatedUp, down, gatedDown, experts } = feedForward;
    const routed = Object.values(experts?.files ?? {});
    const between = [
      convolution?.into,
      convolution?.out,
      gate,
      up,
      ungatedUp,
      down,
      gatedDown,
      ...routed,
    ];
    const first = [...(frontEnd ? frontEndLinears(frontEnd) : []), projectIn];
    return [...first, ...each(attention), ...each(cross), ...between, projectOut];
  });
  const hidden = Object.values(heads).map((head) => head.hidden?.path);
  const found = [...paths, ...hidden, lmHead].filter((path) => path !== undefined);
  return [...new Set(found.map((path) => path.slice(path.lastIndexOf('.') + 1)))];
}
