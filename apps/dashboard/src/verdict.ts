// What a run came to, in a sentence: before its curves are looked at.
import type { JobObject, MetricsObject } from '@graft/contracts';
import { count, short } from './format.js';
import { isOver, lowestValidation } from './job-words.js';

/** How large a part of the losses, at either end, makes their mean: one noisy step says little. */
const END = 0.1;

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

/** "training loss 3.120 → 1.210", from means of the first and the last tenth; null before two steps. */
function trainingWords({ series }: MetricsObject): string | null {
  const losses = (series['loss'] ?? []).filter((loss) => loss !== null);
  if (losses.length < 2) return null;
  const some = Math.max(1, Math.round(END * losses.length));
  return `training loss ${short(mean(losses.slice(0, some)))} → ${short(mean(losses.slice(-some)))}`;
}

/** What the validation losses after the best one say. */
function afterBest(job: JobObject, isLast: boolean): string {
  const found = new Set(job.graft.warnings.map(({ code }) => code));
  if (found.has('overfitting')) return 'overfitting since then';
  if (found.has('plateau')) return 'no better since then';
  if (isLast && isOver(job)) return 'still falling at the end: more steps may do better';
  return 'no sign of overfitting';
}

/** "validation 2.310 → 1.870, best at step 60 of 80, no sign of overfitting"; null before the first evaluation. */
function validationVerdict(job: JobObject, { evaluations }: MetricsObject): string | null {
  const measured = evaluations.filter(({ loss }) => loss !== null);
  const [first, last, best] = [measured[0], measured.at(-1), lowestValidation(evaluations)];
  if (!first || !last || !best) return null;
  if (measured.length === 1) return `validation ${short(last.loss)} at step ${count(last.step)}`;
  if (best.step === first.step)
    return `validation never got better than ${short(best.loss)} at step ${count(best.step)}, now ${short(last.loss)}`;
  const total = job.graft.progress.total_steps;
  const of = total === null ? '' : ` of ${count(total)}`;
  return `validation ${short(first.loss)} → ${short(best.loss)}, best at step ${count(best.step)}${of}, ${afterBest(job, best.step === last.step)}`;
}

/** The eval score that was reached, where the job has an eval. */
function scoreVerdict({ graft: { best_score: best } }: JobObject): string | null {
  return best
    ? `best eval score ${Math.round(100 * best.eval_score)} % at step ${best.step}`
    : null;
}

/** The words for a job that has measured something: of one that failed, why it did says more. */
export function verdict(job: JobObject, metrics: MetricsObject): string | null {
  if (job.status === 'failed') return null;
  const ruined = job.graft.warnings.some(({ code }) =>
    ['diverged', 'loss_at_chance', 'zero_gradient'].includes(code),
  );
  const validation = validationVerdict(job, metrics);
  const isCurve = metrics.evaluations.filter(({ loss }) => loss !== null).length > 1;
  const isUnvalidated = job.validation_file === null && !job.graft.validation_split;
  const training = isCurve ? null : trainingWords(metrics);
  const parts = [
    ruined && 'this run went wrong, see the warnings',
    training &&
      (isUnvalidated && validation === null
        ? `${training}; without validation data nothing says whether it overfits`
        : training),
    validation,
    scoreVerdict(job),
  ].filter((part) => typeof part === 'string');
  if (parts.length === 0) return null;
  const words = parts.join('; ');
  return `${isOver(job) ? '' : 'so far: '}${words}.`.replace(/^./, (letter) =>
    letter.toUpperCase(),
  );
}
