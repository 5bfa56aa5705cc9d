import type { ComparedOption, JobObject } from '@graft/contracts';
import { amount } from '@graft/contracts/plan-line';
import { duration } from '@graft/contracts/duration';
import { lossText } from '@graft/contracts/loss-text';
import { methodTitle } from '@graft/contracts/job-method';
import { ownName } from '../find/find-job.js';
import { faint, state, strong } from './style.js';
import { bytes, printable, table } from './terminal.js';

export interface ComparedJob {
  readonly job: JobObject;
  /** Peak memory of its trainer process in bytes; other jobs may share the process. */
  readonly peak_rss_bytes: number | null;
  /** Size of its result files in bytes. */
  readonly result_bytes: number | null;
}

type Column = readonly [title: string, of: (one: ComparedJob) => string];

const textOrEmpty = <T>(value: T | null, text: (value: T) => string): string =>
  value === null ? '' : text(value);

const COLUMNS: readonly Column[] = [
  ['STATE', ({ job }) => state(job.status)],
  ['METHOD', ({ job }) => methodTitle(job)],
  ['LOSS', ({ job }) => textOrEmpty(job.graft.train_loss, lossText)],
  ['LOWEST VALID', ({ job }) => textOrEmpty(job.graft.best, (best) => `${lossText(best.valid_loss)} at ${best.step}`)], // prettier-ignore
  ['SCORE', ({ job }) => textOrEmpty(job.graft.best_score, (best) => `${lossText(best.eval_score)} at ${best.step}`)], // prettier-ignore
  ['STEPS', ({ job: { graft } }) => `${graft.progress.step}/${graft.progress.total_steps ?? '?'}`],
  ['TOKENS', ({ job }) => textOrEmpty(job.trained_tokens, amount)],
  ['TRAINED', ({ job }) => duration(job.graft.training_seconds)],
  ['MEMORY', ({ peak_rss_bytes: peak }) => textOrEmpty(peak, bytes)],
  ['PARAMETERS', ({ job }) => textOrEmpty(job.graft.trainable_parameters, amount)],
  ['SIZE', ({ result_bytes: size }) => textOrEmpty(size, bytes)],
];

const nameOf = ({ job }: ComparedJob, n: number): string => `${n + 1} ${printable(ownName(job))}`;

const written = (value: unknown): string =>
  value === undefined ? '–' : printable(typeof value === 'string' ? value : JSON.stringify(value));

/** Table of results with a row per job, and table of options with a column per job. */
export function comparison(
  jobs: readonly ComparedJob[],
  options: readonly ComparedOption[],
  width: number,
): string {
  const outcomes = table(
    ['JOB', ...COLUMNS.map(([title]) => title)],
    jobs.map((one, n) => [nameOf(one, n), ...COLUMNS.map(([, of]) => of(one))]),
    { width },
  );
  const rows = options.map(({ name, values }) => [name, ...values.map(written)]);
  return [
    outcomes,
    '',
    options.length === 0
      ? faint('All settings are identical.')
      : `${strong('Options')}\n${table(['OPTION', ...jobs.map(nameOf)], rows, { width })}`,
  ].join('\n');
}
