/**
 * LoRA's config and parts. lora-linear.ts has the update of a linear layer, lora-embedding.ts that of the embedding.
 */
import { DomainError } from '@graft/contracts';
import { z } from 'zod';
import type { LinearShape } from '../nn/outline/outline.js';
import {
  alphas,
  checkLayers,
  layerFields,
  moduleNames,
  modulesToSave,
  rank,
  ranks,
  scale,
  targetFields,
} from './frame/fields.js';
import { checkConvolution, magnitudeShape } from './lora/lora-convolution.js';
import { embeddingShapes, LoraEmbedding } from './lora/lora-embedding.js';
import { cordaConfig } from './lora/lora-corda.js';
import { evaConfig, evaOf, evaPatterns } from './lora/lora-eva.js';
import { loraGaConfig } from './lora/lora-ga.js';
import { checkRank, initLoraWeights, loftqConfig, takesFromWeight } from './lora/lora-init.js';
import type { LoraSize } from './lora/lora-init.js';
import { LoraExperts, parameterShapes, resolveParameters } from './lora/lora-experts.js';
import { LoraLinear } from './lora/lora-linear.js';
import {
  bdLora,
  blocksOf,
  factorShapes,
  invocationTokens,
  kasa,
  kasaShapes,
  velora,
  checkVelora,
} from './lora/lora-variants.js';
import {
  checkStart,
  startConfigs,
  startHolds,
  startNeeds,
  startObserver,
  unusedStarts,
} from './lora/lora-starts.js';
import {
  monteclora,
  monteCloraNumbers,
  MONTECLORA_PARTS,
  monteCloraShapes,
} from './lora/lora-monteclora.js';
import { linearMethod } from './frame/linear-method.js';
import type { PartShapes } from './frame/parameters.js';
import { valueByEnd } from './targets/pattern.js';
import { ALL_LINEAR } from './targets/targets.js';
import { ROWS_PART, tokenIndices } from './targets/token-rows.js';

const targetModules = z
  .union([moduleNames, z.array(z.never())])
  .nullable()
  .default(null)
  .describe(
    'Names of the modules to apply the adapter to, a regular expression over their paths, or "all-linear". Default (null): query and value projections. []: target_parameters only',
  );
const targetParameters = z
  .array(z.string().min(1))
  .nullable()
  .default(null)
  .describe(
    'Names (or name suffixes) of mixture-of-experts parameters to adapt: experts.gate_up_proj, experts.down_proj, or gate.weight of the router',
  );

const Fields = z.strictObject({
  r: rank.default(8).describe('Rank of the update'),
  lora_alpha: scale
    .default(8)
    .describe('Scaling numerator: the update is scaled by lora_alpha / r. Job default: 2 × r'),
  lora_dropout: z
    .number()
    .min(0)
    .lt(1)
    .default(0)
    .describe("Dropout probability of the adapter's input"),
  ...targetFields('query and value projections'),
  target_modules: targetModules,
  target_parameters: targetParameters,
  use_rslora: z
    .boolean()
    .default(false)
    .describe('Rank-stabilized LoRA: scale by lora_alpha / √r, which keeps high ranks stable'),
  use_dora: z
    .boolean()
    .default(false)
    .describe('Weight-decomposed LoRA (DoRA): train magnitude and direction separately. Slower'),
  bias: z
    .enum(['none', 'all', 'lora_only'])
    .default('none')
    .describe('Biases to train: none, all biases, or only those of the adapted layers'),
  modules_to_save: modulesToSave,
  lora_bias: z
    .boolean()
    .default(false)
    .describe('Also train a bias for lora_B. It can be merged if the layer has a bias'),
  init_lora_weights: initLoraWeights,
  ensure_weight_tying: z
    .boolean()
    .default(false)
    .describe(
      'If the embedding and head are tied and modules_to_save names one of them, train one copy for both',
    ),
  alora_invocation_tokens: invocationTokens,
  eva_config: evaConfig,
  corda_config: cordaConfig,
  lora_ga_config: loraGaConfig,
  loftq_config: loftqConfig,
  use_bdlora: bdLora,
  kasa_config: kasa,
  velora_config: velora,
  monteclora_config: monteclora,
  trainable_token_indices: z
    .union([tokenIndices, z.record(z.string().min(1), tokenIndices)])
    .nullable()
    .default(null)
    .describe(
      'Ids of the tokens whose embeddings are trained too: a list, or a map from path suffix (embed_tokens, lm_head) to ids',
    ),
  ...layerFields,
  rank_pattern: ranks,
  alpha_pattern: alphas('lora_alpha'),
  fan_in_fan_out: z
    .boolean()
    .default(false)
    .describe(
      'Whether weights are stored as [in, out]. Set from the model; kept for compatibility with PEFT',
    ),
});
type Fields = z.infer<typeof Fields>;
const Options = Fields.superRefine(checkLayers).superRefine(checkVariants);
type Options = z.infer<typeof Options>;
export type LoraOptions = Options;

