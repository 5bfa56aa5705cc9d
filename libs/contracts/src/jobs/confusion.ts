// Which labels a job's evaluations took for which: GET /v1/fine_tuning/jobs/{id}/confusion.
import { z } from 'zod';

/** Of up to so many labels all is kept, */
export const MOST_CONFUSED_WHOLE = 50;
/** of more, so many of the pairs that are most confused. */
export const MOST_CONFUSED = 200;
/** Of up to so many labels it is kept how well each is told. */
export const MOST_RATED = 1000;
/** Of each pair so many examples are named, */
export const MOST_NAMED_OF_PAIR = 10;
/** and of all together so many. */
export const MOST_NAMED = 2000;

/** Of an evaluation, by the numbers of labels, as a worker tells it and the database keeps it. */
export interface Confusion {
  /** Of each label: how often it was told rightly, told wrongly, and missed. */
  readonly classes: readonly number[];
  /** Label, what it was taken for, how often: most often first. */
  readonly cells: readonly number[];
  /** Some examples of them: label, what it was taken for, line of its file. */
  readonly examples?: readonly number[];
}

const share = z.number().nullable();
const lines = z
  .array(z.number())
  .readonly()
  .describe(`Lines of \`examples_file\` with such examples, the first ${MOST_NAMED_OF_PAIR}.`);

export const JobConfusionObject = z
  .object({
    object: z.literal('fine_tuning.job.confusion'),
    job_id: z.string(),
    steps: z.array(z.number()).readonly().describe('Evaluations that there is one of.'),
    best_step: z.number().nullable().describe('That of them with the lowest validation loss.'),
    step_number: z.number().nullable().describe('The one that this is of.'),
    full: z
      .boolean()
      .nullable()
      .describe('Whether all of the validation data were looked at, or a sample.'),
    examples: z.number().nullable(),
    majority_accuracy: z
      .number()
      .nullable()
      .describe('The accuracy of always answering the most frequent label of these examples.'),
    examples_file: z
      .string()
      .nullable()
      .describe('The file that the examples are of; null where it is deleted.'),
    classes: z
      .array(
        z.object({
          label: z.string(),
          support: z.number().describe('Examples that have it.'),
          correct: z.number().describe('Of those, how many it was told of.'),
          predicted: z.number().describe('Examples that it was told of.'),
          precision: share.describe('Null where it was told of none.'),
          recall: share.describe('Null where no example has it.'),
          f1: share.describe('Null where it was neither told nor there.'),
          lines: lines.describe('Of such that it was told of rightly, as of `confused`.'),
        }),
      )
      .readonly()
      .describe(`In the order of their numbers; empty of more than ${MOST_RATED} labels.`),
    confused: z
      .array(z.object({ label: z.string(), predicted: z.string(), count: z.number(), lines }))
      .readonly()
      .describe(
        `Labels that were taken for others, most often first: all of up to ${MOST_CONFUSED_WHOLE} labels, of more the first ${MOST_CONFUSED}.`,
      ),
  })
  .meta({
    id: 'JobConfusionObject',
    description: 'Which labels an evaluation of a job took for which, and how well each is told.',
  });
export type JobConfusionObject = z.infer<typeof JobConfusionObject>;
