/**
 * A model's modules, described once and made twice: by their shapes alone, known from config.json without any weights,
 * and on the weights of a checkpoint (models/frame/assemble.ts).
 */
import { DomainError } from '@graft/contracts';
import { describeFrontEnd, frontEndRows, inputKindOf } from '../front-ends/registry.js';
import type { FrontEndModules, FrontEndPaths, InputKind } from '../front-ends/registry.js';
import { blocks, lmHeadShape, normShape } from './outline-block.js';
import type { Experts, ExpertsShape } from '../layers/experts.js';
import type { Role } from '../layers/linear.js';
import { describePoolingHead, type PoolingHeadModules } from '../layers/pooling-head.js';
import { alikeIn, headPrefix, LAYER_WEIGHTS, taskHeads, withoutDecoder } from './stack-options.js';
import type {
  CtcOptions,
  ModelOptions,
  ModelPaths,
  NormKind,
  StackOptions,
  StackPaths,
  TaskHeadKind,
  TaskHeadPaths,
} from './stack-options.js';

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

/** Makes each module of a description. */
export interface ModuleMaker<L, N, E, X = Experts> {
  linear(shape: LinearShape): L;
  /** A head on an embedding's matrix. */
  tied(shape: LinearShape, embedding: E): L;
  /** Whether the files have a module's weight; yes where there are none to look at. */
  has(path: string): boolean;
  /** What the head of a task has of the files; null where they lack it. */
  pooler(shape: LinearShape): L | null;
  poolerNorm(shape: NormShape): N;
  norm(shape: NormShape): N;
  embedding(shape: TableShape): E;
  experts(shape: ExpertsShape): X;
}

/** What rows go through before the output of a task's head. */
export interface Pooler<L, N> {
  readonly linear: L;
  readonly norm: N | null;
}

export interface AttentionModules<L, N> {
  /** Null where attention reads the rows as they are. */
  readonly norm: N | null;
  readonly normAfter: N | null;
  /** Query, key and value, or one linear for all three. */
  readonly qkv: readonly [L, L, L] | readonly [L];
  readonly qNorm: N | null;
  readonly kNorm: N | null;
  readonly o: L;
}

/** What a layer has that convolves. */
export interface ConvolutionModules<L, N, E> {
  readonly norm: N | null;
  readonly normAfter: N | null;
  readonly into: L;
  readonly kernel: E;
  readonly out: L;
}

/** Matrices that all rows go through. */
export interface DenseFeedForward<L> {
  readonly experts: null;
  readonly gate: L | null;
  readonly up: L;
  readonly down: L;
}

export interface Block<L, N, E, X = Experts> {
  /** Null where the layer convolves. */
  readonly attention: AttentionModules<L, N> | null;
  readonly convolution: ConvolutionModules<L, N, E> | null;
  readonly cross: AttentionModules<L, N> | null;
  /** What is multiplied with what attention and feed-forward made. */
  readonly scales: readonly [attention: E, feedForward: E] | null;
  readonly feedForward: {
    readonly norm: N | null;
    readonly normAfter: N | null;
  } & (DenseFeedForward<L> | { readonly experts: X });
}

export interface StackModules<L, N, E, X = Experts> {
  readonly frontEnd: FrontEndModules<L, N, E> | null;
  readonly positions: E | null;
  /** What tells the parts of a sequence apart. */
  readonly tokenTypes: E | null;
  /** From the width of the tokens' table and back to it. */
  readonly projectIn: L | null;
  readonly projectOut: L | null;
  /** Of what the first block reads. */
  readonly embeddingNorm: N | null;
  /** Table of a relative bias. */
  readonly bias: E | null;
  readonly blocks: readonly Block<L, N, E, X>[];
  readonly finalNorm: N | null;
}

