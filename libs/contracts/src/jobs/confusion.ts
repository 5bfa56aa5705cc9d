// Confusion matrices of a job's evaluations: GET /v1/fine_tuning/jobs/{id}/confusion.
import { z } from 'zod';

/** Maximum number of labels for which the whole matrix is stored. */
export const MOST_CONFUSED_WHOLE = 50;
/** Maximum number of pairs stored for more labels: the most frequently confused ones. */
export const MOST_CONFUSED = 200;
/** Maximum number of labels for which per-label counts are stored. */
export const MOST_RATED = 1000;
/** Maximum number of example lines listed per pair. */
export const MOST_NAMED_OF_PAIR = 10;
/** Maximum number of example lines listed per evaluation. */
export const MOST_NAMED = 2000;

/** Confusion matrix of an evaluation, as workers report it and the database stores it. Labels are given by index. */
export interface Confusion {
  /** Three counts per label: true positives, false positives and false negatives. */
  readonly classes: readonly number[];
  /** Triples of label, predicted label and count, highest count first. */
  readonly cells: readonly number[];
  /** Triples of label, predicted label and line number in the file, for some of the examples. */
  readonly examples?: readonly number[];
}

const share = z.number().nullable();
const lines = z
  .array(z.number())
  .readonly()
  .describe(`Line numbers in \`examples_file\` of the first ${MOST_NAMED_OF_PAIR} such examples.`);

export const JobConfusionObject = z
  .object({
    object: z.literal('fine_tuning.job.confusion'),
    job_id: z.string(),
    steps: z
      .array(z.number())
      .readonly()
      .describe('Steps of the evaluations that have a confusion matrix.'),
    best_step: z.number().nullable().describe('Step in `steps` with the lowest validation loss.'),
    step_number: z
      .number()
      .nullable()
      .describe('Step of this confusion matrix; null if there is none.'),
    full: z
      .boolean()
      .nullable()
      .describe('Whether all validation data were evaluated, not just a sample.'),
    examples: z.number().nullable(),
    majority_accuracy: z
      .number()
      .nullable()
      .describe('Accuracy of always predicting the most frequent label of these examples.'),
    examples_file: z
      .string()
      .nullable()
      .describe('ID of the file that holds the examples; null if it was deleted.'),
    classes: z
      .array(
        z.object({
          label: z.string(),
          support: z.number().describe('Examples with this label.'),
          correct: z.number().describe('Examples with this label that were predicted correctly.'),
          predicted: z.number().describe('Examples for which this label was predicted.'),
          precision: share.describe(
            'Precision, from 0 to 1; null if the label was never predicted.',
          ),
          recall: share.describe('Recall, from 0 to 1; null if no example has the label.'),
          f1: share.describe(
            'F1 score, from 0 to 1; null if no example has the label and it was never predicted.',
          ),
          lines: lines.describe(
            `Line numbers in \`examples_file\` of the first ${MOST_NAMED_OF_PAIR} correctly predicted examples.`,
          ),
        }),
      )
      .readonly()
      .describe(
        `Counts and scores per label, in the order of the labels; empty for more than ${MOST_RATED} labels.`,
      ),
    confused: z
      .array(z.object({ label: z.string(), predicted: z.string(), count: z.number(), lines }))
      .readonly()
      .describe(
        `Confused pairs of labels, most frequent first: all pairs for up to ${MOST_CONFUSED_WHOLE} labels, otherwise the first ${MOST_CONFUSED}.`,
      ),
  })
  .meta({
    id: 'JobConfusionObject',
    description: 'Confusion matrix of an evaluation of a job, with precision and recall per label.',
  });
export type JobConfusionObject = z.infer<typeof JobConfusionObject>;
