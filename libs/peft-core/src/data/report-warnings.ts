import type { DataReport } from '@graft/contracts';

/**
 * What the owner of a file should know before training on it, a sentence each.
 * @param unrendered records that the chat template was not tried on
 * @param where of which data, in words
 */
export function reportWarnings(
  report: Omit<DataReport, 'warnings'>,
  unrendered: number,
  where: string,
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
    warnings.push(
      `This base's chat template does not use "${field}", which ${number(count)} ${of} ${be(count, 'has', 'have')}: the model will not see it.`,
    );
  }
  if (unrendered > 0) {
    warnings.push(
      `The chat template was not checked on ${number(unrendered)} ${of}, to save time: an example that it rejects fails the job at the start.`,
    );
  }
  return warnings;
}

const number = (n: number): string => n.toLocaleString('en');
const be = (n: number, one = 'is', many = 'are'): string => (n === 1 ? one : many);
