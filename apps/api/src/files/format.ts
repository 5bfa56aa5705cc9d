import { DomainError } from '@graft/contracts';
import { readRecord, shapeOf, type Columns } from '../catalog/plugins.js';

/** How the bytes of an upload are to be read. */
export type Format =
  | { readonly kind: 'records' }
  | { readonly kind: 'lines' }
  | { readonly kind: 'array' }
  | { readonly kind: 'csv'; readonly delimiter: string }
  | { readonly kind: 'parquet' };

const NATIVE = ['messages', 'prompt', 'completion', 'text', 'preferred_output'];
const DELIMITERS = [',', '\t', ';'];

/** What is told from its first bytes and cannot be read, with the way out. */
const UNREADABLE: readonly (readonly [begins: string, what: string])[] = [
  ['504b0304', 'an Excel workbook or a ZIP archive: save the table as CSV, or unpack it'],
  ['1f8b', 'a gzip archive: unpack it first'],
  ['28b52ffd', 'a Zstandard archive: unpack it first'],
  ['25504446', 'a PDF: training needs examples, such as a table of prompts and completions'],
  ['fffe', 'text in UTF-16: save it as UTF-8'],
  ['feff', 'text in UTF-16: save it as UTF-8'],
];

/** Tells the format of training data from its first line and its name. */
export function formatOf(head: Buffer, filename: string, columns: Columns): Format {
  for (const [begins, what] of UNREADABLE)
    if (head.subarray(0, begins.length / 2).toString('hex') === begins)
      throw new DomainError('invalid_training_file', `this is ${what}`, 'file');
  if (head.subarray(0, 4).toString('latin1') === 'PAR1') return { kind: 'parquet' };
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
  return (named && line !== '') || known ? { kind: 'csv', delimiter } : { kind: 'records' };
}

/** Whether a line is, or was meant as, a record as training reads them. */
function native(line: string, columns: Columns): boolean {
  if (line === '{')
    throw new DomainError(
      'invalid_training_file',
      'this is JSON over several lines: put each example on a line of its own, or all of them into one list',
      'file',
    );
  if (Object.keys(columns).length > 0) return false;
  if (typeof readRecord(line, 1, 'causal_lm') !== 'string') return true;
  const row = objectOf(line);
  if (row === null || NATIVE.some((key) => Object.hasOwn(row, key))) return true;
  const texts = Object.values(row).filter((value) => typeof value === 'string').length;
  return shapeOf(Object.keys(row)) === null && texts < 2;
}

function objectOf(line: string): object | null {
  try {
    const value: unknown = JSON.parse(line);
    return value !== null && typeof value === 'object' ? value : null;
  } catch {
    // its check will say what is wrong with it
    return null;
  }
}

/** The one of which the header has most. */
function delimiterOf(header: string): string {
  const count = (delimiter: string): number => header.split(delimiter).length;
  return DELIMITERS.reduce((best, next) => (count(next) > count(best) ? next : best));
}
