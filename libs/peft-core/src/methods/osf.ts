/**
 * OSF, Orthogonal Subspace Fine-tuning, arXiv:2504.07097: trains the small singular parts of a weight and keeps the
 * large ones, which hold the base's knowledge.
 *   y = x Wᵀ + b + x Vᵀ (U diag(s))ᵀ - x V₀ᵀ (U₀ diag(s₀))ᵀ      W = U_k diag(s_k) V_k + U₀ diag(s₀) V₀
 *   g_U ← g_U - U_k (U_kᵀ g_U)      g_V ← g_V - (g_V V_kᵀ) V_k
 * U: [out, n], s: [n] and V: [n, in] are trainable and start as U₀, s₀ and V₀, the last n = min(in, out) - k parts of
 * W's singular value decomposition. Their gradients g lose their components along the first k. If U_k and U₀ together
 * span the space (out ≤ in; V: in ≤ out), U₀ (U₀ᵀ g) is the same. Files store only U, s and V: the rest is recomputed
 * from W and does not depend on the signs that a decomposition chooses. All are rounded to the base's dtype, as in
 * PEFT, and stored in f32. The products are f32 too: two that nearly cancel would otherwise leave only their rounding
 * errors.
 */
import { DomainError } from '@graft/contracts';
import {
  add,
  contiguous,
  keep,
  linear,
  matmul,
  mm,
  mul,
  narrow,
  noGrad,
  sub,
  svd,
  tidy,
  to,
  transpose,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';
import type { BaseDtype } from '../nn/precision.js';
import type { Linear, LinearContext, Role } from '../nn/layers/linear.js';
import type { LinearShape } from '../nn/outline/outline.js';
import { modulesToSave, targetNames } from './frame/fields.js';
import { linearMethod } from './frame/linear-method.js';
import { decompositionNumbers, inputsOf, outputsOf } from './frame/linear-sizes.js';
import type { LinearUpdate, Merged, SharedState } from './frame/linear-method.js';
import type { ModuleParameters } from './frame/parameters.js';
import { valueByPart } from './targets/pattern.js';
import { ALL_LINEAR } from './targets/targets.js';

/** Number of directions to keep, or a fraction of the smaller side. */
const kept = z.number().refine((value) => value > 0 && (value < 1 || Number.isInteger(value)), {
  error: ({ input }) =>
    `expected an integer ≥ 1 or a fraction between 0 and 1, got ${JSON.stringify(input)}`,
});

const Options = z.strictObject({
  effective_rank: kept
    .nullable()
    .default(null)
    .describe(
      'Number (or fraction) of high singular directions of each weight to freeze. Default (null): half. The others are trained',
    ),
  rank_pattern: z
    .record(z.string(), kept)
    .nullable()
    .default(null)
    .describe(
      'Values that differ from the default effective_rank, by regular expression over part of the module path',
    ),
  target_modules: targetNames('all or most linear layers'),
  modules_to_save: modulesToSave,
  init_weights: z
    .boolean()
    .default(true)
    .describe('true: the adapter is initialized to a no-op; false: randomly, for tests'),
});
type Options = z.infer<typeof Options>;

type Size = Pick<LinearShape, 'path' | 'inFeatures' | 'outFeatures'>;

const GATED: readonly Role[] = ['q', 'k', 'v', 'o', 'gate', 'up', 'down'];
const FUSED: readonly Role[] = ['qkv', 'down'];
/** Target roles by model_type; other families use all linear layers. */
const TARGETS: Readonly<Record<string, readonly Role[]>> = {
  llama: GATED,
  mistral: GATED,
  mixtral: GATED,
  gemma: GATED,
  gemma2: GATED,
  gemma3_text: GATED,
  qwen2: GATED,
  qwen3: GATED,
  gpt2: ['qkv', 'o', 'down'],
  bloom: FUSED,
  gpt_neox: FUSED,
  falcon: FUSED,
  opt: ['q', 'k', 'v', 'o', 'up', 'down'],
};

/** Dtype that PEFT rounds to. */
interface Rounding extends SharedState {
  readonly dtype: BaseDtype;
}

export const osf = linearMethod<Options, Rounding>({
  name: 'OSF',
  title: 'OSF',
  summary:
    'Trains the low singular directions of weights orthogonally to the high ones, for continual learning with little forgetting.',
  paper: 'https://arxiv.org/abs/2504.07097',
  // PEFT's comparison of methods
  relativeSize: 16,
  defaultLearningRate: 5e-5,
  options: Options,
  // PEFT accepts it and ignores it
  unsupported: { target_svd_config: null },
  tensors: {
    'osf_svd_params.U_low': 'parameter',
    'osf_svd_params.S_low': 'parameter',
    'osf_svd_params.V_low': 'parameter',
  },
  defaultTargets: (modelType) => TARGETS[modelType] ?? ALL_LINEAR,
  conv1d: false,
  held(targets, options) {
    const keptAt = keptBy(options);
    const held = targets.map((target) => {
      const { inFeatures, outFeatures } = target;
      const [k, n] = [keptAt(target), trainedOf(target, keptAt)];
      const others = (inFeatures === outFeatures ? 0 : Math.max(inFeatures, outFeatures)) * k;
      // in addition to U₀ and V₀, the tensors that gradients pass through, and U scaled by s
      return { numbers: 4 * n * (inFeatures + outFeatures) + 2 * others, n };
    });
    return {
      numbers: held.reduce((sum, { numbers }) => sum + numbers, decompositionNumbers(targets)),
      // x and y in f32, which may take two values of their own dtype
      perRow:
        2 * (inputsOf(targets) + outputsOf(targets)) + held.reduce((sum, { n }) => sum + 4 * n, 0),
    };
  },
  shapes(options) {
    const keptAt = keptBy(options);
    return (target) => {
      const n = trainedOf(target, keptAt);
      return {
        'osf_svd_params.U_low': [target.outFeatures, n],
        'osf_svd_params.S_low': [n],
        'osf_svd_params.V_low': [n, target.inFeatures],
      };
    };
  },
  shared: { shapes: () => ({}), make: (_, __, ___, dtype) => ({ dtype }) },
  adapt(options) {
    const keptAt = keptBy(options);
    return (target, parameters, { dtype }) =>
      new OsfLinear(options, decomposed(target, keptAt(target), dtype), parameters);
  },
});

/** Number of directions of a linear layer that are kept. @throws DomainError if PEFT rejects it */
function keptBy({
  effective_rank: whole,
  rank_pattern: pattern,
}: Options): (linear: Size) => number {
  const own = valueByPart(pattern ?? {}, 'peft.rank_pattern');
  return ({ path, inFeatures, outFeatures }) => {
    const smaller = Math.min(inFeatures, outFeatures);
    const asked = own(path) ?? whole ?? 0.5;
    const k = Math.min(smaller, asked < 1 ? Math.floor(smaller * asked) : asked);
    if (k > 0) return k;
    const message = `expected a part of the ${smaller} directions of ${path} that is at least one, got ${asked}`;
    throw new DomainError('invalid_value', message, 'peft.effective_rank');
  };
}

const trainedOf = (linear: Size, keptAt: (linear: Size) => number): number =>
  Math.min(linear.inFeatures, linear.outFeatures) - keptAt(linear);

/** U₀, s₀ and V₀, and U_k and V_k for the projection of gradients; null where U₀ and V₀ are used for it. */
interface Parts {
  readonly u: Tensor;
  readonly s: Tensor;
  readonly v: Tensor;
  readonly largeU: Tensor | null;
  readonly largeV: Tensor | null;
}

class OsfLinear implements LinearUpdate {
  readonly #u: Tensor;
  readonly #s: Tensor;
  readonly #v: Tensor;
  readonly #start: Parts;

  constructor({ init_weights: neutral }: Options, start: Parts, parameters: ModuleParameters) {
    this.#start = start;
    const part = (name: string, values: Tensor): Tensor =>
      neutral
        ? parameters.parameter(`osf_svd_params.${name}`, () => values)
        : parameters.normal(`osf_svd_params.${name}`, values.shape, 1);
    this.#u = part('U_low', start.u);
    this.#s = part('S_low', start.s);
    this.#v = part('V_low', start.v);
  }

  after(y: Tensor, x: Tensor, { training }: LinearContext): Tensor {
    if (this.#s.size === 0) return y;
    return tidy(() => {
      const { u, s, v } = this.#start;
      const seen = to(x, 'f32');
      const [left, right] = training ? this.#freed() : [this.#u, this.#v];
      const now = linear(linear(seen, right), mul(left, this.#s));
      return to(sub(add(y, now), linear(linear(seen, v), mul(u, s))), y.dtype);
    });
  }

  merged(weight: Tensor): Merged {
    const { u, s, v } = this.#start;
    return { weight: sub(add(weight, mm(mul(this.#u, this.#s), this.#v)), mm(mul(u, s), v)) };
  }

  dispose(): void {
    for (const tensor of Object.values(this.#start) as (Tensor | null)[]) tensor?.dispose();
  }

  /** U and V with gradients that have no component along the kept directions. */
  #freed(): [u: Tensor, v: Tensor] {
    const { u, v, largeU, largeV } = this.#start;
    const [ownU, ownV] = [this.#u, this.#v];
    const across = (t: Tensor): Tensor => transpose(t, 0, 1);
    return [
      withGradientOf(
        ownU,
        largeU
          ? sub(ownU, matmul(largeU, matmul(across(largeU), ownU)))
          : matmul(u, matmul(across(u), ownU)),
      ),
      withGradientOf(
        ownV,
        largeV
          ? sub(ownV, matmul(matmul(ownV, across(largeV)), largeV))
          : matmul(matmul(ownV, across(v)), v),
      ),
    ];
  }
}

/** Returns `value` with the gradient of `other`. */
const withGradientOf = (value: Tensor, other: Tensor): Tensor =>
  add(value.detach(), sub(other, other.detach()));

function decomposed({ weight }: Linear, k: number, dtype: BaseDtype): Parts {
  return noGrad(() =>
    tidy(() => {
      const { u, s, vh } = svd(weight.dense('f32'));
      const n = (s.shape[0] as number) - k;
      const part = (t: Tensor, dim: number, from: number, length: number): Tensor =>
        keep(contiguous(to(to(narrow(t, dim, from, length), dtype), 'f32')));
      return {
        u: part(u, 1, k, n),
        s: part(s, 0, k, n),
        v: part(vh, 0, k, n),
        largeU: weight.outFeatures > weight.inFeatures ? part(u, 1, 0, k) : null,
        largeV: weight.inFeatures > weight.outFeatures ? part(vh, 0, 0, k) : null,
      };
    }),
  );
}
