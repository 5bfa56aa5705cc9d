import type { SweepObject, TrialObject } from '@graft/contracts';
import { duration } from '@graft/contracts/duration';
import {
  forgettingText,
  METRIC_NAMES,
  rankedTrials,
  scoreText,
  trialCountsText,
  trialOptionsText,
} from '@graft/contracts/sweep-text';
import { faint, strong, warning } from './style.js';
import { ago, bytes, printable, table } from './terminal.js';

/** Card of a sweep with its trials, best first. */
export function sweepCard(
  sweep: SweepObject,
  width: number,
  idOf: (id: string) => string = (id) => id,
): string {
  const { search, winner, model, warnings = [] } = sweep;
  const rungs = search.rungs.length > 0 ? `, rungs at steps ${search.rungs.join(', ')}` : '';
  const best = winner && `trial ${winner.trial}, ${scoreText(winner.score, search.metric)}`;
  const head = [
    strong(`${sweep.id}  ${printable(sweep.name)}`),
    `  base     ${printable(model)}`,
    `  search   ${search.algorithm} by ${METRIC_NAMES[search.metric]}${rungs}`,
    `  status   ${sweep.status}: ${trialCountsText(sweep)}`,
    `  winner   ${winner ? `${best}: ${winner.model}` : '–'}`,
    ...warnings.map(({ message }) => `  ${warning(printable(message))}`),
  ];
  return [...head, '', trialTable(sweep, width, idOf)].join('\n');
}

function trialTable(
  { trials = [], search, winner }: SweepObject,
  width: number,
  idOf: (id: string) => string,
): string {
  const { metric } = search;
  const rows = rankedTrials(trials, metric).map((trial) => [
    `${trial.number}${trial.number === winner?.trial ? ' *' : ''}`,
    scoreText(trial.score, metric),
    stateText(trial),
    `${trial.step}/${trial.total_steps ?? '?'}`,
    forgettingText(trial.forgetting),
    trial.training_seconds > 0 ? duration(trial.training_seconds) : '–',
    trial.memory_bytes === null ? '–' : bytes(trial.memory_bytes),
    trial.model_bytes === null ? '–' : bytes(trial.model_bytes),
    idOf(trial.job),
    printable(trialOptionsText(trial)),
  ]);
  const score = metric === 'eval_score' ? 'SCORE' : 'LOSS';
  const header = [
    'TRIAL',
    score,
    'STATE',
    'STEP',
    'FORGETTING',
    'TIME',
    'MEMORY',
    'SIZE',
    'JOB',
    'OPTIONS',
  ];
  const failed = trials.flatMap(({ number, error }) =>
    error ? [faint(`trial ${number}: ${printable(error.message)}`)] : [],
  );
  return [
    table(header, rows, { width, optional: ['SIZE', 'MEMORY', 'FORGETTING'] }),
    ...failed,
  ].join('\n');
}

const stateText = ({ status, ended_at_step: rung }: TrialObject): string =>
  rung === null ? status : `${status} at rung ${rung}`;

/** Row of a sweep in the list. */
export const sweepRow = (sweep: SweepObject, id: string): string[] => [
  id,
  printable(sweep.name),
  printable(sweep.model),
  sweep.search.algorithm,
  sweep.status,
  trialCountsText(sweep),
  scoreText(sweep.winner?.score ?? null, sweep.search.metric),
  ago(sweep.created_at),
];
