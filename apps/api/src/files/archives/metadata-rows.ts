// Reads metadata.csv and metadata.jsonl of Hugging Face's ImageFolder and AudioFolder. Each row describes a file by
// its `file_name`, or a pair or triplet by columns such as `anchor_file_name` and `positive_file_name`.
import { shorten } from '@graft/contracts';
import type { ArchiveEntry } from './archive-entries.js';
import { csvRows } from '../rows/csv-rows.js';
import { delimiterOf } from '../rows/format.js';
import { lineRows } from '../rows/json-rows.js';
import { MAX_COLUMNS, type NumberedRow, type Row } from '../rows/rows.js';

const MOST_BYTES = 64 * 2 ** 20;

/** Columns with targets. They keep their names in the record. */
const ANSWERS = ['label', 'labels', 'text'];
const FILE_NAME = 'file_name';
/** Columns of pairs and triplets, by the key of the file in the record. */
const FILE_COLUMNS = ['anchor', 'positive', 'negative'].map((key) => ({
  key,
  column: `${key}_${FILE_NAME}`,
}));
const TOGETHER_SHOWN =
  '"anchor_file_name", "positive_file_name" and, for triplets, "negative_file_name"';
/** Columns that Hugging Face datasets reads as file names. */
const NAMES_FILES = /_file_names?$|^file_names$/;

export const isMetadata = (name: string): boolean => /(^|\/)metadata\.(csv|jsonl)$/.test(name);

/** Content of a row, or why it is invalid. */
export type MetadataRow = DescribedFiles | string;

/** One file, or the files of a pair or triplet with their keys in the record. */
export interface DescribedFiles {
  readonly names: readonly {
    readonly key: string | null;
    readonly column: string;
    readonly fileName: string;
  }[];
  readonly answers: Row;
  readonly ignored: readonly string[];
}

const isCsv = (name: string): boolean => name.endsWith('.csv');

/** Unit in which its rows are counted. */
export const metadataNoun = (name: string): string => (isCsv(name) ? 'row' : 'line');

/** Yields the rows with their numbers. In CSV, row 2 is the first after the header. */
export async function* metadataRows(
  name: string,
  entry: ArchiveEntry,
): AsyncGenerator<readonly [number: number, row: MetadataRow]> {
  if (entry.size > MOST_BYTES)
    throw new Error(`it has more than ${MOST_BYTES.toLocaleString('en')} bytes`);
  const content = await entry.read();
  const rows = isCsv(name)
    ? csvRows(once(content), delimiterOf(firstLine(content)))
    : lineRows(once(content), MAX_COLUMNS);
  for await (const row of rows) yield [row.number, metadataRow(row, isCsv(name))];
}

function metadataRow({ row, reason }: NumberedRow, isTable: boolean): MetadataRow {
  if (row === null) return reason ?? 'it cannot be read';
  const fileColumns = FILE_COLUMNS.filter(({ column }) => isSet(row[column]));
  if (fileColumns.length > 0) return severalFilesRow(row, fileColumns);
  const fileName = row[FILE_NAME];
  if (typeof fileName !== 'string' || fileName === '') return missingName(row);
  const answers: Record<string, unknown> = {};
  for (const key of ANSWERS) {
    const value = row[key];
    if (value == null || value === '') continue;
    const list = isTable && key === 'labels' ? listOf(String(value)) : value;
    if (list === null) return '"labels" must be a list in JSON, such as ["cat", "dog"]';
    answers[key] = list;
  }
  if (Object.keys(answers).length === 0) return '"label", "labels" or "text" is missing';
  const ignored = Object.keys(row).filter((key) => key !== FILE_NAME && !ANSWERS.includes(key));
  return { names: [{ key: null, column: FILE_NAME, fileName }], answers, ignored };
}

const isSet = (value: unknown): boolean => value != null && value !== '';

function missingName(row: Row): string {
  const other = Object.keys(row).find((key) => NAMES_FILES.test(key));
  return other === undefined
    ? `"${FILE_NAME}" is missing`
    : `${JSON.stringify(shorten(other, 100))} is not a supported column for file names: expected "${FILE_NAME}", or ${TOGETHER_SHOWN}`;
}

function severalFilesRow(row: Row, fileColumns: typeof FILE_COLUMNS): MetadataRow {
  if (isSet(row[FILE_NAME]))
    return `"${FILE_NAME}" and "${fileColumns[0]?.column}" cannot be combined: expected "${FILE_NAME}", or ${TOGETHER_SHOWN}`;
  const missing = FILE_COLUMNS.find(({ key, column }) => key !== 'negative' && !isSet(row[column]));
  if (missing) return `"${missing.column}" is missing`;
  const names = fileColumns.map(({ key, column }) => ({ key, column, fileName: row[column] }));
  const wrong = names.find(({ fileName }) => typeof fileName !== 'string');
  if (wrong) return `"${wrong.column}" must be the name of a file`;
  const read: readonly string[] = [FILE_NAME, ...FILE_COLUMNS.map(({ column }) => column)];
  const ignored = Object.keys(row).filter((key) => !read.includes(key));
  return { names: names as DescribedFiles['names'], answers: {}, ignored };
}

/** Parses a list in JSON, as table cells contain it. */
function listOf(cell: string): unknown[] | null {
  try {
    const value: unknown = JSON.parse(cell);
    return Array.isArray(value) ? value : null;
  } catch {
    // The caller reports the error.
    return null;
  }
}

const firstLine = (content: Buffer): string =>
  content
    .subarray(0, 64 * 1024)
    .toString('utf8')
    .split('\n', 1)[0] ?? '';

async function* once(content: Buffer): AsyncGenerator<Buffer> {
  yield content;
}
