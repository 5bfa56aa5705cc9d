import type { JobStatus, SweepObject, TrialObject } from '@graft/contracts';
import { TERMINAL_STATUSES } from '@graft/contracts/job-status';
import { lossText } from '@graft/contracts/loss-text';
import {
  rankedTrials,
  scoreText,
  trialCountsText,
  trialOptionsText,
} from '@graft/contracts/sweep-text';
import { averaged } from './loss-curve.js';
import { sparkline } from './sparkline.js';
import { state } from './style.js';
import { printable, table } from './terminal.js';
import { truncated } from './text-width.js';

/** Training losses of a trial over its run, by the job of the trial. */
export type TrialCurves = ReadonlyMap<string, readonly number[]>;

const curveWidth = (columns: number): number => (columns >= 100 ? 20 : columns >= 60 ? 10 : 8);

/**
 * Sweep while it runs: a summary, and a line per trial, which keeps its place. The best trial so far has a `*`. If the
 * terminal has fewer rows than trials, it shows the running trials first, then the best ones.
 */
export function raceTable(
  sweep: SweepObject,
  curves: TrialCurves,
  columns: number,
  rows: number,
): string {
  const { trials = [], search } = sweep;
  const ranked = rankedTrials(trials, search.metric);
  const best = ranked[0]?.score == null ? null : ranked[0];
  const leader = best && `; best ${scoreText(best.score, search.metric)}, trial ${best.number}`;
  const summary = `${sweep.status}: ${trialCountsText(sweep)}${leader ?? ''}`;
  const shown = visible(ranked, rows);
  const width = columns - 1;
  const header = ['TRIAL', 'STATE', 'STEP', 'AVG LOSS', '', search.metric === 'eval_score' ? 'SCORE' : 'VALID', 'OPTIONS']; // prettier-ignore
  const lines = table(
    header,
    shown.map((trial) => row(trial, sweep, { curves, best, columns })),
    { width, optional: [header[5] ?? '', 'OPTIONS', 'STEP'] },
  );
  const hidden = trials.filter((trial) => !shown.includes(trial));
  return [
    truncated(summary, width),
    ...(shown.length > 0 ? [lines] : []),
    ...(hidden.length > 0 ? [`… ${hidden.length} more: ${statesText(hidden)}`] : []),
  ].join('\n');
}

interface Race {
  readonly curves: TrialCurves;
  readonly best: TrialObject | null;
  readonly columns: number;
}

function row(
  trial: TrialObject,
  { search }: SweepObject,
  { curves, best, columns }: Race,
): string[] {
  const losses = averaged(curves.get(trial.job) ?? []);
  const average = losses.at(-1) ?? null;
  return [
    `${trial.number}${trial === best ? ' *' : ''}`,
    trial.ended_at_step === null ? state(trial.status) : `stopped at ${trial.ended_at_step}`,
    `${trial.step}/${trial.total_steps ?? '?'}`,
    average === null ? '–' : lossText(average),
    sparkline(losses, curveWidth(columns)),
    scoreText(trial.score, search.metric),
    printable(trialOptionsText(trial)),
  ];
}

/** Trials that fit the rows below the summary and the header, by number. */
function visible(ranked: readonly TrialObject[], rows: number): readonly TrialObject[] {
  const byNumber = (a: TrialObject, b: TrialObject): number => a.number - b.number;
  const free = Math.max(0, rows - 3);
  if (ranked.length <= free) return [...ranked].sort(byNumber);
  const has =
    (status: JobStatus) =>
    (trial: TrialObject): boolean =>
      trial.status === status;
  const ended = ranked.filter(({ status }) => TERMINAL_STATUSES.includes(status));
  const order = [...ranked.filter(has('running')), ...ended, ...ranked];
  return [...new Set(order)].slice(0, Math.max(0, free - 1)).sort(byNumber);
}

function statesText(trials: readonly TrialObject[]): string {
  const states = [...new Set(trials.map(({ status }) => status))];
  return states
    .map((one) => `${trials.filter(({ status }) => status === one).length} ${one}`)
    .join(', ');
}
