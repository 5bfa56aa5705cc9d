import type { JobReceiptObject, ReceiptComparisonObject } from '@graft/contracts';
import { PART_NAMES } from '@graft/contracts/compare-receipts';
import { faint, failure, strong, warning } from './style.js';
import { printable, table } from './terminal.js';

type Verdict = ReceiptComparisonObject['verdict'];
type Row = readonly [what: string, sha256: string | null, detail: string];

/** Table of the hashes of a job's inputs, attempts and result. */
export function receiptCard(receipt: JobReceiptObject, name: string, width: number): string {
  const rows = rowsOf(receipt).map(([what, sha256, detail]) => [what, sha256 ?? '', detail]);
  return [
    strong(printable(`${name}  ${receipt.job.id}  ${receipt.job.status}`)),
    '',
    table(['WHAT', 'SHA-256', 'DETAILS'], rows, { width }),
  ].join('\n');
}

function rowsOf({ base, data, attempts, result, ...receipt }: JobReceiptObject): Row[] {
  const { init_adapter: adapter } = data;
  return [
    ['base model', base.sha256, base.sha256 === null ? `${base.model} (deleted)` : base.model],
    ['training file', data.training_sha256, ''],
    ...(data.validation_sha256 === null
      ? []
      : [['validation file', data.validation_sha256, ''] as const]),
    ...adapter.map(({ name, sha256 }): Row => ['starting adapter', sha256, printable(name)]),
    ['settings', receipt.spec_sha256, `seed ${receipt.seed}`],
    ['all inputs', receipt.inputs_sha256, 'base model, files and settings'],
    ...attempts.map((one): Row => [`attempt ${one.number}`, null, attemptText(one)]),
    ...(result
      ? [['weights', result.weights_sha256, `of step ${result.published_step ?? '?'}`] as const]
      : []),
    ...(result?.files ?? []).map(({ name, sha256 }): Row => ['file', sha256, printable(name)]),
    ['this receipt', receipt.receipt_sha256, ''],
  ];
}

function attemptText(attempt: JobReceiptObject['attempts'][number]): string {
  const { from_step: from, to_step: to, outcome, reason, threads } = attempt;
  const parts = [
    to === null ? `from step ${from}` : `steps ${from}–${to}`,
    outcome,
    reason,
    attempt.worker,
    attempt.device,
    threads === null ? null : `${threads} threads`,
    attempt.trainer_build,
  ];
  return printable(parts.filter((part) => part !== null && part !== '').join(', '));
}

const TONES: Readonly<Record<Verdict, (text: string) => string>> = {
  identical: strong,
  different_inputs: warning,
  different_result: failure,
  unfinished: warning,
  unknown: warning,
};

const equality = (equal: boolean | null): string =>
  equal === null ? 'unknown' : equal ? 'equal' : 'different';

/** Verdict of a comparison, and tables of the parts and the options that differ. */
export function receiptComparison(
  compared: ReceiptComparisonObject,
  names: readonly [string, string],
  width: number,
): string {
  const { verdict, text, parts, options, checkpoints } = compared;
  const header = names.map(printable);
  const rows = parts
    .filter(({ values }) => values.some((value) => value !== null))
    .map(({ part, equal, values }) => [PART_NAMES[part], equality(equal), ...values.map(shown)]);
  const settings = options.map(({ name, values }) => [name, ...values.map(shown)]);
  return [
    TONES[verdict](printable(text)),
    '',
    table(['PART', '', ...header], rows, { width }),
    ...(settings.length > 0 ? ['', table(['SETTING', ...header], settings, { width })] : []),
    ...(checkpoints.length > 0 ? ['', faint(checkpointsText(checkpoints))] : []),
  ].join('\n');
}

const shown = (value: unknown): string =>
  value === null ? '–' : printable(typeof value === 'string' ? value : JSON.stringify(value));

function checkpointsText(checkpoints: ReceiptComparisonObject['checkpoints']): string {
  const different = checkpoints.find(({ equal }) => !equal);
  if (different) return `The weights differ from the checkpoint at step ${different.step} on.`;
  const steps = checkpoints.map(({ step }) => step).join(', ');
  return checkpoints.length === 1
    ? `The checkpoint at step ${steps} is equal, too.`
    : `The checkpoints at steps ${steps} are equal, too.`;
}
