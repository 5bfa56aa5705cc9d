import { DomainError } from '@graft/contracts';
import {
  meantAsRecord,
  readLine,
  recordProblem,
  shapeOf,
  type Columns,
} from '../../catalog/plugins.js';

/** Format of an uploaded file. */
export type Format =
  | { readonly kind: 'records' }
  | { readonly kind: 'lines' }
  | { readonly kind: 'array' }
  | { readonly kind: 'csv'; readonly delimiter: string }
  | { readonly kind: WholeFormat };

/**
 * Formats that must be stored completely before reading, because their directory is at the end or they are
 * compressed.
 */
export type WholeFormat = 'arrow' | 'gzip' | 'parquet' | 'tar' | 'zip';

const DELIMITERS = [',', '\t', ';'];

/** Formats that are recognized by their first bytes but not supported, with what to do. */
const UNREADABLE: readonly (readonly [begins: string, what: string])[] = [
  ['28b52ffd', 'a Zstandard archive; unpack it first'],
  ['25504446', 'a PDF; training needs examples, such as a table of prompts and completions'],
  ['fffe', 'text in UTF-16; save it as UTF-8'],
  ['feff', 'text in UTF-16; save it as UTF-8'],
];

/**
 * Tables and archives by their first bytes. An Arrow stream starts with a continuation marker, followed by a length.
 */
const BINARY: readonly (readonly [begins: string, kind: WholeFormat])[] = [
  ['1f8b', 'gzip'],
  [Buffer.from('PAR1').toString('hex'), 'parquet'],
  [Buffer.from('ARROW1').toString('hex'), 'arrow'],
  ['ffffffff', 'arrow'],
  ['504b0304', 'zip'],
];

/** Detects the format of training data from its first line and its file name. */
export function formatOf(head: Buffer, filename: string, columns: Columns): Format {
  const hex = head.subarray(0, 8).toString('hex');
  for (const [prefix, what] of UNREADABLE)
    if (hex.startsWith(prefix))
      throw new DomainError('invalid_training_file', `this is ${what}`, 'file');
  const binary = BINARY.find(([prefix]) => hex.startsWith(prefix));
  if (binary) return { kind: binary[1] };
  if (isTar(head)) return { kind: 'tar' };
  const text = head
    .toString('utf8')
    .replace(/^\ufeff/, '')
    .trimStart();
  if (text.startsWith('[')) return { kind: 'array' };
  const line = text.split('\n', 1)[0]?.trim() ?? '';
  if (line.startsWith('{')) return { kind: native(line, columns) ? 'records' : 'lines' };
  const delimiter = delimiterOf(line);
  const named = /\.(csv|tsv)$/i.test(filename) || Object.keys(columns).length > 0;
  const names = line.split(delimiter).map((name) => name.replace(/^"|"$/g, ''));
  const known = names.length > 1 && shapeOf(names) !== null;
  if ((named && line !== '') || known) return { kind: 'csv', delimiter };
  if (isPlainText(text, filename))
    throw new DomainError(
      'invalid_training_file',
      'this looks like plain text, not JSON Lines; write each example as a line {"text": "…"}, or as a row of a CSV file with the column text',
      'file',
    );
  return { kind: 'records' };
}

/** Whether a file is prose: no line is JSON, and its name does not say that it is meant to be. */
function isPlainText(text: string, filename: string): boolean {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  const isNamed = /\.(jsonl|json|ndjson)$/i.test(filename);
  return !isNamed && lines.length > 0 && lines.every((line) => !/^\s*["{[\d-]/.test(line));
}

/** Whether data is a tar. Its magic number follows the first file name. */
export const isTar = (head: Buffer): boolean =>
  head.subarray(257, 262).toString('latin1') === 'ustar';

/** Whether a line is, or was meant to be, a training record. */
function native(line: string, columns: Columns): boolean {
  if (line === '{')
    throw new DomainError(
      'invalid_training_file',
      'this is JSON over several lines; put each example on one line, or all of them in one array',
      'file',
    );
  if (Object.keys(columns).length > 0) return false;
  const record = readLine(line, 1);
  if (typeof record !== 'string' && recordProblem(record) === null) return true;
  const row = objectOf(line);
  if (row === null || meantAsRecord(Object.keys(row)) || isRequest(row)) return true;
  const texts = Object.values(row).filter((value) => typeof value === 'string').length;
  return shapeOf(Object.keys(row)) === null && texts < 2;
}

/** Whether a line is a request of a batch. The purpose of an upload may follow its file, so it is not known here. */
const isRequest = (row: object): boolean =>
  'body' in row && typeof row.body === 'object' && ('custom_id' in row || 'url' in row);

function objectOf(line: string): object | null {
  try {
    const value: unknown = JSON.parse(line);
    return value !== null && typeof value === 'object' ? value : null;
  } catch {
    // The check of the file reports the problem.
    return null;
  }
}

/** Returns the delimiter that occurs most often in the header. */
export function delimiterOf(header: string): string {
  const count = (delimiter: string): number => header.split(delimiter).length;
  return DELIMITERS.reduce((best, next) => (count(next) > count(best) ? next : best));
}
