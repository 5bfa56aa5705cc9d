/**
 * LoRA, arXiv:2106.09685.       y = x Wᵀ + b + s (x Aᵀ) Bᵀ          s = α/r, or α/√r (rank-stabilised, arXiv:2312.03732)
 * DoRA, arXiv:2402.09353.       y = g ⊙ (x Wᵀ + s (x Aᵀ) Bᵀ) + b    g = m / n,  n = ‖W + s B A‖ by row, not differentiated
 *
 * x: [n, in]  W: [out, in]  A: [r, in]  B: [out, r]  m, n, b: [out]. Dropout acts on the x that A sees; with DoRA on
 * the x of g ⊙ as well. A, B and m are f32; products run in x's dtype.
 */
import {
  add,
  addmm,
  addmm_,
  contiguous,
  counterDropout,
  div,
  keep,
  linear,
  matmul,
  mul,
  noGrad,
  sqrt,
  square,
  sub,
  sum,
  tidy,
  to,
  transpose,
  unsqueeze,
  zeros,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';
import type { Model } from '../models/model.js';
import type { RowContext } from '../nn/context.js';
import type { Modules } from '../nn/outline.js';
import type { LinearSite, Role, RowAdapter } from '../nn/site.js';
import { defineMethod } from '../plugin.js';
import { moduleNames } from './fields.js';
import { leaf, normal, restore, uniform } from './leaf.js';
import { inDtype, OwnModules, OwnSizes, takeSaved } from './own-modules.js';
import type { Takes } from './own-modules.js';
import { valueByEnd } from './pattern.js';
import { ALL_LINEAR, checkTargets, isAllLinear, targetLinears, writtenTargets } from './targets.js';

const rank = z.int().min(1).max(4096);
const scale = z.number().positive();
const names = z.array(z.string().min(1));

const Options = z
  .strictObject({
    r: rank.default(8).describe('Rank of the update'),
    lora_alpha: scale
      .default(8)
      .describe('The update is scaled by lora_alpha / r; left out of a job, 2 r'),
    lora_dropout: z.number().min(0).lt(1).default(0).describe("Dropout on the update's input"),
    target_modules: moduleNames
      .nullable()
      .default(null)
      .describe(
        'Names of the linears to adapt, a regular expression over their paths, or "all-linear"; null: query and value',
      ),
    exclude_modules: moduleNames
      .nullable()
      .default(null)
      .describe('Names or a regular expression to leave out'),
    use_rslora: z
      .boolean()
      .default(false)
      .describe('Scale by lora_alpha / √r, which keeps high ranks stable'),
    use_dora: z
      .boolean()
      .default(false)
      .describe('Train magnitude and direction apart (DoRA); slower'),
    bias: z
      .enum(['none', 'all', 'lora_only'])
      .default('none')
      .describe('Biases to train: none, all, or those of adapted linears'),
    modules_to_save: names
      .nullable()
      .default(null)
      .describe('Modules to train whole, by the end of their path, e.g. lm_head'),
    init_lora_weights: z
      .union([z.boolean(), z.enum(['gaussian'])])
      .default(true)
      .describe(
        'true: the update starts at zero; "gaussian": so too, with A normal; false: random, for tests',
      ),
    layers_to_transform: z
      .union([z.int().min(0), z.array(z.int().min(0))])
      .nullable()
      .default(null)
      .describe('Layers to adapt, counted from 0; left out, all'),
    layers_pattern: z
      .union([z.string(), names])
      .nullable()
      .default(null)
      .describe('What the list of layers is called'),
    rank_pattern: z
      .record(z.string(), rank)
      .default({})
      .describe('Other ranks for some modules: name or pattern → r'),
    alpha_pattern: z
      .record(z.string(), scale)
      .default({})
      .describe('Other lora_alpha for some modules'),
    fan_in_fan_out: z
      .boolean()
      .default(false)
      .describe("Whether weights are stored [in, out]; known from the model, kept for PEFT's file"),
  })
  .superRefine((options, ctx) => {
    const issue = (field: string, message: string): void =>
      ctx.addIssue({ code: 'custom', message, path: [field] });
    const byLayer = options.layers_to_transform !== null;
    if (byLayer && typeof options.target_modules === 'string') {
      issue(
        'layers_to_transform',
        'layers_to_transform goes with a list of target_modules, not with a string',
      );
    }
    if (!byLayer && options.layers_pattern !== null && options.layers_pattern.length > 0) {
      issue('layers_pattern', 'layers_pattern needs layers_to_transform');
    }
  });
type Options = z.infer<typeof Options>;

/** What PEFT adapts when target_modules is null. */
const DEFAULT_ROLES: readonly Role[] = ['q', 'v'];
const JOB_RANK = 16;
/** α = 2 r: the usual choice with all linears. */
const JOB_ALPHA_PER_RANK = 2;

const NEUTRAL = {
  lora_bias: false,
  trainable_token_indices: null,
  loftq_config: null,
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

export const lora = defineMethod<Options>({
  name: 'LORA',
  title: 'LoRA',
  summary:
    'Adds a product of two thin matrices to chosen linears. The usual choice: quick, small, and as good as full fine-tuning on most tasks.',
  paper: 'https://arxiv.org/abs/2106.09685',
  defaultLearningRate: 2e-4,
  options: Options,
  jobDefaults({ r = JOB_RANK, layers_to_transform: layers = null }) {
    return {
      r: JOB_RANK,
      ...(typeof r === 'number' ? { lora_alpha: JOB_ALPHA_PER_RANK * r } : {}),
      // layers are chosen of a list of modules, which PEFT's default is
      ...(layers === null ? { target_modules: ALL_LINEAR } : {}),
    };
  },
  neutral: NEUTRAL,
  check(options, linears) {
    checkTargets(options, linears);
    for (const field of ['rank_pattern', 'alpha_pattern'] as const)
      valueByEnd(options[field], `peft.${field}`);
  },
  footprint(outline, options) {
    const targets = targetLinears(outline, options, DEFAULT_ROLES);
    const rankOf = byPattern('rank_pattern', options, options.r);
    const own = new OwnSizes();
    takeSaved(own, outline, options.modules_to_save ?? []);
    takeBiases(own, options, targets, outline);
    const updates = targets.map(
      ({ path, inFeatures, outFeatures }) =>
        rankOf(path) * (inFeatures + outFeatures) + (options.use_dora ? outFeatures : 0),
    );
    return { trainableParameters: updates.reduce((a, b) => a + b, own.total), virtualTokens: 0 };
  },
  attach(model, options, { run, seed }) {
    const targets = targetLinears(model.sites, options, DEFAULT_ROLES);
    const own = new OwnModules(run);
    const rankOf = byPattern('rank_pattern', options, options.r);
    const alphaOf = byPattern('alpha_pattern', options, options.lora_alpha);
    const parts = targets.map((site) => {
      const size = { r: rankOf(site.path), alpha: alphaOf(site.path) };
      return new Part(site, options, size, seed);
    });
    parts.forEach((part) => part.site.attach(run, part));
    takeSaved(own, model.sites, options.modules_to_save ?? []);
    takeBiases(own, options, targets, model.sites);
    const parameters = new Map([
      ...parts.flatMap((part) => [...part.parameters]),
      ...own.parameters,
    ]);
    return {
      parameters,
      exported: () => new Map(parameters),
      load: (stored) => restore(parameters, stored),
      merged: () =>
        new Map([
          ...parts.map((part) => part.merged(model.dtype)),
          ...inDtype(own.parameters, model.dtype),
        ]),
      resolvedConfig: () => ({
        ...NEUTRAL,
        loftq_config: {},
        ...options,
        ...resolved(options, targets, model),
      }),
      detach() {
        model.sites.detach(run);
        parts.forEach((part) => part.dispose());
        own.dispose();
      },
    };
  },
});

function takeBiases<L extends { path: string; role: Role }, N extends { path: string }>(
  own: Pick<Takes<L, N, never, never>, 'takeBias' | 'takeNormBias'>,
  { bias }: Options,
  targets: readonly L[],
  sites: Pick<Modules<L, N, never>, 'linears' | 'norms'>,
): void {
  if (bias === 'none') return;
  const all = bias === 'all';
  for (const site of all ? sites.linears() : targets) own.takeBias(site);
  if (all) sites.norms().forEach((site) => own.takeNormBias(site));
}

function resolved(
  options: Options,
  targets: readonly LinearSite[],
  model: Model,
): Partial<Options> {
  const last = (path: string): string => path.slice(path.lastIndexOf('.') + 1);
  const { target_modules: given } = options;
  const byDefault = (): string[] => [...new Set(targets.map(({ path }) => last(path)))].sort();
  return {
    target_modules: isAllLinear(given)
      ? writtenTargets(targets, model.sites)
      : (given ?? byDefault()),
    fan_in_fan_out: targets.some(({ conv1d }) => conv1d),
  };
}

/** PEFT's rule: the first key that is the path or a whole end of it, as a pattern. */
function byPattern(
  field: 'rank_pattern' | 'alpha_pattern',
  options: Options,
  otherwise: number,
): (path: string) => number {
  const value = valueByEnd(options[field], `peft.${field}`);
  return (path) => value(path) ?? otherwise;
}

/** The update of one linear. */
class Part implements RowAdapter {
  readonly parameters: ReadonlyMap<string, Tensor>;
  readonly #a: Tensor;
  readonly #b: Tensor;
  readonly #m: Tensor | null;
  readonly #scale: number;
  readonly #dropout: number;
  /** ‖W‖² by row: DoRA needs it every step and it never changes. */
  readonly #squares: Tensor | null;

  constructor(
    readonly site: LinearSite,
    options: Options,
    { r, alpha }: { readonly r: number; readonly alpha: number },
    seed: number,
  ) {
    const { path, inFeatures, outFeatures } = site;
    this.#scale = alpha / (options.use_rslora ? Math.sqrt(r) : r);
    this.#dropout = options.lora_dropout;
    const [aName, bName, mName] = [
      `${path}.lora_A`,
      `${path}.lora_B`,
      `${path}.lora_magnitude_vector`,
    ];
    const init = options.init_lora_weights;
    this.#a = tidy(() =>
      leaf(
        init === 'gaussian'
          ? normal([r, inFeatures], 1 / r, seed, aName)
          : uniform([r, inFeatures], 1 / Math.sqrt(inFeatures), seed, aName),
      ),
    );
    this.#b = tidy(() =>
      leaf(
        init === false
          ? uniform([outFeatures, r], 1 / Math.sqrt(r), seed, bName)
          : zeros([outFeatures, r]),
      ),
    );
    this.#squares = options.use_dora ? squares(site) : null;
    this.#m = options.use_dora ? tidy(() => leaf(this.#norms())) : null;
    this.parameters = new Map([
      [aName, this.#a],
      [bName, this.#b],
      ...(this.#m ? ([[mName, this.#m]] as const) : []),
    ]);
  }

  apply(x: Tensor, y: Tensor | null, ctx: RowContext): Tensor {
    return tidy(() => {
      const base = y as Tensor;
      const drops = ctx.training && this.#dropout > 0;
      const seen = drops ? counterDropout(x, this.#dropout, { ...ctx.key, site: ctx.site }) : x;
      const low = linear(seen, to(this.#a, x.dtype));
      const up = transpose(to(this.#b, x.dtype), 0, 1);
      const plus = (output: Tensor, mine: boolean): Tensor =>
        (mine ? addmm_ : addmm)(output, low, up, { alpha: this.#scale });
      if (!this.#m) return plus(base, ctx.alone);
      const g = to(div(this.#m, this.#norms()), x.dtype);
      const { bias } = this.site;
      if (drops) {
        // y = x Wᵀ + b + (g ⊙ (x' Wᵀ + s B A x') - x' Wᵀ),  x' after dropout
        const product = this.site.weight.multiply(seen, null);
        return add(base, sub(mul(plus(product, false), g), product));
      }
      const scaled = mul(plus(bias ? sub(base, bias) : base, ctx.alone || bias !== null), g);
      return bias ? add(scaled, bias) : scaled;
    });
  }

  merged(dtype: 'bf16' | 'f32'): [string, Tensor] {
    const weight = noGrad(() =>
      tidy(() => {
        const adapted = addmm(this.site.weight.dense('f32'), this.#b, this.#a, {
          alpha: this.#scale,
        });
        const whole = this.#m ? mul(adapted, unsqueeze(div(this.#m, this.#norms()), 1)) : adapted;
        return contiguous(to(this.site.conv1d ? transpose(whole, 0, 1) : whole, dtype)).detach();
      }),
    );
    return [`${this.site.path}.weight`, weight];
  }

  dispose(): void {
    for (const tensor of [this.#a, this.#b, this.#m, this.#squares]) tensor?.dispose();
  }

  /** n² = ‖W‖² + 2 s Σ (W Aᵀ) ⊙ B + s² Σ (B (A Aᵀ)) ⊙ B by row: nothing as large as W is made in f32 beyond W itself. */
  #norms(): Tensor {
    return noGrad(() =>
      tidy(() => {
        const [a, b, s] = [this.#a, this.#b, this.#scale];
        const cross = matmul(this.site.weight.dense('f32'), transpose(a, 0, 1));
        const own = matmul(b, matmul(a, transpose(a, 0, 1)));
        const both = sum(mul(add(mul(cross, 2 * s), own, s * s), b), 1);
        return sqrt(add(this.#squares as Tensor, both)).detach();
      }),
    );
  }
}

const squares = (site: LinearSite): Tensor =>
  noGrad(() => keep(tidy(() => sum(square(site.weight.dense('f32')), 1))));