/** Rejects combinations of options that PEFT rejects or that have no meaning. */
function checkVariants(options: Fields, ctx: z.RefinementCtx): void {
  const { lora_bias: bias, init_lora_weights: init, target_modules: targets } = options;
  const refuse = (field: string, message: string): void =>
    ctx.addIssue({ code: 'custom', message, path: [field] });
  if (targets?.length === 0 && !options.target_parameters?.length)
    refuse('target_modules', 'must not be empty unless target_parameters is set');
  if (bias && typeof init === 'string')
    refuse('lora_bias', `lora_bias requires init_lora_weights true or false (got "${init}")`);
  if (init === 'loftq' && Object.keys(options.loftq_config).length === 0)
    refuse(
      'loftq_config',
      'init_lora_weights "loftq" needs loftq_config, such as {"loftq_bits":4,"loftq_iter":1}',
    );
  const variants = [
    ...(options.use_dora ? ['use_dora'] : []),
    ...(options.alora_invocation_tokens ? ['alora_invocation_tokens'] : []),
    ...(options.use_bdlora ? ['use_bdlora'] : []),
    ...(options.kasa_config ? ['kasa_config'] : []),
    ...(options.velora_config ? ['velora_config'] : []),
    ...(options.monteclora_config ? ['monteclora_config'] : []),
    ...(init === 'mica' ? ['init_lora_weights'] : []),
  ];
  const [first, second] = variants;
  if (first !== undefined && second !== undefined)
    refuse(
      first,
      `${first} cannot be combined with ${second}${second === 'init_lora_weights' ? ' "mica"' : ''}`,
    );
  if (bias && (options.use_dora || options.use_bdlora))
    refuse('lora_bias', `lora_bias cannot be combined with ${first}`);
  const plain = typeof init !== 'string' || init === 'gaussian';
  if (!plain && variants.length > 0 && !options.use_dora && init !== 'mica')
    refuse(
      'init_lora_weights',
      `${first} requires init_lora_weights true, false or "gaussian" (got "${init}")`,
    );
}

const JOB_RANK = 16;
/** α = 2 r, the usual choice if all linear layers are targets. */
const JOB_ALPHA_PER_RANK = 2;

const UNSUPPORTED = {
  layer_replication: null,
  megatron_config: null,
  megatron_core: 'megatron.core',
  use_qalora: false,
  qalora_group_size: 16,
  arrow_config: null,
};

/** Reasons why options are not supported. */
const REASONS = {
  layer_replication:
    'it changes the depth of the model, so the job could not share a forward pass with other jobs',
  megatron_config: 'it applies to layers that are split across several GPUs',
  megatron_core: 'it applies to layers that are split across several GPUs',
  use_qalora:
    'PEFT supports it for GPTQ models only, which Graft does not load, and ignores it otherwise',
  qalora_group_size: 'it requires use_qalora, which PEFT supports for GPTQ models only',
  arrow_config: 'it routes between trained adapters and trains none',
};

