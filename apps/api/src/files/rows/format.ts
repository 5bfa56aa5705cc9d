import { DomainError } from '@graft/contracts';
import {
  meantAsRecord,
  readLine,
  recordProblem,
  shapeOf,
  type Columns,
} from '../../catalog/plugins.js';

/** How the bytes of an upload are to be read. */
export type Format =
  | { readonly kind: 'records' }
  | { readonly kind: 'lines' }
  | { readonly kind: 'array' }
  | { readonly kind: 'csv'; readonly delimiter: string }
  | { readonly kind: WholeFormat };

/** One of which all must be there: its table of contents is at its end, or it is packed. */
export type WholeFormat = 'arrow' | 'gzip' | 'parquet' | 'tar' | 'zip';

const DELIMITERS = [',', '\t', ';'];

/** What is told from its first bytes and cannot be read, with the way out. */
const UNREADABLE: readonly (readonly [begins: string, what: string])[] = [
  ['28b52ffd', 'a Zstandard archive: unpack it first'],
  ['25504446', 'a PDF: training needs examples, such as a table of prompts and completions'],
  ['fffe', 'text in UTF-16: save it as UTF-8'],
  ['feff', 'text in UTF-16: save it as UTF-8'],
];

/** Tables and archives by how they begin; an Arrow stream begins with no length, and then one. */
const BINARY: readonly (readonly [begins: string, kind: WholeFormat])[] = [
  ['1f8b', 'gzip'],
  [Buffer.from('PAR1').toString('hex'), 'parquet'],
  [Buffer.from('ARROW1').toString('hex'), 'arrow'],
  ['ffffffff', 'arrow'],
  ['504b0304', 'zip'],
];

/** Tells the format of training data from its first line and its name. */
export function formatOf(head: Buffer, filename: string, columns: Columns): Format {
  const hex = head.subarray(0, 8).toString('hex');
  for (const [begins, what] of UNREADABLE)
    if (hex.startsWith(begins))
      throw new DomainError('invalid_training_file', `this is ${what}`, 'file');
  const binary = BINARY.find(([begins]) => hex.startsWith(begins));
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
  return (named && line !== '') || known ? { kind: 'csv', delimiter } : { kind: 'records' };
}

/** A tar has its mark behind its first name. */
export const isTar = (head: Buffer): boolean =>
  head.subarray(257, 262).toString('latin1') === 'ustar';

/** Whether a line is, or was meant as, a record as training reads them. */
function native(line: string, columns: Columns): boolean {
  if (line === '{')
    throw new DomainError(
      'invalid_training_file',
      'this is JSON spread over several lines: put each example on a line of its own, or all of them in one array',
      'file',
    );
  if (Object.keys(columns).length > 0) return false;
  const record = readLine(line, 1);
  if (typeof record !== 'string' && recordProblem(record) === null) return true;
  const row = objectOf(line);
  if (row === null || meantAsRecord(Object.keys(row))) return true;
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
export function delimiterOf(header: string): string {
  const count = (delimiter: string): number => header.split(delimiter).length;
  return DELIMITERS.reduce((best, next) => (count(next) > count(best) ? next : best));
}
