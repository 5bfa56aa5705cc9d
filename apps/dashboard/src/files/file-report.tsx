import type { FileObject, FileReport as Report, RecordFormatDescription } from '@graft/contracts';
import { count } from '../format.js';
import { Callout } from '../ui/feedback/callout.js';
import { useRecordFormats } from './record-formats.js';

const SOURCES: Readonly<Record<string, string>> = {
  csv: 'CSV',
  json: 'JSON',
  sharegpt: 'ShareGPT',
  alpaca: 'Alpaca',
  parquet: 'Parquet',
  arrow: 'Arrow',
  imagefolder: 'ImageFolder',
  audiofolder: 'AudioFolder',
};

/**
 * Returns the number of examples of each format with its name, largest first. Until the catalog is
 * loaded, all are called examples.
 */
export function kindsIn(
  { formats }: Pick<Report, 'formats'>,
  known: readonly RecordFormatDescription[],
): readonly (readonly [n: number, name: string])[] {
  return Object.entries(formats)
    .sort(([x, a], [y, b]) => b - a || x.localeCompare(y))
    .map(([kind, n]) => {
      const nouns = known.find(({ name }) => name === kind)?.nouns;
      const other = known.length === 0 ? `example${n === 1 ? '' : 's'}` : kind.replaceAll('_', ' ');
      return [n, nouns?.[n === 1 ? 0 : 1] ?? other] as const;
    });
}

/** Returns "36 chats, 4 plain texts". */
export const examplesIn = (report: Report, known: readonly RecordFormatDescription[]): string =>
  kindsIn(report, known)
    .map(([n, name]) => `${count(n)} ${name}`)
    .join(', ') || 'no examples';

/** Returns "3 labels". */
export function labelsIn(labels: NonNullable<Report['labels']>): string {
  const n = Object.keys(labels).length;
  return `${count(n)} label${n === 1 ? '' : 's'}`;
}

/** Returns the original format of a converted file, such as "CSV". Null if it was not converted. */
export const sourceOf = ({ converted_from: from }: Report): string | null =>
  from === null ? null : (SOURCES[from] ?? from);

/** Returns the reasons why a file cannot be used, one sentence each. */
export const problemsOf = (file: FileObject): readonly string[] =>
  file.status === 'error'
    ? (file.graft?.problems ?? [file.status_details ?? 'no reason given'])
    : [];

/** Summary of an upload: its contents, warnings, or why it cannot be used. */
export function FileReport({ file }: { file: FileObject }) {
  const formats = useRecordFormats();
  const report = file.graft;
  if (file.status === 'error')
    return (
      <Callout tone="error" title={`${file.filename} cannot be used for training`}>
        <Sentences of={problemsOf(file)} />
      </Callout>
    );
  if (!report) return null;
  const source = sourceOf(report);
  return (
    <Callout tone={report.warnings.length > 0 ? 'warn' : 'info'}>
      <b className="break">{file.filename}</b>: {examplesIn(report, formats)}
      {report.labels && `, ${labelsIn(report.labels)}`}
      {source && `, read from ${source}`}
      <Sentences of={report.warnings} />
    </Callout>
  );
}

export function Sentences({ of: sentences }: { of: readonly string[] }) {
  if (sentences.length === 0) return null;
  return (
    <ul className="report">
      {sentences.map((sentence) => (
        <li key={sentence}>{sentence}</li>
      ))}
    </ul>
  );
}
