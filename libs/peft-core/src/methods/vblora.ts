/**
 * VB-LoRA, arXiv:2405.15179: LoRA whose matrices are composed from a bank of short vectors that all linear layers
 * share.
 *   y = x Wᵀ + b + (drop(x) Aᵀ) Bᵀ
 *   a sub-vector of A's rows, or of B's columns:   Σ softmax(l)ᵢ vᵢ over the k largest of its logits l
 * v: [h, len], the bank. x: [n, in]  W: [out, in]  A: [r, in], logits [r, in/len, h]  B: [out, r], logits [out/len, r,
 * h]. Logits, bank, A and B are f32; products with x are computed in its dtype. The update does not start at zero.
 */
import {
  add,
  counterDropout,
  embedding,
  linear,
  mm,
  mul,
  reshape,
  softmax,
  sum,
  tidy,
  to,
  topk,
  transpose,
  unsqueeze,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import { z } from 'zod';
import type { LinearContext } from '../nn/layers/linear.js';
import type { LinearShape } from '../nn/outline/outline.js';
import {
  checkLayers,
  dropout,
  fanInFanOut,
  layerFields,
  modulesToSave,
  rank,
  scale,
  targetFields,
  trainedBiases,
} from './frame/fields.js';
import { linearMethod } from './frame/linear-method.js';
import { inputsOf, outputsOf } from './frame/linear-sizes.js';
import type { LinearUpdate, Merged, SharedState } from './frame/linear-method.js';
import type { ModuleParameters } from './frame/parameters.js';

const Options = z
  .strictObject({
    r: rank.default(4).describe('Rank of the update'),
    num_vectors: z
      .int()
      .min(1)
      .max(1_000_000)
      .default(256)
      .describe('Number of vectors in the shared vector bank'),
    vector_length: z
      .int()
      .min(1)
      .default(256)
      .describe('Length of a vector. Must divide the input and output size of every target module'),
    topk: z
      .int()
      .min(1)
      .default(2)
      .describe('Number of bank vectors combined for each sub-vector (top-k)'),
    vblora_dropout: dropout,
    ...targetFields('query and value projections (OPT and T5: all linear layers of a block)'),
    bias: trainedBiases('vblora_only'),
    modules_to_save: modulesToSave,
    init_vector_bank_bound: scale
      .default(0.02)
      .describe('Bound of the uniform initialization of the vector bank'),
    init_logits_std: scale.default(0.1).describe('Standard deviation of the initial logits'),
    ...layerFields,
    fan_in_fan_out: fanInFanOut,
  })
  .superRefine(checkLayers)
  .superRefine(({ topk: k, num_vectors: h }, ctx) => {
    if (k <= h) return;
    const message = `expected topk ≤ num_vectors, ${h}, got ${k}`;
    ctx.addIssue({ code: 'custom', message, path: ['topk'] });
  });
type Options = z.infer<typeof Options>;

const EVERY = ['q', 'k', 'v', 'o', 'up', 'down'] as const;
/** Target roles by model_type, for families whose PEFT default is more than q and v. */
const TARGETS: Readonly<Record<string, typeof EVERY>> = { bart: EVERY, opt: EVERY, t5: EVERY };

/** Vector bank that all linear layers share. */
interface Bank extends SharedState {
  readonly vectors: Tensor;
}

export const vblora = linearMethod<Options, Bank>({
  name: 'VBLORA',
  title: 'VB-LoRA',
  summary:
    'LoRA assembled from a vector bank shared by all layers, with trainable top-k selection.',
  paper: 'https://arxiv.org/abs/2405.15179',
  // the paper's for the bank; it uses 1e-2 for the logits
  defaultLearningRate: 1e-3,
  trainingOnly: ['vblora_dropout'],
  options: Options,
  // a file with only the selected vectors cannot be trained further
  unsupported: { save_only_topk_weights: false },
  convertsToLora: true,
  tensors: {
    vblora_logits_A: 'parameter',
    vblora_logits_B: 'parameter',
    vblora_vector_bank: 'shared',
  },
  defaultTargets: (modelType) => TARGETS[modelType] ?? ['q', 'v'],
  conv1d: true,
  // the selected vectors, and the factors computed from them
  held: (targets, { r, topk: k }) => ({
    numbers: (3 * k + 3) * r * (inputsOf(targets) + outputsOf(targets)),
    perRow: inputsOf(targets) + targets.length * r,
  }),
  shapes: (options) => (linear) => logitShapes(options, linear),
  shared: {
    shapes: (_targets, options) => ({ vblora_vector_bank: bankShape(options) }),
    make: (_targets, options, parameters) => ({
      vectors: parameters.uniform(
        'vblora_vector_bank',
        bankShape(options),
        options.init_vector_bank_bound,
      ),
    }),
  },
  adapt:
    (options) =>
    (linear, parameters, { vectors }) =>
      new VectorBankLinear(options, logitShapes(options, linear), parameters, vectors),
});

const bankShape = ({ num_vectors: h, vector_length: length }: Options): number[] => [h, length];

interface LogitShapes {
  readonly vblora_logits_A: readonly number[];
  readonly vblora_logits_B: readonly number[];
  readonly [part: string]: readonly number[];
}

/** Returns the shapes of the logits. @throws DomainError if PEFT rejects the sizes */
function logitShapes(
  { r, num_vectors: h, vector_length: length }: Options,
  { path, inFeatures, outFeatures }: Pick<LinearShape, 'path' | 'inFeatures' | 'outFeatures'>,
): LogitShapes {
  if (inFeatures % length !== 0 || outFeatures % length !== 0) {
    const message = `vector_length must divide the ${inFeatures} inputs and ${outFeatures} outputs of ${path}, got ${length}`;
    throw new DomainError('invalid_value', message, 'peft.vector_length');
  }
  return {
    vblora_logits_A: [r, inFeatures / length, h],
    vblora_logits_B: [outFeatures / length, r, h],
  };
}

class VectorBankLinear implements LinearUpdate {
  readonly #logits: readonly [a: Tensor, b: Tensor];

  constructor(
    private readonly options: Options,
    shapes: LogitShapes,
    parameters: ModuleParameters,
    private readonly bank: Tensor,
  ) {
    const logits = (part: string): Tensor =>
      parameters.normal(part, shapes[part] as number[], options.init_logits_std);
    this.#logits = [logits('vblora_logits_A'), logits('vblora_logits_B')];
  }

  after(y: Tensor, x: Tensor, { training, key, module }: LinearContext): Tensor {
    const { vblora_dropout: p } = this.options;
    return tidy(() => {
      const seen = training && p > 0 ? counterDropout(x, p, { ...key, site: module }) : x;
      const [a, b] = this.#factors().map((factor) => to(factor, x.dtype)) as [Tensor, Tensor];
      return add(y, linear(linear(seen, a), b));
    });
  }

  merged(weight: Tensor): Merged {
    const [a, b] = this.#factors();
    return { weight: add(weight, mm(b, a)) };
  }

  /** A: [r, in]  B: [out, r] */
  #factors(): readonly [Tensor, Tensor] {
    const { r } = this.options;
    const [a, b] = this.#logits.map((logits) => this.#chosen(logits)) as [Tensor, Tensor];
    return [reshape(a, [r, -1]), reshape(transpose(b, 1, 2), [-1, r])];
  }

  /** logits [.., h] → [.., len] */
  #chosen(logits: Tensor): Tensor {
    const { values, indices } = topk(logits, this.options.topk);
    return sum(mul(unsqueeze(softmax(values), -1), embedding(this.bank, indices)), -2);
  }
}
