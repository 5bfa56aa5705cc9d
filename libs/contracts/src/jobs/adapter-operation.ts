// Operations on trained adapters that need no training: merge, combine, convert and export.
import { z } from 'zod';
import {
  COMBINATION_TYPES,
  EXPORT_FORMATS,
  GGUF_QUANTIZATIONS,
  isDecomposed,
  pruningOf,
} from './adapter-operation-names.js';
import { POOL_NAME, POOL_NAME_RULE } from '../organization/pool-name.js';

export * from './adapter-operation-names.js';

/** Arguments of PEFT's `add_weighted_adapter`. */
const CombinationFields = z.strictObject({
  weights: z
    .array(z.number().min(-100).max(100))
    .min(1)
    .max(16)
    .describe('Weight of each adapter, in the order of `adapters`'),
  combination_type: z
    .enum(COMBINATION_TYPES)
    .default('svd')
    .describe(
      'Combination method: cat and svd are exact (svd up to its rank), linear is an approximation; ties, dare and magnitude_prune prune weights before adding them',
    ),
  svd_rank: z
    .int()
    .min(1)
    .optional()
    .describe("Rank of the result, for svd and *_svd. Default: the adapters' highest rank"),
  density: z
    .number()
    .gt(0)
    .max(1)
    .optional()
    .describe('Fraction of the weights to keep when pruning, above 0 and at most 1'),
  majority_sign_method: z
    .enum(['total', 'frequency'])
    .optional()
    .describe(
      'How ties and dare_ties elect the sign of a weight: total, by the sum of the values (default), or frequency, by majority of the adapters',
    ),
  seed: z
    .int()
    .min(0)
    .max(2147483647)
    .optional()
    .describe('Seed of the random pruning of dare. Default: 0'),
});

type CombinationRequest = z.infer<typeof CombinationFields>;

function checkCombination(request: CombinationRequest, context: z.RefinementCtx): void {
  const { combination_type: type } = request;
  const pruning = pruningOf(type);
  const uses = {
    svd_rank: isDecomposed(type),
    density: pruning !== null,
    majority_sign_method: pruning?.endsWith('ties') === true,
    seed: pruning?.startsWith('dare') === true,
  };
  for (const [field, isUsed] of Object.entries(uses)) {
    if (isUsed || request[field as keyof typeof uses] === undefined) continue;
    const message = `is not used by combination_type "${type}"; leave it out`;
    context.addIssue({ code: 'custom', path: [field], message });
  }
  if (pruning === null || request.density !== undefined) return;
  const message = `is required by combination_type "${type}": the fraction of weights to keep, above 0 and at most 1`;
  context.addIssue({ code: 'custom', path: ['density'], message });
}

export const Combination = CombinationFields.superRefine(checkCombination);
export type Combination = z.infer<typeof Combination>;

/** `rank` and `energy` correspond to PEFT's `rank` of `convert_to_lora`, which is an integer or a fraction. */
const ConversionFields = z.strictObject({
  rank: z.int().min(1).optional().describe('Rank of the LoRA, the same for all modules'),
  energy: z
    .number()
    .gt(0)
    .max(1)
    .optional()
    .describe(
      "Instead of a rank: each module gets the lowest rank that preserves this fraction of its update's squared singular values",
    ),
});

function checkConversion(
  { rank, energy }: z.infer<typeof ConversionFields>,
  context: z.RefinementCtx,
): void {
  if ((rank === undefined) !== (energy === undefined)) return;
  const message = rank === undefined ? 'set rank or energy' : 'set rank or energy, not both';
  context.addIssue({ code: 'custom', path: ['rank'], message });
}

export const Conversion = ConversionFields.superRefine(checkConversion);
export type Conversion = z.infer<typeof Conversion>;

const ExportFields = z.strictObject({
  format: z
    .enum(EXPORT_FORMATS)
    .describe(
      'gguf: a complete model for llama.cpp and Ollama; gguf_adapter: a LoRA to load with its base in GGUF; vllm: a LoRA folder that vLLM can load',
    ),
  quantization: z
    .enum(GGUF_QUANTIZATIONS)
    .optional()
    .describe('Data type of a gguf export. Default: F16. Q4_K_M is about a quarter of the size'),
});

function checkExport(
  { format, quantization }: z.infer<typeof ExportFields>,
  context: z.RefinementCtx,
): void {
  if (format === 'gguf' || quantization === undefined) return;
  const message = `is not used by format "${format}"; leave it out`;
  context.addIssue({ code: 'custom', path: ['quantization'], message });
}

export const Export = ExportFields.superRefine(checkExport);
export type Export = z.infer<typeof Export>;

const merge = { type: z.literal('merge') };
const combine = { type: z.literal('combine'), ...CombinationFields.shape };
const convert = { type: z.literal('convert'), ...ConversionFields.shape };
const exporting = { type: z.literal('export'), ...ExportFields.shape };

/** Operation of a Spec. The adapters are sent as files. */
export const AdapterOperation = z.discriminatedUnion('type', [
  z.strictObject(merge),
  z.strictObject(combine).superRefine(checkCombination),
  z.strictObject(convert).superRefine(checkConversion),
  z.strictObject(exporting).superRefine(checkExport),
]);
export type AdapterOperation = z.infer<typeof AdapterOperation>;

export const OPERATION_TYPES = AdapterOperation.options.map(({ shape }) => shape.type.value);

const of = {
  adapters: z.array(z.string()).readonly().describe('Names of the source adapters'),
};
/** Operation of a job object. */
export const OperationObject = z
  .discriminatedUnion('type', [
    z.object({ ...merge, ...of }),
    z.object({ ...combine, ...of }),
    z.object({ ...convert, ...of }),
    z.object({ ...exporting, ...of }),
  ])
  .meta({ id: 'OperationObject' });
export type OperationObject = z.infer<typeof OperationObject>;

const name = z.string().min(1).max(4096);
const job = {
  suffix: z.string().min(1).max(64).nullish().describe("Suffix of the new model's name"),
  metadata: z.record(z.string().max(64), z.string().max(512)).nullish(),
  pool: z
    .string()
    .regex(POOL_NAME, POOL_NAME_RULE)
    .optional()
    .meta({ default: 'default', description: 'Worker pool that runs the operation' }),
  priority: z.int().min(1).max(1000).optional().meta({
    default: 100,
    description: 'Priority from 1 to 1000; jobs with a lower number start first',
  }),
};
const model = name.describe('Adapter: a fine-tuned model or a checkpoint of a job');

/** Body of POST /v1/adapters/operations. */
export const CreateOperation = z.discriminatedUnion('type', [
  z.strictObject({ ...merge, model, ...job }),
  z
    .strictObject({
      ...combine,
      adapters: z.array(name).min(1).max(16).describe('LoRA adapters of the same base model'),
      ...job,
    })
    .superRefine(checkCombination),
  z.strictObject({ ...convert, model, ...job }).superRefine(checkConversion),
  z
    .strictObject({
      ...exporting,
      model: name.describe('Model to export: any model for gguf, an adapter for the other formats'),
      ...job,
    })
    .superRefine(checkExport),
]);
export type CreateOperation = z.infer<typeof CreateOperation>;
