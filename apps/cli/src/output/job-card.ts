import type { CheckpointObject, JobAttempt, JobObject } from '@graft/contracts';
import { amount, vocabularyText } from '@graft/contracts/plan-line';
import { baseText, methodTitle } from '@graft/contracts/job-method';
import { duration } from '@graft/contracts/duration';
import { operationTitle } from '@graft/contracts/job-kinds';
import { lossText } from '@graft/contracts/loss-text';
import { placeText } from '@graft/contracts/queue-place';
import {
  accuracyText,
  beatsChance,
  labelEvaluation,
  validationExamples,
} from '@graft/contracts/validation';
import { callName, ownName } from '../find/find-job.js';
import { faint, failure, state, strong, warning } from './style.js';
import { bar, printable, wrap } from './terminal.js';
import { GRAFT } from '../called.js';

type Row = readonly [label: string, text: string];

const LABEL_WIDTH = 13;

interface Seen {
  readonly checkpoints: readonly CheckpointObject[];
  /** Command that tries its model. Null if there is none. */
  readonly use: string | null;
}

/** Card with the details of a job, wrapped to a width in columns. */
export function jobCard(job: JobObject, seen: Seen, width: number): string {
  const { checkpoints } = seen;
  const title = `${ownName(job)}  ${job.id}`;
  const rows: Row[] = [
    ['State', stateText(job)],
    ['Tags', printable(job.graft.tags.join(', '))],
    ['Note', printable(job.graft.note ?? '')],
    ...(job.graft.operation ? operationRows(job.graft.operation) : trainingRows(job)),
    ['Time', timeText(job)],
    ['Attempts', attemptsText(job.graft.attempts)],
    ['Checkpoints', checkpointsText(checkpoints)],
    ['Model', modelText(job)],
    ...trackerRows(job),
    ...job.graft.warnings.map(({ message }): Row => ['Warning', warning(printable(message))]),
  ];
  const lines = rows.filter(([, text]) => text !== '').map((row) => line(row, width));
  const next = nextCommands(job, seen).map((command) => `  ${command}`);
  return [strong(printable(title)), ...lines, '', faint('Next:'), ...next].join('\n');
}

const trainingRows = (job: JobObject): Row[] => [
  ['Base', baseText(job)],
  ['Method', methodText(job)],
  ...dataRows(job),
  ['Steps', stepsText(job)],
  ['Loss', lossesText(job)],
  ['Validation', bestAccuracy(job) ?? ''],
];

/** Rows of an adapter operation, which has no data, steps or losses. */
const operationRows = (operation: NonNullable<JobObject['graft']['operation']>): Row[] => [
  ['Operation', operationTitle(operation)],
  ['From', printable(operation.adapters.join(', '))],
];

const line = ([label, text]: Row, width: number): string =>
  `  ${label.padEnd(LABEL_WIDTH)}${wrap(text, width - LABEL_WIDTH - 2, ' '.repeat(LABEL_WIDTH + 2))}`;

function stateText({ status, error, graft }: JobObject): string {
  if (status === 'succeeded') return state(status);
  const phase = printable(graft.phase.message);
  const why =
    status === 'failed'
      ? failure(printable(error?.message ?? ''))
      : graft.worker_silent_seconds === null
        ? phase
        : warning(phase);
  return [state(status), [why, placeText(graft)].filter((part) => part !== '').join('; ')]
    .filter((part) => part !== '')
    .join(': ');
}

const SHOWN_FIELDS = [
  'r',
  'lora_alpha',
  'num_virtual_tokens',
  'encoder_hidden_size',
  'target_modules',
];

function methodText(job: JobObject): string {
  const { peft, graft } = job;
  const fields = SHOWN_FIELDS.flatMap((name) => {
    const value = peft?.[name];
    if (value === null || value === undefined) return [];
    const text = Array.isArray(value) ? value.join(' ') : String(value);
    return [name === 'target_modules' ? text : `${name} ${text}`];
  });
  const { trainable_parameters: trained, total_parameters: total } = graft;
  const counts =
    trained === null || total === null
      ? ''
      : ` (${amount(trained)} of ${amount(total)} parameters)`;
  const method = peft === null ? 'full fine-tuning' : methodTitle(job);
  return printable([method, ...fields].join(', ')) + counts;
}

