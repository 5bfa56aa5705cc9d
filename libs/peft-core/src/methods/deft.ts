/**
 * DEFT: removes a few directions from the output of a linear layer and adds others instead.
 *   W' = (I - Q Pᵀ) W + s Q R      y = y₀ + (s drop(x) Rᵀ - (y₀ - b) P) Qᵀ,   y₀ = x Wᵀ + b
 * P and Q come from one trained matrix D: [out, r], by decomposition_method. "relu": Q = D, P = relu(D). "qr": Q = P,
 * the orthonormal columns of D's QR decomposition. R: [r, in] starts at Pᵀ W / s, which makes W' equal to W; s = α/r,
 * or 1 without α. With para (PaRa, arXiv:2406.05641) there is no R: directions are only removed. x: [n, in]  W: [out,
 * in]  r at most out. Everything after y₀ is f32; the sum is rounded to y's dtype.
 */
import {
  add,
  clamp,
  counterDropout,
  div,
  linear,
  matmul,
  mm,
  mul,
  qr,
  sub,
  tidy,
  to,
  transpose,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import { z } from 'zod';
import type { Linear, LinearContext } from '../nn/layers/linear.js';
import {
  checkLayers,
  dropout,
  fanInFanOut,
  layerFields,
  modulesToSave,
  rank,
  targetFields,
  trainedBiases,
} from './frame/fields.js';
import { linearMethod } from './frame/linear-method.js';
import { inputsOf, outputsOf } from './frame/linear-sizes.js';
import type { LinearUpdate, Merged } from './frame/linear-method.js';
import type { ModuleParameters } from './frame/parameters.js';

const Options = z
  .strictObject({
    r: rank.default(8).describe('Rank: number of directions. At most the output size of a layer'),
    alpha: z
      .int()
      .min(1)
      .nullable()
      .default(null)
      .describe('Scaling numerator: the injected part is scaled by alpha / r. null: no scaling'),
    decomposition_method: z
      .enum(['relu', 'qr'])
      .default('relu')
      .describe('How directions are derived from the trained matrix; "qr" makes them orthogonal'),
    para: z
      .boolean()
      .default(false)
      .describe(
        'Only remove directions (PaRa): fewer parameters, but the adapter is not a no-op at the start',
      ),
    deft_dropout: dropout,
    ...targetFields('query and value projections'),
    bias: trainedBiases('deft_only'),
    modules_to_save: modulesToSave,
    init_weights: z
      .boolean()
      .default(true)
      .describe('true: the adapter is initialized to a no-op; false: the injected part is random'),
    init_scale: z
      .number()
      .min(0)
      .default(1)
      .describe('Factor of the standard deviation (0.02) of the random initialization'),
    ...layerFields,
    fan_in_fan_out: fanInFanOut,
  })
  .superRefine(checkLayers);
type Options = z.infer<typeof Options>;

export const deft = linearMethod<Options>({
  name: 'DEFT',
  title: 'DEFT',
  summary: 'Removes a few directions from the outputs of layers and injects trained ones instead.',
  paper: null,
  // PEFT's comparison of methods
  relativeSize: 0.09,
  defaultLearningRate: 1e-4,
  trainingOnly: ['deft_dropout'],
  options: Options,
  unsupported: {},
  tensors: { deft_P: 'parameter', deft_R: 'parameter' },
  defaultTargets: () => ['q', 'v'],
  conv1d: true,
  // x and y in f32, each the size of two values of their own dtype
  held: (targets, { r }) => ({
    perRow: 2 * (inputsOf(targets) + outputsOf(targets)) + 6 * targets.length * r,
  }),
  check: refuseIdle,
  shapes:
    ({ r, para }) =>
    ({ inFeatures, outFeatures }) => {
      const rows = Math.min(r, outFeatures);
      return { deft_P: [outFeatures, rows], ...(!para && { deft_R: [rows, inFeatures] }) };
    },
  adapt: (options) => (target, parameters) => new DeftLinear(options, target, parameters),
});

/** Rejects options that PEFT accepts and ignores. */
function refuseIdle({ para, alpha, deft_dropout: p }: Options): void {
  if (!para) return;
  const idle = alpha !== null ? 'alpha' : p > 0 ? 'deft_dropout' : undefined;
  if (idle === undefined) return;
  const message = `${idle} has no effect with para, which injects nothing; remove it`;
  throw new DomainError('invalid_value', message, `peft.${idle}`);
}

class DeftLinear implements LinearUpdate {
  readonly #directions: Tensor;
  readonly #put: Tensor | null;
  readonly #scale: number;

  constructor(
    private readonly options: Options,
    target: Linear,
    parameters: ModuleParameters,
  ) {
    const { inFeatures, outFeatures } = target;
    const { alpha, para, init_weights: neutral, init_scale: scale } = options;
    const r = Math.min(options.r, outFeatures);
    this.#scale = alpha === null ? 1 : alpha / r;
    this.#directions = parameters.normal('deft_P', [outFeatures, r], 0.02);
    if (para) this.#put = null;
    else if (neutral)
      this.#put = parameters.parameter('deft_R', () =>
        div(
          mm(transpose(this.#project().p, 0, 1), target.weight.dense('f32')),
          this.#scale,
        ).detach(),
      );
    else this.#put = parameters.normal('deft_R', [r, inFeatures], 0.02 * scale);
  }

  after(y: Tensor, x: Tensor, ctx: LinearContext): Tensor {
    return tidy(() => {
      const { q, p } = this.#project();
      const base = to(y, 'f32');
      const taken = matmul(ctx.bias ? sub(base, ctx.bias) : base, p);
      const change = this.#put ? sub(this.#given(x, this.#put, ctx), taken) : mul(taken, -1);
      return to(add(base, linear(change, q)), y.dtype);
    });
  }

  merged(weight: Tensor): Merged {
    const { q, p } = this.#project();
    const taken = mm(transpose(p, 0, 1), weight);
    const change = this.#put ? sub(mul(this.#put, this.#scale), taken) : mul(taken, -1);
    return { weight: add(weight, mm(q, change)) };
  }

  /** s drop(x) Rᵀ */
  #given(x: Tensor, put: Tensor, { training, key, module }: LinearContext): Tensor {
    const { deft_dropout: p } = this.options;
    const seen = to(x, 'f32');
    const dropped = training && p > 0 ? counterDropout(seen, p, { ...key, site: module }) : seen;
    return mul(linear(dropped, put), this.#scale);
  }

  #project(): { readonly q: Tensor; readonly p: Tensor } {
    if (this.options.decomposition_method === 'relu')
      return { q: this.#directions, p: clamp(this.#directions, 0) };
    const { q } = qr(this.#directions);
    return { q, p: q };
  }
}
