/** PEFT config fields that several methods have. Users see their descriptions. */
import { z } from 'zod';
import type { TargetFields } from '../targets/targets.js';

const names = z.array(z.string().min(1));
export const moduleNames = z.union([names.min(1), z.string().min(1)]);

/** Schema of target_modules; `usual` describes the meaning of null. */
export const targetNames = (usual: string) =>
  moduleNames
    .nullable()
    .default(null)
    .describe(
      `Names of the modules to apply the adapter to, a regular expression over their paths, or "all-linear". Default (null): ${usual}`,
    );

export const targetFields = (usual: string) => ({
  target_modules: targetNames(usual),
  exclude_modules: moduleNames
    .nullable()
    .default(null)
    .describe('Names of the modules to exclude, or a regular expression over their paths'),
});

export const modulesToSave = names
  .nullable()
  .default(null)
  .describe('Names (path suffixes) of modules to train and save in full, e.g. lm_head');

export const layerFields = {
  layers_to_transform: z
    .union([z.int().min(0), z.array(z.int().min(0))])
    .nullable()
    .default(null)
    .describe('Indices of the layers to adapt, counted from 0. Default: all layers'),
  layers_pattern: z
    .union([z.string(), names])
    .nullable()
    .default(null)
    .describe('Name of the module list that contains the layers, e.g. layers'),
};

/** Rejects the combinations of layer fields that PEFT rejects; for `superRefine`. */
export function checkLayers(
  options: Pick<TargetFields, 'target_modules' | 'layers_to_transform' | 'layers_pattern'>,
  ctx: z.RefinementCtx,
): void {
  const { target_modules: targets, layers_to_transform: layers, layers_pattern: pattern } = options;
  const issue = (field: string, message: string): void =>
    ctx.addIssue({ code: 'custom', message, path: [field] });
  if (layers != null && typeof targets === 'string') {
    issue(
      'layers_to_transform',
      'layers_to_transform requires target_modules to be a list, not a string',
    );
  }
  if (layers == null && pattern != null && pattern.length > 0)
    issue('layers_pattern', 'layers_pattern requires layers_to_transform');
}

/** Schema of `bias`; `own` is the value that selects the biases of the targets, such as `oft_only`. */
export const trainedBiases = (own: string) =>
  z
    .enum(['none', 'all', own])
    .default('none')
    .describe('Biases to train: none, all biases, or only those of the adapted layers');

export const fanInFanOut = z
  .boolean()
  .default(false)
  .describe(
    'Whether weights are stored as [in, out]. Set from the model; kept for compatibility with PEFT',
  );

/**
 * PEFT fields of most methods on linear layers.
 * @param usual description of target_modules null
 * @param ownBias value of `bias` that selects the biases of the adapted linear layers
 */
export const targetOptions = (usual: string, ownBias: string) => ({
  target_modules: targetNames(usual),
  bias: trainedBiases(ownBias),
  modules_to_save: modulesToSave,
  ...layerFields,
  fan_in_fan_out: fanInFanOut,
});

export const rank = z.int().min(1).max(4096);
export const scale = z.number().positive();

export const dropout = z
  .number()
  .min(0)
  .lt(1)
  .default(0)
  .describe("Dropout probability of the adapter's input");

export const ranks = z
  .record(z.string(), rank)
  .default({})
  .describe('Ranks that differ from the default r, by module name or regular expression');

export const alphas = (alpha: string) =>
  z
    .record(z.string(), scale)
    .default({})
    .describe(`Values that differ from the default ${alpha}, by module name or regular expression`);

export const virtualTokens = z
  .int()
  .min(1)
  .max(10_000)
  .default(20)
  .describe('Number of virtual tokens prepended to each sequence');

/** Fields that PEFT resolves from the model and writes to the file. If given, they must match the model. */
export const resolvedFields = {
  num_layers: z
    .int()
    .nullable()
    .default(null)
    .describe('Number of layers. Default: read from the model'),
  token_dim: z
    .int()
    .nullable()
    .default(null)
    .describe('Embedding dimension of a virtual token. Default: read from the model'),
  num_attention_heads: z
    .int()
    .nullable()
    .default(null)
    .describe('Number of attention heads. Default: read from the model'),
  num_transformer_submodules: z
    .int()
    .nullable()
    .default(null)
    .describe('Number of transformer submodules: 1 for decoders. Optional'),
};

/** Fields of PEFT's files without effect on training. They are accepted and dropped. */
export const BOOKKEEPING: ReadonlySet<string> = new Set([
  'auto_mapping',
  'base_model_name_or_path',
  'inference_mode',
  'peft_version',
  'revision',
]);
