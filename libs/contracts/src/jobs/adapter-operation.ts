// What can be made of finished adapters without training.
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

/** PEFT's arguments of add_weighted_adapter. */
const CombinationFields = z.strictObject({
  weights: z
    .array(z.number().min(-100).max(100))
    .min(1)
    .max(16)
    .describe('What each adapter is multiplied by, in their order'),
  combination_type: z
    .enum(COMBINATION_TYPES)
    .default('svd')
    .describe(
      'How: cat and svd are exact (svd up to its rank), linear is rough; ties, dare and magnitude_prune drop numbers before they add',
    ),
  svd_rank: z
    .int()
    .min(1)
    .optional()
    .describe("Rank of the result, where an SVD makes it; left out, the adapters' largest"),
  density: z
    .number()
    .gt(0)
    .max(1)
    .optional()
    .describe('Fraction of the numbers that is kept, where some are dropped'),
  majority_sign_method: z
    .enum(['total', 'frequency'])
    .optional()
    .describe("Whose sign wins in ties and dare_ties: of the sum (the default), or most adapters'"),
  seed: z
    .int()
    .min(0)
    .max(2147483647)
    .optional()
    .describe('Of what dare drops at random; left out, 0'),
});

type Asked = z.infer<typeof CombinationFields>;

function checkCombination(asked: Asked, context: z.RefinementCtx): void {
  const { combination_type: type } = asked;
  const pruning = pruningOf(type);
  const uses = {
    svd_rank: isDecomposed(type),
    density: pruning !== null,
    majority_sign_method: pruning?.endsWith('ties') === true,
    seed: pruning?.startsWith('dare') === true,
  };
  for (const [field, isUsed] of Object.entries(uses)) {
    if (isUsed || asked[field as keyof typeof uses] === undefined) continue;
    const message = `has no part in combination_type "${type}"; leave it out`;
    context.addIssue({ code: 'custom', path: [field], message });
  }
  if (pruning === null || asked.density !== undefined) return;
  const message = `combination_type "${type}" needs the fraction of numbers to keep, above 0 and at most 1`;
  context.addIssue({ code: 'custom', path: ['density'], message });
}

export const Combination = CombinationFields.superRefine(checkCombination);
export type Combination = z.infer<typeof Combination>;

/** PEFT's `rank` of convert_to_lora, an integer or a fraction there. */
const ConversionFields = z.strictObject({
  rank: z.int().min(1).optional().describe('Rank of the LoRA, the same at all modules'),
  energy: z
    .number()
    .gt(0)
    .max(1)
    .optional()
    .describe(
      "Instead of a rank: each module gets the least that holds this fraction of its update's squared singular values",
    ),
});

function checkConversion(
  { rank, energy }: z.infer<typeof ConversionFields>,
  context: z.RefinementCtx,
): void {
  if ((rank === undefined) !== (energy === undefined)) return;
  const message = rank === undefined ? 'give rank or energy' : 'give rank or energy, not both';
  context.addIssue({ code: 'custom', path: ['rank'], message });
}

export const Conversion = ConversionFields.superRefine(checkConversion);
export type Conversion = z.infer<typeof Conversion>;

const ExportFields = z.strictObject({
  format: z
    .enum(EXPORT_FORMATS)
    .describe(
      'gguf: a whole model for llama.cpp and Ollama; gguf_adapter: a LoRA beside a base that is there as GGUF; vllm: a LoRA folder as vLLM loads it',
    ),
  quantization: z
    .enum(GGUF_QUANTIZATIONS)
    .optional()
    .describe('Of a gguf; left out, F16. Q4_K_M is a quarter as large'),
});

function checkExport(
  { format, quantization }: z.infer<typeof ExportFields>,
  context: z.RefinementCtx,
): void {
  if (format === 'gguf' || quantization === undefined) return;
  const message = `has no part in format "${format}"; leave it out`;
  context.addIssue({ code: 'custom', path: ['quantization'], message });
}

export const Export = ExportFields.superRefine(checkExport);
export type Export = z.infer<typeof Export>;

const merge = { type: z.literal('merge') };
const combine = { type: z.literal('combine'), ...CombinationFields.shape };
const convert = { type: z.literal('convert'), ...ConversionFields.shape };
const exporting = { type: z.literal('export'), ...ExportFields.shape };

/** As a Spec holds it: the adapters travel as files. */
export const AdapterOperation = z.discriminatedUnion('type', [
  z.strictObject(merge),
  z.strictObject(combine).superRefine(checkCombination),
  z.strictObject(convert).superRefine(checkConversion),
  z.strictObject(exporting).superRefine(checkExport),
]);
export type AdapterOperation = z.infer<typeof AdapterOperation>;

export const OPERATION_TYPES = AdapterOperation.options.map(({ shape }) => shape.type.value);

const of = {
  adapters: z.array(z.string()).readonly().describe('Names of those that it is made of'),
};
/** As a job shows it. */
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
  suffix: z.string().min(1).max(64).nullish().describe("In the new model's name"),
  metadata: z.record(z.string().max(64), z.string().max(512)).nullish(),
  pool: z
    .string()
    .regex(POOL_NAME, POOL_NAME_RULE)
    .optional()
    .meta({ default: 'default', description: 'Worker pool that does it' }),
  priority: z
    .int()
    .min(1)
    .max(1000)
    .optional()
    .meta({ default: 100, description: 'Jobs with a lower number run first' }),
};
const model = name.describe('The adapter: a fine-tuned model, or a checkpoint of a job');

/** The body of POST /v1/adapters/operations. */
export const CreateOperation = z.discriminatedUnion('type', [
  z.strictObject({ ...merge, model, ...job }),
  z
    .strictObject({
      ...combine,
      adapters: z.array(name).min(1).max(16).describe('LoRA adapters on one base'),
      ...job,
    })
    .superRefine(checkCombination),
  z.strictObject({ ...convert, model, ...job }).superRefine(checkConversion),
  z
    .strictObject({
      ...exporting,
      model: name.describe('The model; any for "gguf", an adapter for the others'),
      ...job,
    })
    .superRefine(checkExport),
]);
export type CreateOperation = z.infer<typeof CreateOperation>;
