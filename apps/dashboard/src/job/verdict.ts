// What a run came to, in a sentence: before its curves are looked at.
import type { JobObject, MetricsObject } from '@graft/contracts';
import {
  accuracyText,
  beatsChance,
  HELD_OUT_FROM,
  labelEvaluation,
  validationExamples,
} from '@graft/contracts/validation';
import { count, short } from '../format.js';
import { isOver, lowestValidation } from './job-words.js';

/** How large a part of the losses, at either end, makes their mean: one noisy step says little. */
const END = 0.1;

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

/** How many labels there are, of a job that gives each input one of them. */
function labelsOf({ graft: { task_options: options } }: JobObject): number | null {
  const { problem_type: problem, labels } = (options ?? {}) as Readonly<Record<string, unknown>>;
  return problem === 'single_label_classification' && Array.isArray(labels) ? labels.length : null;
}

/**
 * "training loss 3.120 → 1.210", from means of the first and the last tenth; null before two steps. Of labels it is told
 * what guessing gives.
 */
function trainingPart(job: JobObject, { series }: MetricsObject): Part | null {
  const losses = (series['loss'] ?? []).filter((loss) => loss !== null);
  if (losses.length < 2) return null;
  const some = Math.max(1, Math.round(END * losses.length));
  const last = mean(losses.slice(-some));
  const words = `training loss ${short(mean(losses.slice(0, some)))} → ${short(last)}`;
  const labels = labelsOf(job);
  if (labels === null) return { words };
  const chance = Math.log(labels);
  return {
    words: `${words} (guessing among ${labels} labels: ${short(chance)})`,
    isBad: last >= chance,
  };
}

/** What the validation losses after the best one say. */
function afterBest(job: JobObject, isLast: boolean): string {
  const found = new Set(job.graft.warnings.map(({ code }) => code));
  if (found.has('overfitting')) return 'overfitting since then';
  if (found.has('plateau')) return 'no improvement since then';
  if (isLast && isOver(job)) return 'still falling at the end; more steps may help';
  return 'no sign of overfitting';
}

/** " on 25 held-out examples" */
function onExamples(job: JobObject): string {
  const examples = validationExamples(job);
  return examples === null ? '' : ` on ${examples}`;
}

/**
 * "validation loss 2.310 → 1.870 on 25 held-out examples, best at step 60 of 80, no sign of overfitting"; null before
 * the first evaluation.
 * @param on what it was measured on, where that was not said yet
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

/** The eval score that was reached, where the job has an eval. */
function scoreVerdict({ graft: { best_score: best } }: JobObject): string | null {
  return best
    ? `best eval score ${Math.round(100 * best.eval_score)} % at step ${best.step}`
    : null;
}

/** How many of the validation examples the model labels rightly: that of the published step, else of the best so far. */
function accuracyPart(job: JobObject, { evaluations }: MetricsObject): Part | null {
  const best = lowestValidation(evaluations);
  const step = job.graft.published_step;
  const found =
    evaluations.find((one) => one.step === step) ??
    evaluations.find((one) => one.step === best?.step);
  const accuracy = found ? labelEvaluation(found, labelsOf(job)) : null;
  if (accuracy === null) return null;
  return {
    words: `validation ${accuracyText(accuracy)}${onExamples(job)} at step ${count(accuracy.step)}`,
    isBad: !beatsChance(accuracy),
  };
}

/** Why a job has no validation data. */
function unvalidated({ graft: { data, init_adapter: begun } }: JobObject): string {
  if (data && data.examples < HELD_OUT_FROM && begun === undefined)
    return `no validation data, so overfitting cannot be detected (below ${HELD_OUT_FROM} examples, none are held out by default)`;
  return 'no validation data, so overfitting cannot be detected';
}

interface Part {
  readonly words: string;
  /** That the run is no success. */
  readonly isBad?: boolean;
}

export interface Verdict {
  readonly words: string;
  /** Whether the run went wrong, or has learnt no more than chance. */
  readonly isBad: boolean;
}

/** The words for a job that has measured something: of one that failed, why it did says more. */
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
    ...(isRuined ? [{ words: 'training went wrong, see the warnings', isBad: true }] : []),
    ...(accuracy ? [accuracy] : []),
    ...(training ? [training] : []),
    ...(training && isUnvalidated ? [{ words: unvalidated(job) }] : []),
    ...(validation === null ? [] : [{ words: validation }]),
    ...(score === null ? [] : [{ words: score }]),
  ];
  if (parts.length === 0) return null;
  const words = `${isOver(job) ? '' : 'so far: '}${parts.map((part) => part.words).join('; ')}.`;
  return {
    words: words.replace(/^./, (letter) => letter.toUpperCase()),
    isBad: parts.some(({ isBad }) => isBad),
  };
}
