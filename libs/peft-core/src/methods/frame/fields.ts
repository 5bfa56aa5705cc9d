/** PEFT config fields that several methods have. Descriptions are shown to people. */
import { z } from 'zod';
import type { TargetFields } from '../targets/targets.js';

const names = z.array(z.string().min(1));
export const moduleNames = z.union([names.min(1), z.string().min(1)]);

/** Which linears to adapt; `usual` says what null means. */
export const targetNames = (usual: string) =>
  moduleNames
    .nullable()
    .default(null)
    .describe(
      `Names of the linears to adapt, a regular expression over their paths, or "all-linear"; null: ${usual}`,
    );

export const targetFields = (usual: string) => ({
  target_modules: targetNames(usual),
  exclude_modules: moduleNames
    .nullable()
    .default(null)
    .describe('Names or a regular expression to leave out'),
});

export const modulesToSave = names
  .nullable()
  .default(null)
  .describe('Modules to train whole, by the end of their path, e.g. lm_head');

export const layerFields = {
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
};

/** Refuses layer fields that PEFT refuses; for `superRefine`. */
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

/** Which biases train beside the method, of which `own` means those of its targets: `oft_only`. */
export const trainedBiases = (own: string) =>
  z
    .enum(['none', 'all', own])
    .default('none')
    .describe('Biases to train: none, all, or those of adapted linears');

export const fanInFanOut = z
  .boolean()
  .default(false)
  .describe("Whether weights are stored [in, out]; known from the model, kept for PEFT's file");

/**
 * PEFT's fields that most methods on linears have.
 * @param usual what null means as target_modules
 * @param ownBias the value of `bias` that means the biases of the adapted linears
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

export const dropout = z.number().min(0).lt(1).default(0).describe("Dropout on the update's input");

export const ranks = z
  .record(z.string(), rank)
  .default({})
  .describe('Other ranks for some modules: name or pattern → r');

export const alphas = (alpha: string) =>
  z.record(z.string(), scale).default({}).describe(`Other ${alpha} for some modules`);

export const virtualTokens = z
  .int()
  .min(1)
  .max(10_000)
  .default(20)
  .describe('Virtual tokens put before every sequence');

/** What PEFT resolves from the model and writes in the file; when given they must be the model's. */
export const resolvedFields = {
  num_layers: z
    .int()
    .nullable()
    .default(null)
    .describe('Layers of the model; left out, they are read from it'),
  token_dim: z
    .int()
    .nullable()
    .default(null)
    .describe('Size of a virtual token; left out, it is read from the model'),
  num_attention_heads: z
    .int()
    .nullable()
    .default(null)
    .describe('Heads; left out, they are read from the model'),
  num_transformer_submodules: z
    .int()
    .nullable()
    .default(null)
    .describe('1 for decoders; may be left out'),
};

/** Bookkeeping of PEFT's files that says nothing about training: accepted and dropped. */
export const BOOKKEEPING: ReadonlySet<string> = new Set([
  'auto_mapping',
  'base_model_name_or_path',
  'inference_mode',
  'peft_version',
  'revision',
]);
