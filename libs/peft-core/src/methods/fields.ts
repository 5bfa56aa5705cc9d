/** PEFT config fields that several methods have. Descriptions are shown to people. */
import { z } from 'zod';

export const moduleNames = z.union([z.array(z.string().min(1)).min(1), z.string().min(1)]);

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
