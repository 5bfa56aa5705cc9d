import type { FileObject, FileReport, FileTask } from '@graft/contracts';
import { ago, bytes, printable } from './terminal.js';

/** Card with the details of a file. */
export function fileCard(file: FileObject): string {
  const facts: (readonly [string, string] | null)[] = [
    ['status', file.status === 'error' ? 'unusable' : file.status],
    ['purpose', file.purpose],
    ['size', `${bytes(file.bytes)}, uploaded ${ago(file.created_at)} ago`],
    file.expires_at ? ['expires', new Date(file.expires_at * 1000).toISOString()] : null,
    ...(file.graft ? reportFacts(file.graft) : []),
  ];
  const lines = facts.flatMap((fact) => (fact ? [`  ${fact[0].padEnd(11)} ${fact[1]}`] : []));
  const heading = `${file.id}  ${printable(file.filename)}`;
  return [heading, ...lines, ...remarks(file)].join('\n');
}

function reportFacts(report: FileReport): (readonly [string, string] | null)[] {
  const formats = Object.entries(report.formats)
    .sort(([x, a], [y, b]) => b - a || x.localeCompare(y))
    .map(([format, n]) => `${n} ${format}`);
  const ignored = Object.entries(report.ignored_fields).map(
    ([field, n]) => `${printable(field)} (${n} record${n === 1 ? '' : 's'})`,
  );
  const { duplicates, duplicate_lines: repeated, longest_line: longest } = report;
  const some = duplicates > repeated.length ? ', …' : '';
  return [
    ['records', [`${report.records}`, formats.join(', ')].filter(Boolean).join(': ')],
    report.tasks ? ['fits', fitting(report.tasks)] : null,
    report.labels ? ['labels', labelsIn(report.labels)] : null,
    report.converted_from ? ['source', report.converted_from] : null,
    duplicates > 0
      ? [
          'duplicates',
          `${duplicates} (line${duplicates === 1 ? '' : 's'} ${repeated.join(', ')}${some})`,
        ]
      : null,
    ignored.length > 0 ? ['ignored', ignored.join(', ')] : null,
    longest ? ['longest', `line ${longest.line}, ${bytes(longest.bytes)}`] : null,
  ];
}

const NOUNS: Readonly<Record<string, readonly [one: string, many: string]>> = {
  imagefolder: ['image', 'images'],
  audiofolder: ['audio clip', 'audio clips'],
};

/** Contents of an upload in one line, such as "412 images, 3 labels". */
export function contentsOf(report: FileReport): string {
  const { records, labels, formats, converted_from: from } = report;
  // A record of several files is not one image or one clip.
  const together = Object.keys(formats).some((kind) => /pair|triplet/.test(kind));
  const [one, many] = NOUNS[together ? '' : (from ?? '')] ?? ['record', 'records'];
  const known = labels ? Object.keys(labels).length : 0;
  const what = `${records} ${records === 1 ? one : many}`;
  return known > 0 ? `${what}, ${known} label${known === 1 ? '' : 's'}` : what;
}

/** Number of labels, and the most frequent ones, such as "3: cat 210, dog 190, bird 12". */
function labelsIn(labels: NonNullable<FileReport['labels']>): string {
  const sorted = Object.entries(labels).sort(([x, a], [y, b]) => b - a || x.localeCompare(y));
  const some = sorted.slice(0, 10).map(([label, n]) => `${printable(label)} ${n}`);
  return `${sorted.length}: ${some.join(', ')}${sorted.length > some.length ? ', …' : ''}`;
}

const fitting = (tasks: readonly FileTask[]): string =>
  tasks
    .filter(({ fits }) => fits)
    .map(({ task }) => task)
    .join(', ') || 'no task';

function remarks(file: FileObject): string[] {
  const problems = problemLines(file);
  const warnings = (file.graft?.warnings ?? []).map(printable);
  return [
    ...(problems.length > 0
      ? ['', 'Cannot be used for training:', ...problems.map((s) => `  ${s}`)]
      : []),
    ...(warnings.length > 0 ? ['', ...warnings] : []),
  ];
}

function problemLines(file: FileObject): string[] {
  if (file.status !== 'error') return [];
  const problems = file.graft?.problems ?? [file.status_details ?? 'no reason given'];
  return problems.map(printable);
}

/** Error message of an unusable file, with one line per problem. */
export const problemsOf = (file: FileObject): string =>
  [`${printable(file.filename)} cannot be used:`, ...problemLines(file)].join('\n  ');
