/**
 * AdaLoRA, arXiv:2303.10512: an update in the form of a singular value decomposition, of which training keeps the most
 * important parts (adalora-budget.ts).
 *   y = x Wᵀ + b + s (x (A ⊙ E)ᵀ) Bᵀ      s = α / (init_r + 1e-5), independent of the remaining rank
 *   loss + λ/2k Σ (‖A Aᵀ - I‖ + ‖Bᵀ B - I‖)   over the k linear layers, Frobenius norms
 * x: [n, in]  A: [r, in]  E: [r, 1]  B: [out, r], all f32; products with x are computed in its dtype. E starts at zero.
 * Files store only the remaining rows and list them in rank_pattern.
 */
import {
  add,
  addmm,
  addmm_,
  counterDropout,
  eye,
  indexSelect,
  linear,
  matmul,
  mul,
  norm,
  sub,
  tensor,
  tidy,
  to,
  transpose,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import { z } from 'zod';
import type { Linear, LinearContext, Role } from '../nn/layers/linear.js';
import { Budget, Triplets } from './parts/adalora-budget.js';
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
import type { LinearUpdate, Merged } from './frame/linear-method.js';
import type { ModuleParameters } from './frame/parameters.js';

const share = z.number().gt(0).lt(1).default(0.85);
const steps = z.int().min(0).default(0);

const Options = z
  .strictObject({
    init_r: rank.default(12).describe('Initial rank of each adapted layer'),
    target_r: rank.default(8).describe('Target average rank of the adapted layers'),
    lora_alpha: scale
      .default(8)
      .describe('Scaling numerator: the update is scaled by lora_alpha / init_r. Job default: 32'),
    lora_dropout: dropout,
    tinit: steps.describe('Initial warmup steps, before the first rank reduction'),
    tfinal: steps.describe('Final fine-tuning steps, with fixed ranks'),
    deltaT: z.int().min(1).default(1).describe('Steps between two rank allocations'),
    beta1: share.describe(
      'Exponential moving average coefficient of the importance scores (sensitivity smoothing)',
    ),
    beta2: share.describe(
      'Exponential moving average coefficient of the uncertainty of the scores',
    ),
    orth_reg_weight: z
      .number()
      .min(0)
      .default(0.5)
      .describe('Coefficient of the orthogonality regularization of A and B'),
    total_step: z
      .int()
      .min(1)
      .nullable()
      .optional()
      .describe("Total steps of the rank schedule. Default: the job's training steps"),
    ...targetFields('query and value projections (OPT and T5: all linear layers)'),
    bias: trainedBiases('lora_only'),
    modules_to_save: modulesToSave,
    init_lora_weights: z
      .boolean()
      .default(true)
      .describe('true: the adapter is initialized to a no-op; false: randomly, for tests'),
    ...layerFields,
    rank_pattern: z
      .record(z.string(), z.array(z.boolean()))
      .nullable()
      .default(null)
      .describe('Rank allocation, written by training'),
    fan_in_fan_out: fanInFanOut,
  })
  .superRefine(checkLayers)
  .superRefine((options, ctx) => {
    const { total_step: total = null } = options;
    const why = total === null ? null : scheduleProblem(options, total);
    if (why !== null) ctx.addIssue({ code: 'custom', message: why, path: ['tinit'] });
  });
type Options = z.infer<typeof Options>;

function scheduleProblem(
  { tinit, tfinal }: { readonly tinit: number; readonly tfinal: number },
  total: number,
): string | null {
  if (tinit < total - tfinal) return null;
  return `the schedule leaves no steps for rank reduction: tinit ${tinit} and tfinal ${tfinal} of ${total} steps; lower them or raise total_step`;
}

const UNSUPPORTED = {
  r: 8,
  use_rslora: false,
  use_dora: false,
  lora_bias: false,
  alpha_pattern: {},
  trainable_token_indices: null,
  loftq_config: {},
  eva_config: null,
  corda_config: null,
  lora_ga_config: null,
  ensure_weight_tying: false,
  target_parameters: null,
  layer_replication: null,
  megatron_config: null,
  megatron_core: 'megatron.core',
  use_qalora: false,
  qalora_group_size: 16,
  alora_invocation_tokens: null,
  arrow_config: null,
  use_bdlora: null,
  velora_config: null,
  monteclora_config: null,
  kasa_config: null,
};

/** Target roles by model_type, for families whose PEFT default is not q and v. */
const EVERYWHERE: readonly Role[] = ['q', 'k', 'v', 'o', 'up', 'down'];
const TARGETS: Readonly<Record<string, readonly Role[]>> = {
  bart: EVERYWHERE,
  mt5: EVERYWHERE,
  opt: EVERYWHERE,
  roberta: EVERYWHERE,
  t5: EVERYWHERE,
};

export const adalora = linearMethod<Options, Budget>({
  name: 'ADALORA',
  title: 'AdaLoRA',
  summary:
    'LoRA with an adaptive rank budget: starts with more rank and prunes it where it matters least.',
  paper: 'https://arxiv.org/abs/2303.10512',
  // learning rate and alpha of PEFT's example
  relativeSize: 0.14,
  defaultLearningRate: 1e-3,
  trainingOnly: [
    'lora_dropout',
    'target_r',
    'tinit',
    'tfinal',
    'deltaT',
    'beta1',
    'beta2',
    'orth_reg_weight',
    'total_step',
  ],
  options: Options,
  jobDefaults: () => ({ lora_alpha: 32 }),
  forSteps: scheduled,
  unsupported: UNSUPPORTED,
  reasons: { r: 'AdaLoRA starts with rank init_r and ends with target_r' },
  tensors: { lora_A: 'parameter', lora_B: 'parameter', lora_E: 'parameter' },
  defaultTargets: (modelType) => TARGETS[modelType] ?? ['q', 'v'],
  conv1d: true,
  convolutions: [2],
  // two averages for each trainable parameter, and the penalty's Gram matrices
  held: (targets, { init_r: r }) => ({
    numbers: targets.reduce(
      (sum, { inFeatures, outFeatures }) =>
        sum + 2 * r * (inFeatures + outFeatures + 1) + 6 * r * r,
      0,
    ),
  }),
  shapes: (options) => (target) => {
    const r = rankAt(options, target.path);
    return {
      lora_A: [r, target.inFeatures],
      lora_B: [target.outFeatures, r],
      lora_E: [r, 1],
    };
  },
  shared: {
    shapes: () => ({}),
    make: (_, options) => new Budget(options),
  },
  adapt: (options) => (target, parameters, budget) =>
    new AdaloraLinear(target, options, parameters, budget),
  // the given pattern may come from a file
  resolved: ({ rank_pattern: given }, _, budget) => ({ rank_pattern: patternOf(budget) ?? given }),
});

/** Checks the rank schedule against the number of steps. @throws DomainError if it does not fit */
function scheduled(options: Options, jobSteps: number): Options {
  const { init_r: init, target_r: target, total_step: total = null, rank_pattern: given } = options;
  if (init <= target)
    refuse('target_r', `expected a target_r below init_r, which is ${init}, got ${target}`);
  if (given !== null)
    refuse('rank_pattern', 'rank_pattern is written by training; remove it from the job');
  const why = scheduleProblem(options, total ?? jobSteps);
  if (why !== null) refuse('tinit', why);
  return { ...options, total_step: total ?? jobSteps };
}

function refuse(field: string, message: string): never {
  throw new DomainError('invalid_value', message, `peft.${field}`);
}

/** PEFT's key of a linear layer in rank_pattern. */
const keyOf = (path: string): string => `${path}.lora_E`;

const rankAt = ({ rank_pattern: left, init_r: init }: Options, path: string): number =>
  left?.[keyOf(path)]?.filter(Boolean).length ?? init;

function patternOf({ all }: Budget): Record<string, boolean[]> | null {
  const left = all.map((each) => [keyOf(each.path), each.left()] as const);
  if (left.some(([, triplets]) => triplets === null)) return null;
  return Object.fromEntries(left) as Record<string, boolean[]>;
}

/** AdaLoRA update of one linear layer. */
class AdaloraLinear implements LinearUpdate {
  readonly #a: Tensor;
  readonly #e: Tensor;
  readonly #b: Tensor;
  readonly #triplets: Triplets;
  readonly #scale: number;
  readonly penalty?: () => Tensor;

  constructor(
    { path, inFeatures, outFeatures }: Linear,
    private readonly options: Options,
    parameters: ModuleParameters,
    budget: Budget,
  ) {
    const { init_lora_weights: init, orth_reg_weight: weight, lora_alpha: alpha } = options;
    const r = rankAt(options, path);
    this.#scale = alpha / (options.init_r + 1e-5);
    this.#a = parameters.normal('lora_A', [r, inFeatures], init ? 0.02 : 1);
    this.#b = parameters.normal('lora_B', [outFeatures, r], init ? 0.02 : 1);
    this.#e = init ? parameters.zeros('lora_E', [r, 1]) : parameters.normal('lora_E', [r, 1], 1);
    this.#triplets = new Triplets(path, { a: this.#a, e: this.#e, b: this.#b }, parameters);
    budget.all.push(this.#triplets);
    if (weight > 0) this.penalty = () => this.#skewness(weight / (2 * budget.all.length));
  }

  after(y: Tensor, x: Tensor, ctx: LinearContext): Tensor {
    if (this.#e.size === 0) return y;
    const { lora_dropout: p } = this.options;
    return tidy(() => {
      const drops = ctx.training && p > 0;
      const seen = drops ? counterDropout(x, p, { ...ctx.key, site: ctx.module }) : x;
      const low = linear(seen, to(mul(this.#a, this.#e), x.dtype));
      const up = transpose(to(this.#b, x.dtype), 0, 1);
      return (ctx.alone ? addmm_ : addmm)(y, low, up, { alpha: this.#scale });
    });
  }

  merged(weight: Tensor): Merged {
    return { weight: addmm(weight, this.#b, mul(this.#a, this.#e), { alpha: this.#scale }) };
  }

  written(part: string, whole: Tensor): Tensor {
    const left = this.#triplets.left();
    if (left === null || left.every(Boolean)) return whole;
    const rows = left.flatMap((is, i) => (is ? [i] : []));
    return tidy(() =>
      indexSelect(whole, part === 'lora_B' ? 1 : 0, tensor(rows, [rows.length], 'i64')).detach(),
    );
  }

  /** w (‖A Aᵀ - I‖ + ‖Bᵀ B - I‖) */
  #skewness(w: number): Tensor {
    return tidy(() => {
      const identity = eye(this.#e.shape[0] as number);
      const off = (product: Tensor): Tensor => norm(sub(product, identity));
      const [a, b] = [this.#a, this.#b];
      const both = add(off(matmul(a, transpose(a, 0, 1))), off(matmul(transpose(b, 0, 1), b)));
      return mul(both, w);
    });
  }
}
