/**
 * LoRA of a router or of experts.
 *   y = x W_eᵀ + s (x A_eᵀ) B_eᵀ       for each expert e
 * W: [E, out, in]; a router has [out, in] and E = 1. A: [E r, in], where A_e is the e-th block of r rows. B: [out, r
 * E], where B_e is every E-th column starting at e. PEFT adds s B_e A_e to W_e before each product, so dropout cannot
 * be applied.
 */
import {
  add,
  addmm,
  contiguous,
  linear,
  matmul,
  mul,
  permute,
  reshape,
  split,
  tidy,
  to,
  transpose,
} from '@graft/kernels';
import type { Dtype, Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import type { AfterExpert } from '../../nn/layers/experts.js';
import type { LoraInit, LoraSize } from './lora-init.js';
import type { ModuleParameters, PartShapes } from '../frame/parameters.js';
import { renamed } from '../targets/target-parameters.js';
import type {
  ParameterMethod,
  ParameterShape,
  ParameterUpdate,
} from '../targets/target-parameters.js';
import type { TargetFields } from '../targets/targets.js';

/** Config fields that work with parameter targets, and those that do not. */
interface Options extends TargetFields {
  readonly r: number;
  readonly lora_alpha: number;
  readonly rank_pattern: Readonly<Record<string, number>>;
  readonly alpha_pattern: Readonly<Record<string, number>>;
  readonly init_lora_weights: LoraInit;
  readonly lora_dropout: number;
  readonly [field: string]: unknown;
}

/**
 * Resolves options as PEFT does for a model with experts. @throws DomainError if an option does not apply to parameters
 */
export function resolveParameters<O extends Options>(
  model: Parameters<ParameterMethod<O>['resolve']>[0],
  options: O,
): O {
  const { target_parameters: given = null } = options;
  if (model.experts().length === 0) return options;
  const { modules, parameters } = renamed(model, options);
  const all = [...new Set([...(given ?? []), ...parameters.keys()])];
  if (all.length > 0) refuseWith(options, given === null);
  const fused = [...parameters].filter(([, oldNames]) => oldNames.length > 1);
  const times = (value: number): [string, number][] =>
    fused.map(([name, oldNames]) => [`.*\\.${name}`, oldNames.length * value]);
  return {
    ...options,
    // no target modules of its own if there are target parameters
    ...(options.target_modules !== null || all.length > 0 ? { target_modules: modules } : {}),
    target_parameters: all,
    rank_pattern: { ...options.rank_pattern, ...Object.fromEntries(times(options.r)) },
    alpha_pattern: { ...options.alpha_pattern, ...Object.fromEntries(times(options.lora_alpha)) },
  };
}

/** Options that PEFT rejects, or silently ignores, together with target parameters. */
const APART: Readonly<Record<string, unknown>> = {
  lora_dropout: 0,
  fan_in_fan_out: false,
  lora_bias: false,
  use_dora: false,
  use_bdlora: null,
  velora_config: null,
  alora_invocation_tokens: null,
  kasa_config: null,
  monteclora_config: null,
};

function refuseWith(options: Options, isRenamed: boolean): void {
  const means = isRenamed
    ? 'the experts and routers that target_modules also matches; list attention layers instead, such as q_proj, or remove the option'
    : 'target_parameters; remove it';
  const refuse = (field: string, what: string): never => {
    const message = `${what} cannot be combined with ${means}`;
    throw new DomainError('unsupported', message, `peft.${field}`);
  };
  for (const [field, unused] of Object.entries(APART))
    if (options[field] !== unused) refuse(field, field);
  const { init_lora_weights: init } = options;
  if (typeof init === 'string' && init !== 'gaussian')
    refuse('init_lora_weights', `init_lora_weights "${init}"`);
}

export const parameterShapes = (
  { matrices, inFeatures, outFeatures }: ParameterShape,
  r: number,
): PartShapes => ({
  lora_A: [matrices * r, inFeatures],
  lora_B: [outFeatures, r * matrices],
});

export class LoraExperts implements ParameterUpdate {
  readonly #a: Tensor;
  readonly #b: Tensor;

  constructor(
    private readonly target: ParameterShape,
    init: LoraInit,
    private readonly size: LoraSize,
    parameters: ModuleParameters,
  ) {
    const { inFeatures, matrices } = target;
    const { r } = size;
    const { lora_A: down, lora_B: up } = parameterShapes(target, r) as Record<string, number[]>;
    this.#a =
      init === 'gaussian'
        ? parameters.normal('lora_A', down as number[], 1 / r)
        : parameters.uniform('lora_A', down as number[], 1 / Math.sqrt(inFeatures));
    this.#b =
      init === false
        ? parameters.uniform('lora_B', up as number[], 1 / Math.sqrt(r * matrices))
        : parameters.zeros('lora_B', up as number[]);
  }

  open(dtype: Dtype): AfterExpert {
    const { r, scale } = this.size;
    const { outFeatures } = this.target;
    const downs = split(to(this.#a, dtype), r);
    const ups = split(to(this.#ups(), dtype), outFeatures);
    return (y, x, expert) =>
      tidy(() => {
        const low = linear(x, downs[expert] as Tensor);
        return addmm(y, low, transpose(ups[expert] as Tensor, 0, 1), { alpha: scale });
      });
  }

  merged(weight: Tensor): Tensor {
    const { matrices, inFeatures, outFeatures } = this.target;
    const { r, scale } = this.size;
    const downs = reshape(this.#a, [matrices, r, inFeatures]);
    const ups = reshape(this.#ups(), [matrices, outFeatures, r]);
    return add(weight, reshape(mul(matmul(ups, downs), scale), weight.shape));
  }

  /** All B_e, stacked: [E out, r] */
  #ups(): Tensor {
    const { matrices, outFeatures } = this.target;
    const { r } = this.size;
    const byExpert = permute(reshape(this.#b, [outFeatures, r, matrices]), [2, 0, 1]);
    return reshape(contiguous(byExpert), [matrices * outFeatures, r]);
  }
}
