// Texts of sweeps and trials. No zod: the dashboard bundles this file.
import { fieldsOfTitle, peftTitle } from '../jobs/job-method.js';
import { lossText } from '../jobs/loss-text.js';
import type { SweepMetric, SweepObject, TrialObject } from './sweeps.js';

export const METRIC_NAMES: Readonly<Record<SweepMetric, string>> = {
  valid_loss: 'validation loss',
  eval_score: 'eval score',
};

export const scoreText = (score: number | null, metric: SweepMetric): string => {
  if (score === null) return '–';
  return metric === 'eval_score' ? score.toFixed(2) : lossText(score);
};

/** Returns the score as a value to minimize; Infinity without a score. */
export function badness(score: number | null, metric: SweepMetric): number {
  if (score === null) return Infinity;
  return metric === 'eval_score' ? -score : score;
}

/** Returns `12 of 16 done, 9 stopped early, 2 running`. */
export function trialCountsText({
  trial_counts: counts,
  ended_early: early,
}: Pick<SweepObject, 'trial_counts' | 'ended_early'>): string {
  const done = counts.succeeded + counts.failed + counts.cancelled;
  const parts = [`${done} of ${counts.total} done`];
  if (early > 0) parts.push(`${early} stopped early`);
  for (const state of ['failed', 'cancelled', 'running'] as const)
    if (counts[state] > 0) parts.push(`${counts[state]} ${state}`);
  return parts.join(', ');
}

/** Returns the trials, best score first and trials without a score last. */
export function rankedTrials(
  trials: readonly TrialObject[],
  metric: SweepMetric,
): readonly TrialObject[] {
  return [...trials].sort((a, b) => {
    const [left, right] = [badness(a.score, metric), badness(b.score, metric)];
    return left === right ? a.number - b.number : left - right;
  });
}

/** Returns the change in the loss of fixed texts, such as `+0.132`. A positive value means forgetting. */
export function forgettingText(found: TrialObject['forgetting']): string {
  if (!found) return '–';
  const risen = found.loss - found.base_loss;
  return `${risen < 0 ? '−' : '+'}${Math.abs(risen).toFixed(3)}`;
}

/** Returns `r 8, learning_rate 0.0002`: the last segment of each path, and the fields of an adapter config. */
export function trialOptionsText({ options }: Pick<TrialObject, 'options'>): string {
  return Object.entries(options)
    .map(([path, value]) => {
      if (path === 'peft' && typeof value === 'object' && value !== null) return fieldsText(value);
      return `${path.slice(path.lastIndexOf('.') + 1)} ${plain(value)}`;
    })
    .join(', ');
}

/** Returns the part of a trial's default name that distinguishes it: `DoRA r 16, learning rate 0.0002`. */
export function trialLabel({ options }: Pick<TrialObject, 'options'>): string {
  const parts: string[] = [];
  const peft = peftOptions(options);
  if (Object.keys(peft).length > 0) parts.push(methodLabel(peft));
  for (const [path, value] of Object.entries(options))
    if (path !== 'peft' && !path.startsWith('peft.')) parts.push(`${words(path)} ${plain(value)}`);
  return parts.join(', ');
}

/** Returns the fields of the adapter config among the options of a trial. */
function peftOptions(options: TrialObject['options']): Readonly<Record<string, unknown>> {
  const whole = options['peft'];
  const fields = Object.entries(options)
    .filter(([path]) => path.startsWith('peft.'))
    .map(([path, value]) => [path.slice('peft.'.length), value]);
  return { ...(typeof whole === 'object' ? whole : {}), ...Object.fromEntries(fields) };
}

/** Returns `DoRA r 16`. Without a method, `r 16`; a variant that is switched off is plain LoRA. */
function methodLabel(fields: Readonly<Record<string, unknown>>): string {
  const peft = { peft_type: 'LORA', ...fields };
  const implied = fieldsOfTitle(peft);
  const others = Object.entries(fields).filter(
    ([name, value]) => !implied.includes(name) && value !== false && value !== null,
  );
  const isNamed = fields['peft_type'] !== undefined || implied.length > 1 || others.length === 0;
  const shown = others.map(([name, value]) => optionText(name, value));
  return [...(isNamed ? [peftTitle(peft)] : []), ...shown].join(' ');
}

/** Returns an option of a method as words: `20 tokens`, `on all linear layers`, `r 16`. */
function optionText(name: string, value: unknown): string {
  if (name === 'num_virtual_tokens') return `${plain(value)} tokens`;
  if (name !== 'target_modules') return `${words(name)} ${plain(value)}`;
  if (value === 'all-linear') return 'on all linear layers';
  return `on ${Array.isArray(value) ? new Intl.ListFormat('en').format(value.map(plain)) : plain(value)}`;
}

/** Returns the last segment of a path as words: "graft.learning_rate" as "learning rate", "n_epochs" as "epochs". */
const words = (path: string): string =>
  path
    .slice(path.lastIndexOf('.') + 1)
    .replace(/^n_/, '')
    .replaceAll('_', ' ');

/** Returns `DoRA r 8`: the method, then the fields that its name does not imply. */
function fieldsText(fields: object): string {
  const peft = { ...fields };
  const implied = fieldsOfTitle(peft);
  const others = Object.entries(peft).filter(([name]) => !implied.includes(name));
  return [peftTitle(peft), ...others.map(([name, value]) => `${name} ${plain(value)}`)].join(' ');
}

const plain = (value: unknown): string =>
  typeof value === 'string' ? value : JSON.stringify(value);