function dataRows(job: JobObject): Row[] {
  const { training_file, validation_file, graft } = job;
  const report = graft.data;
  const found = report
    ? `: ${report.examples} examples, ${report.sampled ? 'about ' : ''}${amount(report.tokens)} tokens, longest ${report.longest}`
    : '';
  return [
    ['Data', `${training_file}${found}`],
    ['Vocabulary', printable(vocabularyText(graft) ?? '')],
    ...(report?.warnings ?? []).map((text): Row => ['', warning(printable(text))]),
    [
      'Validation',
      [validation_file, validationExamples(job)].filter((part) => part !== null).join(': '),
    ],
  ];
}

const TRACKERS = { wandb: 'W&B', mlflow: 'MLflow' } as const;

const trackerRows = ({ integrations }: JobObject): Row[] =>
  (integrations ?? []).map(({ type, graft: { url, error } }) => [
    TRACKERS[type],
    [url, error === null ? null : failure(printable(error))]
      .filter((part) => part !== null)
      .join('; ') || 'not written yet',
  ]);

function stepsText({ graft: { progress } }: JobObject): string {
  const { step, total_steps: total, tokens_per_second: speed, eta_seconds: eta } = progress;
  if (!total) return '';
  return [
    `${bar(step / total)} ${step}/${total}`,
    speed === null ? '' : `${Math.round(speed)} tokens/s`,
    eta === null ? '' : `ETA ${duration(eta)}`,
  ]
    .filter((part) => part !== '')
    .join(' · ');
}

/** Losses, such as `training 0.0013, validation 4.270, lowest 2.230 at step 10`. Omits the lowest one if it is the latest. */
export function lossesText({ graft: { train_loss, valid_loss, best } }: JobObject): string {
  return [
    train_loss === null ? '' : `training ${lossText(train_loss)}`,
    valid_loss === null ? '' : `validation ${lossText(valid_loss)}`,
    best === null || best.valid_loss === valid_loss
      ? ''
      : `lowest ${lossText(best.valid_loss)} at step ${best.step}`,
  ]
    .filter((part) => part !== '')
    .join(', ');
}

/** Best accuracy, such as "accuracy 91 % (always predicting the most frequent label: 17 %) at step 40". Null for tasks without labels. */
export function bestAccuracy({ graft: { best } }: JobObject): string | null {
  const found = best && labelEvaluation({ ...best });
  if (!found) return null;
  const text = `${accuracyText(found)} at step ${found.step}`;
  return beatsChance(found) ? text : warning(text);
}

function timeText({ created_at, finished_at, graft }: JobObject): string {
  const trained = graft.training_seconds;
  const waited = (finished_at ?? Date.now() / 1000) - created_at - trained;
  const verb = graft.operation ? 'took' : 'trained';
  return `${verb} ${duration(trained)}, waited ${duration(waited)}`;
}

function attemptsText(attempts: readonly JobAttempt[]): string {
  if (attempts.length === 0) return '';
  const texts = attempts.map(({ worker, outcome, from_step }) => {
    const from = from_step > 0 ? ` from step ${from_step}` : '';
    return `${outcome ?? 'running'} on ${printable(worker ?? 'a worker')}${from}`;
  });
  return `${attempts.length}: ${texts.join('; ')}`;
}

function checkpointsText(newestFirst: readonly CheckpointObject[]): string {
  return newestFirst
    .toReversed()
    .map(({ step_number, graft }) => `${step_number}${graft.best ? ' (best)' : ''}`)
    .join(', ');
}

/** Model of a job, with its step if that is not the last one. */
function modelText({
  fine_tuned_model: model,
  graft: { published_step: step, progress },
}: JobObject): string {
  if (model === null || step === null || step >= progress.step) return model ?? '';
  return `${model} (of step ${step}, the best evaluation)`;
}

function nextCommands(job: JobObject, { checkpoints, use }: Seen): string[] {
  const name = callName(job);
  if (job.status === 'succeeded')
    return [...(use === null ? [] : [use]), `${GRAFT} download ${name}`];
  const usable = checkpoints.some(({ graft }) => graft.usable);
  const take = usable ? [`${GRAFT} download ${name}`] : [];
  if (job.status === 'paused') return [`${GRAFT} resume ${name}`, ...take];
  if (job.status === 'failed' || job.status === 'cancelled')
    return [`${GRAFT} logs ${name}`, ...take];
  return [`${GRAFT} watch ${name}`, `${GRAFT} cancel ${name}`];
}
