// Texts to classify together, from lines or from a table, and the table of their labels.
import type { TextInput } from './label-box.js';

/** A row: its texts, and the right label if the file has one. */
export interface BatchRow {
  readonly text: string;
  readonly pair: string | null;
  readonly label: string | null;
}

export interface TextTable {
  readonly columns: readonly string[];
  readonly records: readonly Readonly<Record<string, string>>[];
}

/** Column names of texts and of labels, the best first. */
const TEXTS = ['text', 'message', 'sentence', 'content', 'body', 'review', 'question', 'prompt'];
const PAIRS = ['text_pair', 'sentence2', 'text2', 'hypothesis'];
const LABELS = ['label', 'labels', 'label_text', 'category', 'class', 'intent', 'sentiment', 'tag'];

const named = (columns: readonly string[], names: readonly string[]): string | undefined =>
  names
    .map((name) => columns.find((column) => column.trim().toLowerCase() === name))
    .find((column) => column !== undefined);

/** Columns of a table that hold the texts and the labels. */
export interface Roles {
  readonly text: string;
  readonly pair: string | null;
  readonly label: string | null;
}

/** Guesses the columns: by name, otherwise the texts are those that are longest on average. */
export function guessRoles({ columns, records }: TextTable): Roles {
  const length = (column: string) =>
    records.reduce((sum, record) => sum + (record[column]?.length ?? 0), 0);
  const longest = columns.toSorted((a, b) => length(b) - length(a))[0] ?? '';
  return {
    text: named(columns, TEXTS) ?? longest,
    pair: named(columns, PAIRS) ?? null,
    label: named(columns, LABELS) ?? null,
  };
}

/** Returns the rows of a table that have a text. */
export const rowsOf = ({ records }: TextTable, { text, pair, label }: Roles): readonly BatchRow[] =>
  records.flatMap((record) =>
    (record[text] ?? '').trim() === ''
      ? []
      : [
          {
            text: record[text] ?? '',
            pair: pair === null ? null : (record[pair] ?? ''),
            label: label === null || record[label] === '' ? null : (record[label] ?? null),
          },
        ],
  );

/** Returns a row for each line that is not empty. */
export const rowsOfLines = (text: string): readonly BatchRow[] =>
  text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => ({ text: line.trim(), pair: null, label: null }));

export const inputOf = ({ text, pair }: BatchRow): TextInput =>
  pair === null ? text : { text, text_pair: pair };

/** Reads a file: CSV or TSV, JSON Lines, or one text per line. */
export async function readTable(file: File): Promise<TextTable> {
  const content = (await file.text()).replace(/^\ufeff/, '');
  if (/\.(jsonl|ndjson|json)$/i.test(file.name)) return fromJson(content);
  if (!/\.(csv|tsv)$/i.test(file.name)) return lines(content);
  const { parse } = await import('csv-parse/browser/esm/sync');
  const records = parse(content, {
    columns: true,
    delimiter: delimiterOf(content),
    skip_empty_lines: true,
    relax_column_count: true,
  }) as Record<string, string>[];
  return { columns: Object.keys(records[0] ?? {}), records };
}

const lines = (content: string): TextTable => ({
  columns: ['text'],
  records: rowsOfLines(content).map(({ text }) => ({ text })),
});

function fromJson(content: string): TextTable {
  const records = content
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const value = JSON.parse(line) as Record<string, unknown>;
      return Object.fromEntries(
        Object.entries(value).map(([key, one]) => [
          key,
          typeof one === 'string' ? one : JSON.stringify(one),
        ]),
      );
    });
  return { columns: [...new Set(records.flatMap(Object.keys))], records };
}

/** The separator that occurs most in the first line. */
export const delimiterOf = (content: string): string => {
  const [head = ''] = content.split('\n', 1);
  const times = (separator: string) => head.split(separator).length;
  return [',', ';', '\t'].toSorted((a, b) => times(b) - times(a))[0] ?? ',';
};

/** Formats rows as CSV (RFC 4180). A leading apostrophe keeps spreadsheets from running a cell as a formula. */
export const toCsv = (rows: readonly (readonly string[])[]): string =>
  rows.map((row) => row.map(cell).join(',')).join('\r\n') + '\r\n';

function cell(text: string): string {
  const safe = /^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
