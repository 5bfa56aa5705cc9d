// The figures at the top of a job's page: the result in the task's own metric, time, size and tokens.
import type { CatalogTask, JobObject, MetricDescription, MetricsObject } from '@graft/contracts';
import { duration } from '@graft/contracts/duration';
import { labelEvaluation } from '@graft/contracts/validation';
import { bytes, count, short } from '../format.js';
import { isOver, lowestValidation } from './job-text.js';

export interface Figure {
  readonly label: string;
  readonly value: string;
  readonly note: string;
  readonly tone?: 'good' | 'bad' | 'warn';
  readonly title?: string;
}

type Evaluation = MetricsObject['evaluations'][number];

/** Metrics that say most about a result, best first. Tasks without them are measured by their loss. */
const MAIN = ['wer', 'exact_match', 'recall_at_1', 'accuracy', 'f1', 'pearson'];
/** Tasks whose accuracy is that of words or pairs, so that another metric says more. */
const MAIN_OF_TASK: Readonly<Record<string, string>> = {
  token_cls: 'f1',
  causal_lm: 'loss',
  seq_2_seq_lm: 'loss',
};

/** Returns the metric that says most about the result, of those that were measured. */
export function mainMetric(
  task: CatalogTask | undefined,
  evaluations: readonly Evaluation[],
): MetricDescription | null {
  const described = task?.metrics.validation ?? [];
  const preferred = MAIN_OF_TASK[task?.name ?? ''];
  const names = preferred === undefined ? MAIN : [preferred];
  const measured = (name: string) =>
    evaluations.some((one) => typeof one[name] === 'number') &&
    described.find((metric) => metric.name === name);
  return (
    names.map(measured).find((metric) => metric) || described.find(({ name }) => name === 'loss') || null // prettier-ignore
  );
}

/** Returns the evaluation of the published step, or the best one so far. */
export function shownEvaluation(
  { graft }: JobObject,
  { evaluations }: Pick<MetricsObject, 'evaluations'>,
): Evaluation | null {
  const best = lowestValidation(evaluations)?.step;
  return (
    evaluations.find(({ step }) => step === graft.published_step) ??
    evaluations.find(({ step }) => step === best) ??
    null
  );
}

/** Formats a measurement with its unit: 0.914 → "91.4 %". */
export const measure = (value: number, { unit }: Pick<MetricDescription, 'unit'>): string =>
  unit === '%' ? `${percentage(100 * value)} %` : short(value);

const percentage = (value: number): string =>
  value === 0 || value === 100 ? String(value) : value.toFixed(1);

/** Returns the label count of a single-label classification job. */
function labelsOf({ graft: { task_options: options } }: JobObject): number | null {
  const { problem_type: problem, labels } = (options ?? {}) as Readonly<Record<string, unknown>>;
  return problem === 'single_label_classification' && Array.isArray(labels) ? labels.length : null;
}

/** The result: the task's main metric against chance or the start; the training loss without validation data. */
export function resultFigure(
  job: JobObject,
  metrics: MetricsObject,
  task: CatalogTask | undefined,
): Figure {
  const shown = shownEvaluation(job, metrics);
  const metric = mainMetric(task, metrics.evaluations);
  const value = metric && shown ? shown[metric.name] : null;
  if (!metric || !shown || typeof value !== 'number') return trainingFigure(job, metrics);
  const figure = { label: `Validation ${lower(metric.title)}`, value: measure(value, metric) };
  const chance = metric.name === 'accuracy' ? labelEvaluation(shown, labelsOf(job)) : null;
  if (chance) {
    const tone = value > chance.chance ? 'good' : 'bad';
    const note = `chance ${Math.round(100 * chance.chance)} %, step ${count(shown.step)}`;
    return { ...figure, note, tone, title: `Chance: ${chance.guess}` };
  }
  const first = metrics.evaluations.find(({ step }) => step < shown.step)?.[metric.name];
  const from = typeof first === 'number' ? `from ${measure(first, metric)}, ` : '';
  return { ...figure, note: `${from}step ${count(shown.step)}` };
}

const lower = (title: string): string => (/^[A-Z][a-z]/.test(title) ? title.replace(/^./, (c) => c.toLowerCase()) : title); // prettier-ignore

function trainingFigure({ graft }: JobObject, { series, steps }: MetricsObject): Figure {
  const first = series['loss']?.find((loss) => loss !== null);
  return {
    label: 'Training loss',
    value: short(graft.train_loss),
    note: steps.length > 1 ? `from ${short(first)}, no validation yet` : 'not measured yet',
  };
}

/** Time from creation to the end, of which the note names the waiting. */
export function timeFigure(job: JobObject, now = Date.now() / 1000): Figure {
  const { training_seconds: trained, progress, operation } = job.graft;
  const end = isOver(job) ? (job.finished_at ?? now) : now;
  const whole = Math.max(end - job.created_at, trained);
  const waited = Math.round(whole - trained);
  const { eta_seconds: eta } = progress;
  const left =
    job.status === 'running' && eta !== null && eta >= 1 ? `about ${duration(eta)} left` : '';
  const wait = waited > 0 ? `${duration(waited)} of it waiting` : '';
  return {
    label: job.status === 'queued' && trained === 0 ? 'Waiting' : 'Duration',
    value: duration(whole),
    note: left || (trained === 0 && !operation ? 'not started' : wait || 'no waiting'),
    title: `${operation ? 'Took' : 'Trained'} ${duration(trained)}, waited ${duration(waited)}`,
  };
}

const UNITS: readonly (readonly [number, string])[] = [
  [1e9, ' B'],
  [1e6, ' M'],
  [1e3, ' k'],
];

/** Formats a large count: 4884480 → "4.9 M". */
export function rounded(n: number): string {
  const [size, unit] = UNITS.find(([least]) => n >= least) ?? [1, ''];
  return size === 1 ? count(n) : `${(n / size).toFixed(n / size < 100 ? 1 : 0)}${unit}`;
}

export function parametersFigure({ graft }: JobObject): Figure {
  const { trainable_parameters: some, total_parameters: all } = graft;
  return {
    label: 'Trainable parameters',
    value: some === null ? '–' : rounded(some),
    note: some === null || !all ? 'known once it starts' : `${short((100 * some) / all)} % of ${rounded(all)}`, // prettier-ignore
    ...(some !== null && { title: `${count(some)}${all ? ` of ${count(all)}` : ''}` }),
  };
}

/** Tokens trained on so far, with speed and memory. */
export function tokensFigure(job: JobObject, metrics: MetricsObject): Figure {
  const tokens = job.trained_tokens ?? metrics.tokens?.at(-1) ?? null;
  const { tokens_per_second: now } = job.graft.progress;
  const speeds = (metrics.series['tokens_per_second'] ?? []).filter((one) => one !== null);
  const speed = now ?? middle(speeds);
  const { peak_rss_bytes: peak } = metrics;
  return {
    label: 'Tokens',
    value: tokens === null ? '–' : count(tokens),
    note:
      [
        speed === null ? '' : `${count(Math.round(speed))} tokens/s`,
        peak ? `${bytes(peak)} memory` : '',
      ]
        .filter(Boolean)
        .join(' · ') || 'none yet',
    ...(peak && {
      title: 'Peak memory of its trainer process, including other jobs that ran in it',
    }),
  };
}

const middle = (values: readonly number[]): number | null =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? null;
