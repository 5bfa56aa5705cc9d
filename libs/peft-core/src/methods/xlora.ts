/**
 * X-LoRA, arXiv:2402.07148: mixes trained, frozen LoRAs row by row with a classifier of the hidden states that a first
 * forward pass of the base gives for the row (nn/sites/scalings.ts).
 *   y = x Wᵀ + b + g Σ_i s_i ⊙ scale_i (x A_iᵀ) B_iᵀ        s = softmax(classifier(h) / T) [n, N]
 * h: [n, D], the last hidden states  N: LoRAs, each with its own rank and target layers  g: global_scaling_weight. With
 * layerwise_scalings each linear layer has its own s. top_k_lora sets all but the largest values of s to 0, and
 * enable_softmax_topk takes the softmax of the remaining ones. Products of LoRAs are computed in x's dtype.
 */
import { DomainError } from '@graft/contracts';
import { z } from 'zod';
import type { Linear, Role } from '../nn/layers/linear.js';
import type { ModelShape, ModuleIndex } from '../nn/outline/outline.js';
import { defineMethod } from './method.js';
import { rank, scale } from './frame/fields.js';
import { lora, loraSizes } from './lora.js';
import type { LoraOptions } from './lora.js';
import type { LoraSize } from './lora/lora-init.js';
import { MixedLinear } from './parts/mixed-linear.js';
import type { Factors } from './parts/mixed-linear.js';
import type { NamedTensors, PartOfAdapter } from './method.js';
import { ModuleParameters, restore, sizeOf } from './frame/parameters.js';
import { checkPlain } from './lora/plain-lora.js';
import { findTargets } from './targets/targets.js';
import {
  MOST_LAYERS,
  CLASSIFIER_TENSORS,
  classifierShapes,
  Classifier,
  countOf,
  partsOf,
  refuseLost,
} from './parts/xlora-classifier.js';

/** Maximum number of adapters. PEFT reorders more than ten when it loads them, since it sorts their names as text. */
const MOST_ADAPTERS = 10;
/** PEFT's defaults. */
const [WIDTH, DROPOUT] = [2048, 0.2];

const Options = z
  .strictObject({
    adapters: z
      .record(z.string(), z.string().min(1).max(4096))
      .nullable()
      .default(null)
      .describe(
        'LoRA adapters to mix, all trained on the base model of the job: {"0": a fine-tuned model, "1": another, …} (required)',
      ),
    hidden_size: z
      .int()
      .nullable()
      .default(null)
      .describe('Hidden size of the base model. Default: read from the base model'),
    enable_softmax: z
      .boolean()
      .default(true)
      .describe('Apply a softmax to the adapter scalings, so that they sum to 1'),
    enable_softmax_topk: z
      .boolean()
      .default(false)
      .describe(
        'Apply the softmax only to the scalings selected by top_k_lora, instead of enable_softmax',
      ),
    softmax_temperature: scale.default(1).describe('Softmax temperature. Lower is sharper'),
    layerwise_scalings: z
      .boolean()
      .default(false)
      .describe('Whether each layer has its own scalings'),
    top_k_lora: rank
      .nullable()
      .default(null)
      .describe('Number of adapters used per token, those with the largest scalings. Default: all'),
    xlora_depth: z
      .int()
      .min(1)
      .max(MOST_LAYERS)
      .default(1)
      .describe('Number of linear layers of the classifier'),
    xlora_size: z
      .int()
      .min(1)
      .max(65_536)
      .default(WIDTH)
      .describe('Hidden size of the classifier, if it has several layers'),
    xlora_dropout_p: z
      .number()
      .min(0)
      .lt(1)
      .default(DROPOUT)
      .describe('Dropout probability of the classifier, if it has several layers'),
    scaling_pass_value: z
      .number()
      .default(0)
      .describe(
        'Scaling of each adapter in the first (scaling) pass. 0: the first pass uses only the base model',
      ),
    global_scaling_weight: z
      .number()
      .default(1)
      .describe('Global factor that multiplies all adapter scalings'),
  })
  .superRefine((options, ctx) => {
    const refuse = (field: keyof typeof options, message: string): void =>
      ctx.addIssue({ code: 'custom', message, path: [field] });
    const names = Object.keys(options.adapters ?? {});
    const other = names.find((name, i) => name !== String(i));
    if (other !== undefined)
      refuse(
        'adapters',
        `expected the names "0", "1", … as PEFT has them, got ${JSON.stringify(other.slice(0, 100))}`,
      );
    if (names.length > MOST_ADAPTERS)
      refuse('adapters', `expected at most ${MOST_ADAPTERS}, got ${names.length}`);
    const { top_k_lora: k } = options;
    if (k === null) return;
    if (names.length > 0 && k > names.length)
      refuse('top_k_lora', `expected at most the ${names.length} adapters, got ${k}`);
    if (options.scaling_pass_value !== 0)
      refuse(
        'scaling_pass_value',
        'cannot be combined with top_k_lora, which cannot select among equal scalings',
      );
  });
