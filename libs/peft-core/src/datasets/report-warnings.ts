import type { DataReport } from '@graft/contracts';

export interface Looked {
  /** Number of records that were not rendered with the chat template, or whose images were not decoded. */
  readonly unseen: number;
  readonly reads: 'text' | 'media';
  /** Name of the data in messages. */
  readonly where: string;
}

/** Returns warnings about a file for its owner, one sentence each. */
export function reportWarnings(
  report: Omit<DataReport, 'warnings'>,
  { unseen, reads, where }: Looked,
): string[] {
  const { examples, cut, cut_lines: lines, duplicates, overlap, formats } = report;
  const of = `of ${number(examples)} examples of the ${where}`;
  const warnings: string[] = [];
  if (cut > 0) {
    const more = cut > lines.length ? ', …' : '';
    const most = number(report.max_seq_len);
    warnings.push(
      `${number(cut)} ${of} ${be(cut)} longer than ${most} tokens and will be truncated (line${cut === 1 ? '' : 's'} ${lines.join(', ')}${more}).`,
    );
  }
  if (duplicates > 0)
    warnings.push(
      `${number(duplicates)} ${of} ${be(duplicates, 'repeats', 'repeat')} an earlier one.`,
    );
  if (overlap > 0) {
    warnings.push(
      `${number(overlap)} ${of} ${be(overlap)} also in the training file: the validation loss will look better than it is.`,
    );
  }
  const kinds = Object.entries(formats);
  if (kinds.length > 1) {
    const list = kinds.map(([name, count]) => `${number(count)} of ${name}`).join(', ');
    warnings.push(`The ${where} mixes formats: ${list}.`);
  }
  for (const [field, count] of Object.entries(report.ignored_fields)) {
    const who =
      reads === 'text' ? "This base's chat template does not use" : 'Training does not use';
    warnings.push(
      `${who} "${field}", which ${number(count)} ${of} ${be(count, 'has', 'have')}: the model will not see it.`,
    );
  }
  if (unseen > 0) {
    warnings.push(
      reads === 'text'
        ? `The chat template was not checked on ${number(unseen)} ${of}, to save time: an example that it rejects fails the job at the start.`
        : `${number(unseen)} ${of} were not decoded, to save time: one that cannot be fails the job at the start.`,
    );
  }
  return warnings;
}

const number = (n: number): string => n.toLocaleString('en');
const be = (n: number, one = 'is', many = 'are'): string => (n === 1 ? one : many);
