// Loss ledger, the training examples that a job learned worst: GET /v1/fine_tuning/jobs/{id}/ledger.
import { z } from 'zod';

export const JobLedgerObject = z
  .object({
    object: z.literal('fine_tuning.job.ledger'),
    job_id: z.string(),
    steps: z
      .array(z.number())
      .readonly()
      .describe('Steps that have a loss ledger: the ends of epochs and the end of the job.'),
    step_number: z.number().nullable().describe('Step of this loss ledger; null if there is none.'),
    examples: z
      .number()
      .nullable()
      .describe('Number of examples measured; null if there is no loss ledger yet.'),
    mean_loss: z.number().nullable(),
    data: z
      .array(
        z.object({
          line: z.number().describe('Line number in the training file.'),
          loss: z.number().nullable().describe('Loss of the example; null if not finite.'),
          base_loss: z
            .number()
            .nullable()
            .describe(
              'Loss of the base model alone; null for tasks that the base model cannot perform.',
            ),
          record: z
            .string()
            .nullable()
            .describe(
              'Beginning of the record; null if the file was deleted, the line is beyond the part of a large file that is read, or the API key cannot read files.',
            ),
        }),
      )
      .readonly(),
  })
  .meta({
    id: 'JobLedgerObject',
    description: 'Training examples with the highest loss at the end of a job or epoch.',
  });
export type JobLedgerObject = z.infer<typeof JobLedgerObject>;
