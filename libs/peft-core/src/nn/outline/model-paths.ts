/** Where a model's modules stand, as transformers has their paths. */
import { frontEndLinears, inputKindOf } from '../front-ends/registry.js';
import type { FrontEndPaths, InputKind } from '../front-ends/registry.js';
import type { PoolingHeadPaths } from '../layers/pooling-head.js';

interface AttentionPaths {
  readonly norm: string;
  /** What it is called where the parts are in parallel with a norm each, if not the same. */
  readonly parallelNorm?: string;
  /** Of what attention made, where the other is of what it reads. */
  readonly normAfter?: string;
  readonly q?: string;
  readonly k?: string;
  readonly v?: string;
  readonly qkv?: string;
  readonly qNorm?: string;
  readonly kNorm?: string;
  readonly o: string;
  /** Parameter that what was made is multiplied by. */
  readonly scale?: string;
}

/** Where a router and its experts stand. */
export interface ExpertPaths {
  readonly router: string;
  readonly experts: string;
  /** In files, which have each expert's matrices apart; '{e}' stands for the expert. */
  readonly files: {
    readonly router: string;
    readonly gate: string;
    readonly up: string;
    readonly down: string;
  };
}

/** Module paths of a stack; '{n}' stands for the layer, or for the name of its block. */
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
  /** Of layers that convolve; their norms are attention's. */
  readonly convolution?: { readonly into: string; readonly kernel: string; readonly out: string };
  readonly feedForward: {
    /** Left out where it is attention's. */
    readonly norm?: string;
    readonly parallelNorm?: string;
    readonly normAfter?: string;
    /** Left out, as `up` and `down`, where every layer has experts. */
    readonly gate?: string;
    /** Of gate and up where they are one matrix. */
    readonly up?: string;
    /** What `up` is called where there is no gate, if not the same. */
    readonly alone?: string;
    readonly down?: string;
    /** What `down` is called where there is a gate, if not the same. */
    readonly gatedDown?: string;
    readonly scale?: string;
    readonly experts?: ExpertPaths;
  };
  readonly finalNorm?: string;
}

/** What transformers calls the weights of a sum of all layers: a parameter of the model itself, [layers + 1]. */
export const LAYER_WEIGHTS = 'layer_weights';

/** What heads of tasks give: numbers for a sequence, numbers for each of its rows, where a span of rows lies, or the letter of each row. */
export type TaskHeadKind = 'classification' | 'token_classification' | 'span' | 'ctc';

/** First or last row, the mean of all, each, the first beside the mean of those that follow (2 D wide), or the mean of the first two. */
export type HeadPool = 'first' | 'last' | 'mean' | 'each' | 'first_and_mean' | 'first_two';

/** A head of a task, which each run has for itself: output(norm(act(hidden(rows)))), the norm where there is one, or output(rows). */
export interface TaskHeadPaths {
  /** The rows of a sequence that it reads. */
  readonly pool: HeadPool;
  readonly hidden?: {
    readonly path: string;
    readonly activation: 'tanh' | 'relu' | 'gelu' | 'none';
    /** Of what was activated. */
    readonly norm?: string;
    /** Whether it is the base's: its files have it, and it stays as it is. Else it is made with the output. */
    readonly isStored: boolean;
  };
  /** Of the rows that it reads, made with the output. */
  readonly norm?: string;
  readonly output: string;
  /** Of the output. */
  readonly hasBias: boolean;
  /** Of a head that reads an encoder which has a decoder beside it: transformers' model with it has the encoder alone, under other paths. */
  readonly lacks?: Lacking;
}

/** What paths begin with here, and not in another of transformers' models: those that go on with `before`. */
export interface Lacking {
  readonly prefix: string;
  readonly before: string;
}

/** Module paths as transformers has them, by what they are. */
export interface ModelPaths {
  /** Left out where no stack reads tokens. */
  readonly tokenEmbedding?: string;
  readonly encoder?: StackPaths;
  readonly decoder?: StackPaths;
  /** Left out where a model writes no tokens. */
  readonly lmHead?: string;
  /** What is added to logits and does not train, [1, V]: a tensor's name in the files, which may lack it. */
  readonly logitBias?: string;
  /** Of what makes one row of all of a picture's. */
  readonly pooling?: PoolingHeadPaths;
  /** What paths begin with that transformers' model without a head lacks; left out: their first segment. */
  readonly headPrefix?: string;
  /** Linears of transformers' classes that are not read here. Names mean them in PEFT, too. */
  readonly unread?: {
    readonly inAll: readonly string[];
    /** And of its class without a head. */
    readonly inHeadless: readonly string[];
  };
  /** Heads of tasks; decoders have one of transformers' usual name where none is named. */
  readonly heads?: Readonly<Partial<Record<TaskHeadKind, TaskHeadPaths>>>;
}

const DECODER_HEADS: NonNullable<ModelPaths['heads']> = {
  classification: { pool: 'last', output: 'score', hasBias: false },
};

/** The heads that a model may be given, by what they are for. */
export const taskHeads = ({ heads = {}, encoder }: ModelPaths): NonNullable<ModelPaths['heads']> =>
  encoder ? heads : { ...DECODER_HEADS, ...heads };

/** Which stacks a model has. */
export type StackKinds = 'decoder' | 'encoder' | 'encoder_decoder';

/** Of a model, its options or its paths. */
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

/** What a model is made of, and what it reads. */
export interface ModelKind {
  readonly stacks: StackKinds;
  readonly inputs: InputKind;
}

export const modelKind = (paths: ModelPaths): ModelKind => ({
  stacks: stackKinds(paths),
  inputs: inputKindOf((paths.encoder ?? paths.decoder)?.frontEnd),
});

/**
 * What paths begin with in a model with a head, and not in transformers' model without one; nothing where an encoder
 * stands beside a decoder.
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

/** What paths lack in transformers' model of an encoder alone with a head, of a family that has decoders, too; null: there is none. */
export const lackingAlone = (paths: ModelPaths): Lacking | null =>
  Object.values(taskHeads(paths)).find(({ lacks }) => lacks)?.lacks ?? null;

export const pathWithout = (path: string, { prefix, before }: Lacking): string =>
  path.startsWith(prefix + before) ? path.slice(prefix.length) : path;

/** The other way round; of what has it, the same. */
export const pathWith = (path: string, { prefix, before }: Lacking): string =>
  path.startsWith(before) && !path.startsWith(prefix) ? prefix + path : path;

/** Last segments of the paths of linears, and what experts and routers are called in files. */
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
    const { gate, up, alone, down, gatedDown, experts } = feedForward;
    const routed = Object.values(experts?.files ?? {});
    const between = [
      convolution?.into,
      convolution?.out,
      gate,
      up,
      alone,
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