/** A model's modules: each kind in a list, linears in the order in which they act, and where they stand. */
export interface Description<L, N, E, X = Experts> {
  readonly linears: readonly L[];
  readonly norms: readonly N[];
  readonly embeddings: readonly E[];
  /** Heads that share an embedding's matrix. */
  readonly tied: readonly (readonly [L, E])[];
  /** The first of the embeddings; null where no stack reads tokens. */
  readonly tokenEmbedding: E | null;
  readonly experts: readonly X[];
  readonly encoder: StackModules<L, N, E, X> | null;
  readonly decoder: StackModules<L, N, E, X> | null;
  /** What makes one row of all of a picture's; null where the model has nothing of the kind. */
  readonly pooling: PoolingHeadModules<L, N, E> | null;
  /** Of the files; null where a model writes no tokens. */
  readonly lmHead: L | null;
  /** Of the files, by their paths. A model without a head has those that are its backbone's. */
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

/** What files have of the heads of tasks, each once. */
const storedHidden = (paths: ModelPaths): NonNullable<TaskHeadPaths['hidden']>[] => {
  const hidden = Object.values(taskHeads(paths)).map((head) => head.hidden);
  const stored = hidden.filter((one) => one !== undefined).filter(({ isStored }) => isStored);
  return [...new Map(stored.map((one) => [one.path, one])).values()];
};

/** Of the norm of a head, which is as those of its stack; null where it has none. */
export const headNormShape = (
  options: ModelOptions,
  path: string | undefined,
  width: number,
): NormShape | null =>
  path === undefined
    ? null
    : normShape((options.encoder ?? options.decoder) as StackOptions, path, width);

export const poolerShape = (
  path: string,
  width: number,
  hasBias: boolean,
  size = width,
): LinearShape => ({
  path,
  role: 'pooler',
  layer: null,
  inFeatures: width,
  outFeatures: size,
  hasBias,
  transposed: false,
});

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
  const isLedIn = o.ledIn === 'embedded' || embedded !== o.hiddenSize;
  const isLedOut = o.ledIn === 'tokens' && embedded !== o.hiddenSize;
  // of what is added to tokens
  const width = o.ledIn === 'embedded' ? embedded : o.hiddenSize;
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
    projectIn: isLedIn ? between('projectIn', paths.projectIn, o.hiddenSize, embedded) : null,
    bias,
    blocks: blocks(o, paths, make),
    finalNorm: o.normPlace === 'post' ? null : norm(paths.finalNorm),
    projectOut: isLedOut ? between('projectOut', paths.projectOut, embedded, o.hiddenSize) : null,
  };
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

/** A head that a task wants, and how many numbers it shall give. */
export interface HeadRequest {
  readonly kind: TaskHeadKind;
  readonly outputs: number;
}

/** @throws DomainError for a model that has no such head */
export function headPaths(paths: ModelPaths, kind: TaskHeadKind): TaskHeadPaths {
  const found = taskHeads(paths)[kind];
  if (found) return found;
  const message = `this model has no head for ${kind.replace('_', ' ')}; use another task or base`;
  throw new DomainError('unsupported', message, 'graft.task');
}

/** What a model is with the head of a task: an encoder alone where the head reads that. */
export const optionsWith = (
  options: ModelOptions,
  paths: ModelPaths,
  kind: TaskHeadKind,
): ModelOptions => (headPaths(paths, kind).lacks ? withoutDecoder(options) : options);

/** Of a model's modules those that it has with the head of a task instead of its lm head. */
export function modulesWith<L, N>(
  {
    linears,
    norms,
    lmHead,
    poolers,
  }: Pick<Description<L, N, never>, 'linears' | 'norms' | 'lmHead' | 'poolers'>,
  paths: ModelPaths,
  kind: TaskHeadKind,
): { linears: L[]; norms: N[] } {
  const pooler = poolers.get(headPaths(paths, kind).hidden?.path ?? '');
  const others = new Set([lmHead, ...[...poolers.values()].map(({ linear }) => linear)]);
  const found = linears.filter((linear) => linear === pooler?.linear || !others.has(linear));
  return {
    linears: pooler && !found.includes(pooler.linear) ? [...found, pooler.linear] : found,
    norms: pooler?.norm ? [...norms, pooler.norm] : [...norms],
  };
}

/** What the files of a base do not have of a task's head, in the order in which it acts. */
export function madeShapes(
  { pool, hidden, output, hasBias }: TaskHeadPaths,
  { outputs }: HeadRequest,
  width: number,
  { headBias, headSize = width }: Pick<ModelOptions, 'headBias' | 'headSize'>,
): LinearShape[] {
  const isMade = hidden !== undefined && !hidden.isStored;
  const last: LinearShape = {
    path: output,
    role: 'head',
    layer: null,
    inFeatures: isMade ? headSize : pool === 'first_and_mean' ? 2 * width : width,
    outFeatures: outputs,
    hasBias,
    transposed: false,
  };
  if (!isMade) return [last];
  return [{ ...poolerShape(hidden.path, width, headBias, headSize), role: 'head' }, last];
}

/** Of what weighs the layers that a head reads; null where it reads the last alone. */
export const layerWeightsShape = (
  { layerSum, encoder, decoder }: ModelOptions,
  kind: TaskHeadKind,
): TableShape | null => {
  if (!layerSum || kind !== 'classification') return null;
  const rows = ((encoder ?? decoder) as StackOptions).layers + 1;
  return { path: LAYER_WEIGHTS, rows, columns: 1, parameter: [rows] };
};