type Options = z.infer<typeof Options>;

/** A LoRA and the linear layers that it adapts. */
interface PlainLora<L> {
  readonly options: LoraOptions;
  readonly linears: readonly L[];
  readonly sizeOf: (path: string) => LoraSize;
}

type Places<L extends { readonly path: string; readonly role: Role }> = ModuleIndex<
  L,
  { readonly path: string },
  { readonly path: string }
>;

interface Found<L> {
  readonly loras: readonly PlainLora<L>[];
  /** Adapted linear layers, in model order. */
  readonly linears: readonly L[];
}

const refuse = (field: keyof Options | 'peft_type', message: string, isKnown = false): never => {
  throw new DomainError(isKnown ? 'unsupported' : 'invalid_value', message, `peft.${field}`);
};

/**
 * Families whose linear layers transformers declares in an order other than that of execution. PEFT numbers layers by
 * declaration.
 */
const OTHERWISE_ORDERED: Readonly<Record<string, boolean>> = { opt: true, phi3: true };

/**
 * Returns the LoRAs and their layers. @throws DomainError if adapters cannot be mixed, or PEFT cannot mix them on the
 * model
 */
function found<L extends { readonly path: string; readonly role: Role }>(
  modules: Places<L>,
  options: Options,
  adapters: readonly PartOfAdapter[],
  modelType: string,
): Found<L> {
  if (modules.linears().some(({ path, role }) => role !== 'head' && !path.startsWith('model.')))
    refuse(
      'peft_type',
      `XLORA is not supported for model_type ${modelType}: PEFT loads its adapters only if module paths begin with "model."; choose another base or method`,
      true,
    );
  if (options.layerwise_scalings && OTHERWISE_ORDERED[modelType])
    refuse(
      'layerwise_scalings',
      `layerwise_scalings is not supported for model_type ${modelType}: PEFT numbers its linear layers in an order other than that of execution; remove it`,
      true,
    );
  const count = countOf(options);
  if (count === 0) refuse('adapters', 'adapters is required: {"0": a fine-tuned model, "1": …}');
  if (adapters.length !== count)
    refuse(
      'adapters',
      `adapters lists ${count} adapters, but ${adapters.length} are present: an X-LoRA file requires the LoRAs that it mixes`,
      true,
    );
  const loras = adapters.map((adapter, i) => plainLora(modules, adapter, `adapters "${i}"`));
  const taken = new Set(loras.flatMap(({ linears }) => linears));
  return { loras, linears: modules.linears().filter((one) => taken.has(one)) };
}

const WORDS = { lacks: 'cannot be mixed', cannot: 'cannot be mixed' };

function plainLora<L extends { readonly path: string; readonly role: Role }>(
  modules: Places<L>,
  { method, options }: PartOfAdapter,
  which: string,
): PlainLora<L> {
  if (method !== lora.name)
    refuse('adapters', `${which}: ${method} cannot be mixed, as in PEFT; only ${lora.name} can`);
  const fields = options as LoraOptions;
  try {
    checkPlain(fields, which, WORDS);
  } catch (error) {
    if (error instanceof DomainError) throw new DomainError(error.code, error.message, PARAM);
    throw error;
  }
  const { linears, table } = findTargets(modules, fields, ['q', 'v'], true);
  const head = linears.find(({ role }) => role === 'head');
  if (head)
    refuse(
      'adapters',
      `${which}: a LoRA at ${head.path} cannot be mixed: the head receives single rows`,
    );
  if (table)
    refuse('adapters', `${which}: a LoRA at ${table.path}, the embedding, cannot be mixed`);
  return { options: fields, linears, sizeOf: loraSizes(fields) };
}

const PARAM = 'peft.adapters';

/**
 * Checks sizes. @throws DomainError if a size is not the model's, or the model has two stacks, where PEFT finds no
 * hidden states
 */
function checkSizes(
  { hidden_size: asked }: Options,
  {
    hiddenSize,
    embeddingSize,
    stackCount,
  }: Pick<ModelShape, 'hiddenSize' | 'embeddingSize' | 'stackCount'>,
): void {
  if (asked !== null && asked !== hiddenSize)
    refuse('hidden_size', `expected the base's ${hiddenSize}, got ${asked}; leave it out`);
  if (stackCount > 1)
    refuse(
      'peft_type',
      'XLORA is not supported for encoder-decoder models, as in PEFT; choose another base or method',
      true,
    );
  if (hiddenSize !== embeddingSize)
    refuse(
      'peft_type',
      `XLORA is not supported for a base whose embedding size (${embeddingSize}) differs from its hidden size (${hiddenSize}); choose another base or method`,
      true,
    );
}

