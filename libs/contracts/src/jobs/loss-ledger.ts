// Which training examples a job has learnt worst: GET /v1/fine_tuning/jobs/{id}/ledger.
import { z } from 'zod';

export const JobLedgerObject = z
  .object({
    object: z.literal('fine_tuning.job.ledger'),
    job_id: z.string(),
    steps: z
      .array(z.number())
      .readonly()
      .describe('Steps after which there is one: the ends of epochs, and the job’s own.'),
    step_number: z.number().nullable().describe('The one of them that this is of.'),
    examples: z
      .number()
      .nullable()
      .describe('How many were looked at; null where there is no ledger, or not yet.'),
    mean_loss: z.number().nullable(),
    data: z
      .array(
        z.object({
          line: z.number().describe('Of the training file.'),
          loss: z.number().nullable().describe('Null where it is no number.'),
          base_loss: z
            .number()
            .nullable()
            .describe('Of the base alone; null of tasks where the base by itself has none.'),
          record: z
            .string()
            .nullable()
            .describe(
              'Its beginning; null where the file is gone, the line is behind what is read of a large file, or the key may not read files.',
            ),
        }),
      )
      .readonly(),
  })
  .meta({
    id: 'JobLedgerObject',
    description: 'The training examples with the highest loss at the end of a job, or of an epoch.',
  });
export type JobLedgerObject = z.infer<typeof JobLedgerObject>;
