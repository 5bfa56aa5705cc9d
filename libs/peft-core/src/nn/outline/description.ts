/**
 * A model's modules, described once and made twice: as shapes (model-outline.ts) and with the weights of a
 * checkpoint (models/frame/assemble.ts).
 */
import type { Experts, ExpertsShape } from '../layers/experts.js';
import { describeFrontEnd } from '../front-ends/registry.js';
import type { FrontEndModules, FrontEndPaths } from '../front-ends/registry.js';
import { headNormShape, poolerShape } from './head-shapes.js';
import type { Pooler } from './head-shapes.js';
import type { Role } from '../layers/linear.js';
import { inputShape, headWidth } from './outline.js';
import type { LinearShape, NormShape, TableShape } from './outline.js';
import { blocks, lmHeadShape, normShape } from './outline-block.js';
import { describePoolingHead, type PoolingHeadModules } from '../layers/pooling-head.js';
import { headPrefix, taskHeads } from './model-paths.js';
import type { ModelPaths, StackPaths, TaskHeadPaths } from './model-paths.js';
import type { ModelOptions, StackOptions } from './stack-options.js';

/** Makes each module of a description. */
export interface ModuleMaker<L, N, E, X = Experts> {
  linear(shape: LinearShape): L;
  /** Makes a head that uses an embedding's matrix. */
  tied(shape: LinearShape, embedding: E): L;
  /** Whether the files contain a module's weight. True if there are no files to look at. */
  has(path: string): boolean;
  /** Makes the hidden layer of a task head from the files; null if they do not contain it. */
  pooler(shape: LinearShape): L | null;
  poolerNorm(shape: NormShape): N;
  norm(shape: NormShape): N;
  embedding(shape: TableShape): E;
  experts(shape: ExpertsShape): X;
}

export interface AttentionModules<L, N> {
  /** Null if attention reads the rows without a norm. */
  readonly norm: N | null;
  readonly normAfter: N | null;
  /** Query, key and value, or one linear layer for all three. */
  readonly qkv: readonly [L, L, L] | readonly [L];
  readonly qNorm: N | null;
  readonly kNorm: N | null;
  readonly o: L;
}

/** Modules of a convolution layer. */
export interface ConvolutionModules<L, N, E> {
  readonly norm: N | null;
  readonly normAfter: N | null;
  readonly into: L;
  readonly kernel: E;
  readonly out: L;
}

/** Dense feed-forward part, which all rows go through. */
export interface DenseFeedForward<L> {
  readonly experts: null;
  readonly gate: L | null;
  readonly up: L;
  readonly down: L;
}

export interface Block<L, N, E, X = Experts> {
  /** Null in convolution layers. */
  readonly attention: AttentionModules<L, N> | null;
  readonly convolution: ConvolutionModules<L, N, E> | null;
  readonly cross: AttentionModules<L, N> | null;
  /** LayerScale factors of the outputs of attention and feed-forward. */
  readonly scales: readonly [attention: E, feedForward: E] | null;
  readonly feedForward: {
    readonly norm: N | null;
    readonly normAfter: N | null;
  } & (DenseFeedForward<L> | { readonly experts: X });
}

export interface StackModules<L, N, E, X = Experts> {
  readonly frontEnd: FrontEndModules<L, N, E> | null;
  readonly positions: E | null;
  /** Table of token types. */
  readonly tokenTypes: E | null;
  /** Input projection from the width of the token table, and output projection back to it. */
  readonly projectIn: L | null;
  readonly projectOut: L | null;
  /** Norm of the first block's input. */
  readonly embeddingNorm: N | null;
  /** Table of a relative bias. */
  readonly bias: E | null;
  readonly blocks: readonly Block<L, N, E, X>[];
  readonly finalNorm: N | null;
}

/**
 * Modules of a model: one list per kind, with linear layers in the order of the forward pass, and their
 * structure.
 */
export interface Description<L, N, E, X = Experts> {
  readonly linears: readonly L[];
  readonly norms: readonly N[];
  readonly embeddings: readonly E[];
  /** Heads that share an embedding's matrix. */
  readonly tied: readonly (readonly [L, E])[];
  /** First of the embeddings; null if no stack reads tokens. */
  readonly tokenEmbedding: E | null;
  readonly experts: readonly X[];
  readonly encoder: StackModules<L, N, E, X> | null;
  readonly decoder: StackModules<L, N, E, X> | null;
  /** Pools an image's rows into one; null if the model has no such module. */
  readonly pooling: PoolingHeadModules<L, N, E> | null;
  /** Language model head; null if the model generates no tokens. */
  readonly lmHead: L | null;
  /**
   * Hidden layers of task heads that the files contain, by path. Those of the backbone are in `linears` too.
   */
  readonly poolers: ReadonlyMap<string, Pooler<L, N>>;
}

