// GET /v1/fine_tuning/jobs/{id}/receipt: what a job was made of and what came out, by SHA-256; and the comparison of two.
import { z } from 'zod';
import { JobStatus } from '../job-objects.js';

const Sha256 = z.string().describe('SHA-256 in lower-case hexadecimal digits');

const ReceiptFile = z.object({ name: z.string(), sha256: Sha256, bytes: z.number() });
const ReceiptFiles = z.array(ReceiptFile).readonly();

const ReceiptAttempt = z.object({
  number: z.number(),
  worker: z.string(),
  trainer_build: z
    .string()
    .nullable()
    .describe(
      'Version of the numerics, of libtorch and of the instruction set; null if it never started',
    ),
  device: z.string().nullable(),
  threads: z.number().nullable().describe('CPU threads of the trainer'),
  from_step: z.number(),
  to_step: z.number().nullable(),
  outcome: z.string().nullable(),
  reason: z.string().nullable().describe('Why the attempt ended, in words'),
  started_at: z.number().nullable(),
  ended_at: z.number().nullable(),
});

const ReceiptCheckpoint = z.object({
  step: z.number(),
  attempt: z.number().describe('Number of the attempt that saved it'),
  weights_sha256: Sha256.nullable().describe(
    'SHA-256 of its adapter_model.safetensors; null if the job trains all weights',
  ),
});

export const JobReceiptObject = z
  .object({
    object: z.literal('graft.receipt'),
    job: z.object({
      id: z.string(),
      status: JobStatus,
      created_at: z.number(),
      finished_at: z.number().nullable(),
    }),
    base: z.object({
      model: z.string(),
      files: ReceiptFiles.describe('Files of the base model; empty if it was deleted'),
      sha256: Sha256.nullable().describe('Hash of `files`; null if the base model was deleted'),
    }),
    data: z.object({
      training_sha256: Sha256.nullable().describe('SHA-256 of the training file'),
      validation_sha256: Sha256.nullable().describe('SHA-256 of the validation file'),
      init_adapter: ReceiptFiles.describe('Files of the adapter that the job started from'),
    }),
    seed: z.number(),
    spec: z
      .record(z.string(), z.unknown())
      .readonly()
      .describe('Definition of the run with every default filled in'),
    spec_sha256: Sha256.describe('Hash of `spec`'),
    inputs_sha256: Sha256.describe(
      'Hash of base, data and spec. Jobs with equal inputs have equal results on equal trainers',
    ),
    attempts: z.array(ReceiptAttempt).readonly(),
    checkpoints: z
      .array(ReceiptCheckpoint)
      .readonly()
      .describe('All checkpoints, in the order in which they were saved, including deleted ones'),
    result: z
      .object({
        model: z.string(),
        published_step: z.number().nullable(),
        files: ReceiptFiles,
        weights_sha256: Sha256.describe('Hash of the files with weights (.safetensors, .gguf)'),
      })
      .nullable()
      .describe('Null until the job has succeeded'),
    receipt_sha256: Sha256.describe(
      'Hash of this object without `receipt_sha256`. Every hash of JSON is taken of its canonical form (RFC 8785): UTF-8, keys sorted, no spaces',
    ),
  })
  .meta({
    id: 'JobReceiptObject',
    description:
      'Receipt of a job: its inputs, attempts, checkpoints and results by SHA-256. Keys are sorted.',
  });
export type JobReceiptObject = z.infer<typeof JobReceiptObject>;

const RECEIPT_PARTS = [
  'base',
  'training_data',
  'validation_data',
  'init_adapter',
  'spec',
  'trainer',
  'weights',
] as const;

export const RECEIPT_VERDICTS = [
  'identical',
  'different_inputs',
  'different_result',
  'unfinished',
  'unknown',
] as const;

export const ReceiptComparisonObject = z
  .object({
    object: z.literal('graft.receipt_comparison'),
    jobs: z.tuple([z.string(), z.string()]).readonly(),
    verdict: z
      .enum(RECEIPT_VERDICTS)
      .describe(
        '`identical`: equal inputs, and weights that are equal byte for byte. `unfinished`: a job has no result yet. `unknown`: no known input differs, but a hash is missing',
      ),
    text: z.string().describe('The verdict as a sentence'),
    parts: z
      .array(
        z.object({
          part: z.enum(RECEIPT_PARTS),
          equal: z.boolean().nullable().describe('Null if it is not known for both jobs'),
          values: z
            .tuple([z.string().nullable(), z.string().nullable()])
            .readonly()
            .describe('Hashes; for `trainer`: builds, devices and threads'),
        }),
      )
      .readonly(),
    options: z
      .array(z.object({ name: z.string(), values: z.tuple([z.unknown(), z.unknown()]).readonly() }))
      .readonly()
      .describe('Options of the spec that differ'),
    files: z
      .array(
        z.object({
          name: z.string(),
          equal: z.boolean(),
          sha256: z.tuple([Sha256.nullable(), Sha256.nullable()]).readonly(),
        }),
      )
      .readonly()
      .describe(
        'Files of the results. Model cards and metrics.csv name the job and its speed, so they differ',
      ),
    interruptions: z
      .tuple([z.number(), z.number()])
      .readonly()
      .describe('Attempts of each job that ended early'),
    checkpoints: z
      .array(
        z.object({
          step: z.number(),
          equal: z.boolean(),
          weights_sha256: z.tuple([Sha256, Sha256]).readonly(),
        }),
      )
      .readonly()
      .describe('Steps at which both jobs saved a checkpoint, with the hashes of the weights'),
  })
  .meta({
    id: 'ReceiptComparisonObject',
    description: 'Comparison of the receipts of two jobs.',
  });
export type ReceiptComparisonObject = z.infer<typeof ReceiptComparisonObject>;
