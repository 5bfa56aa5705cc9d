import type { FileReport } from '@graft/contracts';
import { formatNouns } from '../../catalog/plugins.js';

/** OpenAI's minimum number of examples. Graft only warns about fewer. */
const FEW_RECORDS = 10;

const counted = (n: number, noun: string): string =>
  `${n.toLocaleString('en')} ${noun}${n === 1 ? '' : 's'}`;

export const fewRecordsWarning = (records: number): string | null =>
  records < FEW_RECORDS
    ? `only ${counted(records, 'example')}; at least ${FEW_RECORDS} are recommended`
    : null;

/** Returns warnings about properties that may impair training, one sentence each. */
export function warningsOf(report: Omit<FileReport, 'warnings'>, duplicateLines: string): string[] {
  const { records, formats, duplicates, ignored_fields: ignored } = report;
  const warnings: string[] = [];
  const tooFew = fewRecordsWarning(records);
  if (tooFew && records > 0) warnings.push(`O${tooFew.slice(1)}.`);
  const kinds = Object.entries(formats);
  if (kinds.length > 1) {
    const parts = kinds.map(
      ([kind, n]) => `${n.toLocaleString('en')} ${formatNouns(kind)[n === 1 ? 0 : 1]}`,
    );
    warnings.push(`The records are in more than one format: ${parts.join(', ')}.`);
  }
  if (duplicates > 0) {
    const repeat = duplicates === 1 ? 'repeats' : 'repeat';
    warnings.push(`${counted(duplicates, 'record')} ${repeat} an earlier one: ${duplicateLines}.`);
  }
  for (const [field, n] of Object.entries(ignored))
    warnings.push(
      `Training ignores the field "${field}", which ${counted(n, 'record')} ${n === 1 ? 'has' : 'have'}.`,
    );
  return warnings;
}
