import { DomainError, MAX_LINE_BYTES, parseBody } from '@graft/contracts';
import { LineSplitter } from '../files/line-splitter.js';
import { EvalRow } from './eval-body.js';
import { askSchema, type SchemaQuestion } from './item-schemas.js';

const MOST_ITEMS = 10_000;
const MOST_BYTES = 64 * 1024 * 1024;

/** What a project's items are held to. */
type Form = Pick<SchemaQuestion, 'project' | 'schema'>;

/** @throws DomainError that names the row */
export function checkedRows(
  rows: readonly EvalRow[],
  form: Form,
  param: string,
): Promise<EvalRow[]> {
  return held(rows, form, param, (i) => `${param}.${i}`);
}

/** The items of a file: a line of it each, `{"item": {…}, "sample": {…}}`. */
export async function fileRows(
  content: AsyncIterable<Buffer>,
  form: Form,
  param: string,
): Promise<EvalRow[]> {
  const rows: EvalRow[] = [];
  const lines: number[] = [];
  let number = 0;
  let bytes = 0;
  const splitter = new LineSplitter(MAX_LINE_BYTES, (line) => {
    number++;
    if (line === null) throw wrong(param, `line ${number} is longer than ${MAX_LINE_BYTES} bytes`);
    const text = line
      .toString('utf8')
      .replace(/^\ufeff/, '')
      .trim();
    if (text === '') return;
    if (rows.length === MOST_ITEMS) throw wrong(param, `more than ${MOST_ITEMS} items`);
    rows.push(rowOf(parsed(text, number, param), `line ${number}`, param));
    lines.push(number);
  });
  for await (const chunk of content) {
    bytes += chunk.length;
    if (bytes > MOST_BYTES) throw wrong(param, `more than ${MOST_BYTES} bytes`);
    splitter.push(chunk);
  }
  splitter.end();
  if (rows.length === 0) throw wrong(param, 'there are no items in it');
  return held(rows, form, param, (i) => `line ${lines[i]}`);
}

function parsed(text: string, line: number, param: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw wrong(param, `line ${line} is no JSON`);
  }
}

function rowOf(value: unknown, where: string, param: string): EvalRow {
  try {
    return parseBody(EvalRow, value);
  } catch (error) {
    throw wrong(param, `${where}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

async function held(
  rows: readonly EvalRow[],
  form: Form,
  param: string,
  where: (index: number) => string,
): Promise<EvalRow[]> {
  const items = rows.map(({ item }) => item);
  const found = await askSchema({ ...form, param: 'data_source_config.item_schema', items });
  if (found) throw wrong(param, `${where(found.index)}: ${found.problem}`);
  return [...rows];
}

const wrong = (param: string, what: string): DomainError =>
  new DomainError('invalid_value', `${param}: ${what}`, param);
