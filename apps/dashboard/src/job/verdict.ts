// Summarizes the outcome of a run in one sentence.
import type { JobObject, MetricsObject } from '@graft/contracts';
import {
  beatsChance,
  HELD_OUT_FROM,
  labelEvaluation,
  validationExamples,
} from '@graft/contracts/validation';
import { count, short } from '../format.js';
import { isOver, lowestValidation } from './job-text.js';

/** Fraction of the losses at either end that is averaged, because a single step is noisy. */
const END = 0.1;

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

/** Returns the number of labels of a single-label classification job. */
function labelsOf({ graft: { task_options: options } }: JobObject): number | null {
  const { problem_type: problem, labels } = (options ?? {}) as Readonly<Record<string, unknown>>;
  return problem === 'single_label_classification' && Array.isArray(labels) ? labels.length : null;
}

/**
 * Returns "training loss 3.120 → 1.210", the means of the first and last tenth. Null before two
 * steps. Classification also reports the loss of guessing.
 */
function trainingPart(job: JobObject, { series }: MetricsObject): Part | null {
  const losses = (series['loss'] ?? []).filter((loss) => loss !== null);
  if (losses.length < 2) return null;
  const some = Math.max(1, Math.round(END * losses.length));
  const last = mean(losses.slice(-some));
  const text = `training loss ${short(mean(losses.slice(0, some)))} → ${short(last)}`;
  const labels = labelsOf(job);
  if (labels === null) return { text };
  const chance = Math.log(labels);
  return {
    text: `${text} (guessing among ${labels} labels: ${short(chance)})`,
    isBad: last >= chance,
  };
}

/** Describes the validation losses after the best one. */
function afterBest(job: JobObject, isLast: boolean): string {
  const found = new Set(job.graft.warnings.map(({ code }) => code));
  if (found.has('overfitting')) return 'overfitting since then';
  if (found.has('plateau')) return 'no improvement since then';
  if (isLast && isOver(job)) return 'still falling at the end; more steps may help';
  return 'no sign of overfitting';
}

/** Returns " on 25 held-out examples". */
function onExamples(job: JobObject): string {
  const examples = validationExamples(job);
  return examples === null ? '' : ` on ${examples}`;
}

/**
 * Returns "validation loss 2.310 → 1.870 on 25 held-out examples, best at step 60 of 80, no sign of
 * overfitting". Null before the first evaluation.
 * @param on examples of the validation data, unless already mentioned
 */
function validationVerdict(
  job: JobObject,
  { evaluations }: MetricsObject,
  on: string,
): string | null {
  const measured = evaluations.filter(({ loss }) => loss !== null);
  const [first, last, best] = [measured[0], measured.at(-1), lowestValidation(evaluations)];
  if (!first || !last || !best) return null;
  if (measured.length === 1)
    return `validation loss ${short(last.loss)}${on} at step ${count(last.step)}`;
  if (best.step === first.step)
    return `validation loss${on} has not improved since step ${count(best.step)}: ${short(best.loss)} → ${short(last.loss)}`;
  const total = job.graft.progress.total_steps;
  const of = total === null ? '' : ` of ${count(total)}`;
  return `validation loss ${short(first.loss)} → ${short(best.loss)}${on}, best at step ${count(best.step)}${of}, ${afterBest(job, best.step === last.step)}`;
}

/** Returns the best eval score, if the job has an eval. */
function scoreVerdict({ graft: { best_score: best } }: JobObject): string | null {
  return best
    ? `best eval score ${Math.round(100 * best.eval_score)} % at step ${best.step}`
    : null;
}

/** Compares the validation accuracy of the published step, or of the best one so far, with chance. */
function accuracyPart(job: JobObject, { evaluations }: MetricsObject): Part | null {
  const best = lowestValidation(evaluations);
  const step = job.graft.published_step;
  const found =
    evaluations.find((one) => one.step === step) ??
    evaluations.find((one) => one.step === best?.step);
  const accuracy = found ? labelEvaluation(found, labelsOf(job)) : null;
  if (accuracy === null) return null;
  const isBad = !beatsChance(accuracy);
  // The figures above the verdict have the accuracies.
  const text = isBad ? `no better than chance (${accuracy.guess})` : 'better than chance';
  return { text: `${text}${onExamples(job)}`, isBad };
}

/** Explains why a job has no validation data. */
function unvalidated({ graft: { data, init_adapter: initAdapter } }: JobObject): string {
  if (data && data.examples < HELD_OUT_FROM && initAdapter === undefined)
    return `no validation data, so overfitting cannot be detected (below ${HELD_OUT_FROM} examples, none are held out by default)`;
  return 'no validation data, so overfitting cannot be detected';
}

interface Part {
  readonly text: string;
  /** Whether it means that the run failed to learn. */
  readonly isBad?: boolean;
}

export interface Verdict {
  readonly text: string;
  /** Whether training went wrong or the result is no better than chance. */
  readonly isBad: boolean;
}

/** Returns the summary once something has been measured. Null for failed jobs, whose error says more. */
export function verdict(job: JobObject, metrics: MetricsObject): Verdict | null {
  if (job.status === 'failed') return null;
  const isRuined = job.graft.warnings.some(({ code }) =>
    ['diverged', 'loss_at_chance', 'zero_gradient'].includes(code),
  );
  const accuracy = accuracyPart(job, metrics);
  const validation = validationVerdict(job, metrics, accuracy ? '' : onExamples(job));
  const isCurve = metrics.evaluations.filter(({ loss }) => loss !== null).length > 1;
  const isUnvalidated =
    job.validation_file === null && !job.graft.validation_split && validation === null;
  const training = isCurve || (accuracy && !isUnvalidated) ? null : trainingPart(job, metrics);
  const score = scoreVerdict(job);
  const parts: Part[] = [
    ...(isRuined ? [{ text: 'training went wrong, see the warnings', isBad: true }] : []),
    ...(accuracy ? [accuracy] : []),
    ...(training ? [training] : []),
    ...(training && isUnvalidated ? [{ text: unvalidated(job) }] : []),
    ...(validation === null ? [] : [{ text: validation }]),
    ...(score === null ? [] : [{ text: score }]),
  ];
  if (parts.length === 0) return null;
  const text = `${isOver(job) ? '' : 'so far: '}${parts.map((part) => part.text).join('; ')}.`;
  return {
    text: text.replace(/^./, (letter) => letter.toUpperCase()),
    isBad: parts.some(({ isBad }) => isBad),
  };
}