/** Of the stack that reads the input. */
export const inputShape = ({
  encoder,
  decoder,
}: ModelOptions): StackShape & Pick<StackOptions, 'blocks'> => {
  const options = (encoder ?? decoder) as StackOptions;
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

/** Of a decoder beside an encoder. */
export const targetPositions = ({ encoder, decoder }: ModelOptions): number | null =>
  encoder && decoder ? decoder.maxPositions : null;

/** Of the rows that heads read. */
export const headWidth = (options: ModelOptions, { encoder, decoder }: ModelPaths): number => {
  const { hiddenSize, embeddingSize } = inputShape(options);
  return (decoder ?? encoder)?.projectOut === undefined ? hiddenSize : embeddingSize;
};

/** A model's modules by their shapes. */
export class Outline
  implements ModuleIndex<LinearShape, NormShape, TableShape, ExpertsShape>, ModelShape
{
  /** What is made anew for a run: the head of its task. */
  readonly made: readonly LinearShape[];
  readonly madeNorm: NormShape | null;
  readonly madeWeights: TableShape | null;
  readonly layers: number;
  /** How often a block is passed, on average. */
  readonly passes: number;
  readonly hiddenSize: number;
  readonly embeddingSize: number;
  /** Width of the rows that come out. */
  readonly outputSize: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly prefixHeads: number;
  readonly headDim: number;
  readonly maxPositions: number;
  readonly alikePositions: number;
  readonly defaultMaxSeqLen: number | undefined;
  readonly stackCount: 1 | 2;
  readonly attendingLayers: number;
  readonly attendsThroughout: boolean;
  readonly inputKind: InputKind;
  readonly startToken: number | null;
  readonly targetPositions: number | null;
  readonly ctc: CtcOptions | null;
  readonly vocabSize: number;
  readonly tokenEmbedding: TableShape | null;
  readonly #input: StackShape;
  readonly #all: Description<LinearShape, NormShape, TableShape, ExpertsShape>;

  /** @param head left out: all that the files hold, as it is without a task's head */
  constructor(all: ModelOptions, paths: ModelPaths, head: HeadRequest | null = null) {
    const options = head ? optionsWith(all, paths, head.kind) : all;
    const input = inputShape(options);
    this.layers = input.layers;
    this.passes = input.layers / (input.blocks ? new Set(input.blocks).size : input.layers);
    this.hiddenSize = input.hiddenSize;
    this.embeddingSize = input.embeddingSize;
    this.outputSize = headWidth(options, paths);
    this.heads = input.heads;
    this.kvHeads = input.kvHeads;
    this.prefixHeads = input.prefixHeads;
    this.headDim = input.headDim;
    this.maxPositions = input.maxPositions;
    this.alikePositions = input.alikePositions;
    this.defaultMaxSeqLen = input.defaultMaxSeqLen;
    this.stackCount = options.encoder && options.decoder ? 2 : 1;
    this.attendsThroughout = input.attendsThroughout;
    this.inputKind = input.inputKind;
    this.startToken = options.startToken ?? null;
    this.targetPositions = targetPositions(options);
    this.ctc = options.ctc ?? null;
    this.vocabSize = options.vocabSize;
    this.#input = input;
    this.attendingLayers = options.encoder ? (options.decoder?.layers ?? 0) : 0;
    const made = describe<LinearShape, NormShape, TableShape, ExpertsShape>(options, paths, {
      linear: (shape) => shape,
      tied: (shape) => shape,
      has: () => true,
      pooler: (shape) => shape,
      poolerNorm: (shape) => shape,
      norm: (shape) => shape,
      embedding: (shape) => shape,
      experts: (shape) => shape,
    });
    this.tokenEmbedding = made.tokenEmbedding;
    this.#all = head ? { ...made, ...modulesWith(made, paths, head.kind), tied: [] } : made;
    const own = head && headPaths(paths, head.kind);
    this.made = own ? madeShapes(own, head, this.outputSize, options) : [];
    this.madeNorm = headNormShape(options, own?.norm, this.outputSize);
    this.madeWeights = head && layerWeightsShape(options, head.kind);
  }

  inputRows(shape: readonly number[]): number {
    return this.#input.inputRows(shape);
  }

  linears(roles?: readonly Role[]): readonly LinearShape[] {
    return ofRoles(this.#all.linears, roles);
  }

  norms(): readonly NormShape[] {
    return this.#all.norms;
  }

  embeddings(): readonly TableShape[] {
    return this.#all.embeddings;
  }

  tied(): readonly (readonly [LinearShape, TableShape])[] {
    return this.#all.tied;
  }

  experts(): readonly ExpertsShape[] {
    return this.#all.experts;
  }
}