export const xlora = defineMethod<Options>({
  name: 'XLORA',
  title: 'X-LoRA',
  summary:
    'Mixes trained LoRA adapters per token, with weights from a trained classifier that reads the input.',
  paper: 'https://arxiv.org/abs/2402.07148',
  defaultLearningRate: 1e-3,
  options: Options,
  unsupported: { use_trainable_adapters: false },
  reasons: {
    use_trainable_adapters: "PEFT's file does not contain the adapters that it would train",
  },
  tensors: CLASSIFIER_TENSORS,
  unmerged: 'its effect on the base model depends on the input',
  withoutHeads: 'its config has no modules_to_save',
  taskTypes: () => ({ field: 'adapters', types: ['CAUSAL_LM'] }),
  idle({ xlora_depth: depth, xlora_size: width, xlora_dropout_p: p }) {
    if (depth > 1) return null;
    const where = 'a classifier of one linear layer (xlora_depth 1)';
    if (width !== WIDTH) return { field: 'xlora_size', where };
    return p !== DROPOUT && p > 0 ? { field: 'xlora_dropout_p', where } : null;
  },
  adapters: ({ adapters }) => Object.values(adapters ?? {}),
  footprint(outline, options, { modelType, adapters }) {
    checkSizes(options, outline);
    const { loras, linears } = found(outline, options, adapters, modelType);
    const shapes = classifierShapes(options, outline.hiddenSize, linears.length);
    const count = loras.length;
    const ranks = (path: string): number =>
      loras.reduce(
        (sum, { linears: at, sizeOf: sizes }) =>
          sum + (at.some((one) => one.path === path) ? sizes(path).r : 0),
        0,
      );
    const through = shapes.reduce((sum, [, inputs, outputs]) => sum + inputs + 2 * outputs, 0);
    return {
      trainableParameters: sizeOf(partsOf(shapes)),
      virtualTokens: 0,
      held: {
        numbers: linears.reduce(
          (sum, { path, inFeatures, outFeatures }) =>
            // and, during a forward pass, A and B in the base's dtype
            sum + ranks(path) * (1.5 * (inFeatures + outFeatures) + count),
          0,
        ),
        perRow: through + linears.reduce((sum, { path }) => sum + 3 * ranks(path) + 2 * count, 0),
      },
    };
  },
  attach(model, options, { run, seed, adapters = [] }) {
    const { modules, config } = model;
    checkSizes(options, model);
    const { loras, linears } = found(modules, options, adapters, config.model_type);
    const own = new ModuleParameters(null, seed);
    const mixed: MixedLinear[] = [];
    const shapes = classifierShapes(options, model.hiddenSize, linears.length);
    const detach = (): void => {
      modules.detach(run);
      own.dispose();
      mixed.forEach((one) => one.dispose());
    };
    try {
      for (const [i, target] of linears.entries()) {
        const factors = loras.map((one, n) =>
          factorsAt(target, one, adapters[n]?.tensors, `adapters "${n}"`),
        );
        const place = options.layerwise_scalings ? i : 0;
        const update = new MixedLinear(factors, place, options.global_scaling_weight);
        mixed.push(update);
        target.attach(run, update);
      }
      modules.scaling.attach(run, new Classifier(options, shapes, own));
    } catch (error) {
      detach();
      throw error;
    }
    return {
      parameters: own.trained,
      exported: () => own.exported(),
      load(stored) {
        refuseLost(stored, shapes, loras.length);
        restore(own.trained, stored);
      },
      resolvedConfig: () => ({
        use_trainable_adapters: false,
        ...options,
        hidden_size: model.hiddenSize,
      }),
      detach,
    };
  },
});

/**
 * Factors of a LoRA at a linear layer; null if it does not adapt the layer. @throws DomainError if its file lacks them
 */
function factorsAt(
  { path }: Linear,
  { options, linears, sizeOf: sizes }: PlainLora<Linear>,
  tensors: NamedTensors | undefined,
  which: string,
): Factors | null {
  if (!linears.some((one) => one.path === path)) return null;
  const [a, b] = ['lora_A', 'lora_B'].map((part) => tensors?.get(`${path}.${part}`));
  if (a && b) return { a, b, ...sizes(path), dropout: options.lora_dropout };
  throw new DomainError('invalid_adapter', `${which} has no lora_A and lora_B of ${path}`, PARAM);
}