/** Makes all modules of a model. */
export function describe<L, N, E, X>(
  options: ModelOptions,
  paths: ModelPaths,
  make: ModuleMaker<L, N, E, X>,
): Description<L, N, E, X> {
  const linears: L[] = [];
  const norms: N[] = [];
  const embeddings: E[] = [];
  const experts: X[] = [];
  const added = <T>(list: T[], module: T): T => {
    list.push(module);
    return module;
  };
  const maker: ModuleMaker<L, N, E, X> = {
    ...make,
    linear: (shape) => added(linears, make.linear(shape)),
    tied: (shape, embedding) => added(linears, make.tied(shape, embedding)),
    norm: (shape) => added(norms, make.norm(shape)),
    embedding: (shape) => added(embeddings, make.embedding(shape)),
    experts: (shape) => added(experts, make.experts(shape)),
  };
  const { encoder: encoding, decoder: decoding, vocabSize, embeddingScale } = options;
  const { embeddingSize } = inputShape(options);
  const { tokenEmbedding: table } = paths;
  const tokenEmbedding =
    table === undefined || vocabSize === 0
      ? null
      : maker.embedding({
          path: table,
          rows: vocabSize,
          columns: embeddingSize,
          scale: embeddingScale,
        });
  const encoder = encoding && stack(encoding, paths.encoder as StackPaths, maker);
  const decoder = decoding && stack(decoding, paths.decoder as StackPaths, maker);
  const pooling =
    encoding && options.poolingHead && paths.pooling
      ? describePoolingHead(encoding, paths.pooling, maker)
      : null;
  const width = headWidth(options, paths);
  const poolers = new Map<string, Pooler<L, N>>();
  for (const { path, norm } of storedHidden(paths)) {
    const linear = maker.pooler(poolerShape(path, width, options.headBias));
    if (!linear) continue;
    const shape = headNormShape(options, norm, width);
    poolers.set(path, { linear, norm: shape && maker.poolerNorm(shape) });
    if (path.startsWith(headPrefix(paths))) linears.push(linear);
  }
  const { lmHead: path } = paths;
  const hasHead = path !== undefined && vocabSize > 0 && options.lmHead;
  const head = hasHead ? lmHeadShape(path, width, options) : null;
  const isTied =
    tokenEmbedding !== null &&
    (options.tiedHead || (hasHead && options.tiesMissingHead && !make.has(path)));
  const lmHead = head && (isTied ? maker.tied(head, tokenEmbedding) : maker.linear(head));
  return {
    linears,
    norms,
    embeddings,
    tied: lmHead && isTied ? [[lmHead, tokenEmbedding]] : [],
    tokenEmbedding,
    experts,
    encoder,
    decoder,
    pooling,
    lmHead,
    poolers,
  };
}

/** Returns the hidden layers of task heads that files may contain, without duplicates. */
const storedHidden = (paths: ModelPaths): NonNullable<TaskHeadPaths['hidden']>[] => {
  const hidden = Object.values(taskHeads(paths)).map((head) => head.hidden);
  const stored = hidden.filter((one) => one !== undefined).filter(({ isStored }) => isStored);
  return [...new Map(stored.map((one) => [one.path, one])).values()];
};

function stack<L, N, E, X>(
  o: StackOptions,
  paths: StackPaths,
  make: ModuleMaker<L, N, E, X>,
): StackModules<L, N, E, X> {
  const table = (path: string | undefined, rows: number, columns: number): E =>
    make.embedding({ path: path as string, rows, columns });
  const between = (role: Role, path: string | undefined, to: number, from: number): L =>
    make.linear({
      path: path as string,
      role,
      layer: null,
      inFeatures: from,
      outFeatures: to,
      hasBias: (o.biases as readonly Role[]).includes(role),
      transposed: o.transposed,
    });
  const norm = (path: string | undefined, features = o.hiddenSize): N =>
    make.norm(normShape(o, path as string, features));
  const frontEnd = o.frontEnd
    ? describeFrontEnd(o.frontEnd, paths.frontEnd as FrontEndPaths, o.hiddenSize, make)
    : null;
  const { embeddingSize: embedded = o.hiddenSize } = o;
  const hasInputProjection = o.projectionInput === 'embedded' || embedded !== o.hiddenSize;
  const hasOutputProjection = o.projectionInput === 'tokens' && embedded !== o.hiddenSize;
  // width of the embeddings that are added to those of tokens
  const width = o.projectionInput === 'embedded' ? embedded : o.hiddenSize;
  const positions = o.learnedPositions
    ? table(paths.positions, o.positionOffset + o.maxPositions, width)
    : null;
  const tokenTypes =
    o.tokenTypes === undefined ? null : table(paths.tokenTypes, o.tokenTypes, width);
  const bias = o.bias?.kind === 'relative' ? table(paths.bias, o.bias.buckets, o.heads) : null;
  return {
    frontEnd,
    positions,
    tokenTypes,
    embeddingNorm: o.embeddingNorm ? norm(paths.embeddingNorm, width) : null,
    projectIn: hasInputProjection
      ? between('projectIn', paths.projectIn, o.hiddenSize, embedded)
      : null,
    bias,
    blocks: blocks(o, paths, make),
    finalNorm: o.normPlace === 'post' ? null : norm(paths.finalNorm),
    projectOut: hasOutputProjection
      ? between('projectOut', paths.projectOut, embedded, o.hiddenSize)
      : null,
  };
}
