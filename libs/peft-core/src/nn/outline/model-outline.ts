import { describe } from './description.js';
import type { Description } from './description.js';
import type { ExpertsShape } from '../layers/experts.js';
import type { InputKind } from '../front-ends/registry.js';
import {
  headNormShape,
  headPaths,
  layerWeightsShape,
  madeShapes,
  modulesWith,
  optionsWith,
} from './head-shapes.js';
import type { HeadRequest } from './head-shapes.js';
import type { Role } from '../layers/linear.js';
import { headWidth, inputShape, ofRoles, targetPositions } from './outline.js';
import type {
  LinearShape,
  ModelShape,
  ModuleIndex,
  NormShape,
  StackShape,
  TableShape,
} from './outline.js';
import type { ModelPaths } from './model-paths.js';
import type { CtcOptions, ModelOptions } from './stack-options.js';

/** Outline of a model: its modules as shapes. */
export class Outline
  implements ModuleIndex<LinearShape, NormShape, TableShape, ExpertsShape>, ModelShape
{
  /** Layers of the task head that are initialized for a run. */
  readonly made: readonly LinearShape[];
  readonly madeNorm: NormShape | null;
  readonly madeWeights: TableShape | null;
  readonly layers: number;
  /** Average number of times that a forward pass uses a block. */
  readonly passes: number;
  readonly hiddenSize: number;
  readonly embeddingSize: number;
  /** Width of the output rows. */
  readonly outputSize: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly prefixHeads: number;
  readonly headDim: number;
  readonly maxPositions: number;
  readonly fixedRopePositions: number;
  readonly defaultMaxSeqLen: number | undefined;
  readonly stackCount: 1 | 2;
  readonly attendingLayers: number;
  readonly allLayersAttend: boolean;
  readonly inputKind: InputKind;
  readonly startToken: number | null;
  readonly targetPositions: number | null;
  readonly ctc: CtcOptions | null;
  readonly vocabSize: number;
  readonly tokenEmbedding: TableShape | null;
  readonly #input: StackShape;
  readonly #all: Description<LinearShape, NormShape, TableShape, ExpertsShape>;

  /** @param head task head; if omitted, the outline has all modules of the files and no task head */
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
    this.fixedRopePositions = input.fixedRopePositions;
    this.defaultMaxSeqLen = input.defaultMaxSeqLen;
    this.stackCount = options.encoder && options.decoder ? 2 : 1;
    this.allLayersAttend = input.allLayersAttend;
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