export const lora = linearMethod<Options>({
  name: 'LORA',
  title: 'LoRA',
  summary:
    'Adds small low-rank matrices to the linear layers of the model. The usual choice: fast, small, and as good as full fine-tuning on most tasks.',
  paper: 'https://arxiv.org/abs/2106.09685',
  defaultLearningRate: 2e-4,
  tried: [{}, { use_dora: true }],
  trainingOnly: ['lora_dropout', 'eva_config', 'corda_config', 'lora_ga_config'],
  spent: (options) => unusedStarts(options).map(([field]) => field),
  options: Options,
  jobDefaults({ r = JOB_RANK, layers_to_transform: layers = null, target_parameters: named }) {
    return {
      r: JOB_RANK,
      ...(typeof r === 'number' ? { lora_alpha: JOB_ALPHA_PER_RANK * r } : {}),
      // layers can only be selected from a list of modules, such as PEFT's default
      ...(layers === null && !named ? { target_modules: ALL_LINEAR } : {}),
    };
  },
  unsupported: UNSUPPORTED,
  reasons: REASONS,
  convertsToLora: true,
  tensors: {
    lora_A: 'module',
    lora_B: 'module',
    'lora_B.bias': 'parameter',
    lora_magnitude_vector: 'parameter',
    lora_diag: 'parameter',
    lora_velora_embed: 'parameter',
    ...Object.fromEntries(MONTECLORA_PARTS.map((part) => [part, 'parameter'] as const)),
    lora_embedding_A: 'parameter',
    lora_embedding_B: 'parameter',
    [ROWS_PART]: 'parameter',
  },
  defaultTargets: () => ['q', 'v'],
  conv1d: true,
  convolutions: [1, 2],
  check(options) {
    checkVelora(options.velora_config);
    for (const field of ['rank_pattern', 'alpha_pattern'] as const)
      valueByEnd(options[field], `peft.${field}`);
    const [unused] = unusedStarts(options);
    if (!unused) return;
    const [field, start] = unused;
    const message = `${field} requires init_lora_weights "${start}" (got ${JSON.stringify(options.init_lora_weights)}); remove it`;
    throw new DomainError('invalid_value', message, `peft.${field}`);
  },
  shapes(options) {
    const rankOf = ranksOf(options);
    return (linear) => partsOf(linear, options, rankOf(linear.path));
  },
  adapt(options, found) {
    const sizes = loraSizes(options);
    const count = { linears: 0 };
    return (target, parameters) =>
      new LoraLinear(target, options, sizes(target.path), parameters, { found, count });
  },
  needs: startNeeds,
  observer: (targets, options, seed) => startObserver(targets, options, loraSizes(options), seed),
  started(options, found, { linears, table }, written) {
    if (options.init_lora_weights !== 'eva') return options;
    const { kept, ...patterns } = evaPatterns(found, linears, {
      ...options,
      rankOf: ranksOf(options),
      alphaOf: alphasOf(options),
      config: evaOf(options.eva_config),
    });
    const targets = [...written(kept), ...(table ? [table.path] : [])];
    return { ...options, ...patterns, target_modules: targets };
  },
  embedding: {
    shapes: (table, options) => embeddingShapes(table, options, ranksOf(options)(table.path)),
    adapt: (table, options, parameters) =>
      new LoraEmbedding(
        table,
        options.init_lora_weights,
        loraSizes(options)(table.path),
        parameters,
      ),
  },
  invocation: ({ alora_invocation_tokens: tokens }) => tokens,
  taskTypes: ({ alora_invocation_tokens: tokens }) =>
    tokens && { field: 'alora_invocation_tokens', types: ['CAUSAL_LM'] },
  parameters: {
    resolve: resolveParameters,
    shapes(options) {
      const rankOf = ranksOf(options);
      return (target) => parameterShapes(target, rankOf(target.name));
    },
    adapt(options) {
      const [init, sizes] = [options.init_lora_weights, loraSizes(options)];
      return (target, parameters) => new LoraExperts(target, init, sizes(target.name), parameters);
    },
  },
  unmergedIn(options, targets) {
    if (options.alora_invocation_tokens)
      return 'with alora_invocation_tokens the adapter acts on some positions only';
    const bare = options.lora_bias ? targets.find(({ hasBias }) => !hasBias) : undefined;
    return bare ? `lora_bias requires a bias in the base model, but ${bare.path} has none` : null;
  },
  held(targets, options) {
    const [rankOf, { monteclora_config: sampled }] = [ranksOf(options), options];
    const held = startHolds(targets, options, rankOf);
    if (!sampled) return held;
    const drawn = targets.map(({ path, inFeatures }) =>
      monteCloraNumbers(sampled, inFeatures, rankOf(path)),
    );
    return { ...held, numbers: drawn.reduce((a, b) => a + b, held.numbers ?? 0) };
  },
  resolved: (options) => ({ ...startConfigs(options), ...asWritten(options) }),
});

function partsOf(linear: LinearShape, options: Options, r: number): PartShapes {
  const { init_lora_weights: init } = options;
  const { outFeatures } = linear;
  checkConvolution(linear, options);
  checkRank(linear, init, r);
  checkStart(linear, r, options);
  checkVelora(options.velora_config);
  const { lora_A, lora_B } = factorShapes(linear, blocksOf(linear, options.use_bdlora, r), r);
  return {
    lora_A,
    ...(init !== 'mica' && { lora_B }),
    ...(options.lora_bias && { 'lora_B.bias': [outFeatures] }),
    ...(options.use_dora && { lora_magnitude_vector: magnitudeShape(linear) }),
    ...(options.kasa_config && kasaShapes(linear, r)),
    ...(options.monteclora_config && monteCloraShapes(options.monteclora_config, r)),
  };
}

/** Options as files have them. Files have twice the rank, at the same scale, if the update starts with a part of W. */
function asWritten(options: Options): Partial<Options> {
  if (!takesFromWeight(options.init_lora_weights)) return {};
  const more = options.use_rslora ? Math.SQRT2 : 2;
  const times = (pattern: Readonly<Record<string, number>>, by: number): Record<string, number> =>
    Object.fromEntries(Object.entries(pattern).map(([path, value]) => [path, value * by]));
  return {
    init_lora_weights: true,
    r: 2 * options.r,
    lora_alpha: more * options.lora_alpha,
    rank_pattern: times(options.rank_pattern, 2),
    alpha_pattern: times(options.alpha_pattern, more),
  };
}

const ranksOf = (options: Options): ((path: string) => number) =>
  valueByEnd(options.rank_pattern, 'peft.rank_pattern', options.r);

const alphasOf = (options: Options): ((path: string) => number) =>
  valueByEnd(options.alpha_pattern, 'peft.alpha_pattern', options.lora_alpha);

/** Rank and scale of the update of a module. */
export function loraSizes(options: Options): (path: string) => LoraSize {
  const [rankOf, alphaOf] = [ranksOf(options), alphasOf(options)];
  return (path) => {
    const r = rankOf(path);
    return { r, scale: alphaOf(path) / (options.use_rslora ? Math.sqrt(r) : r) };
  };
}
