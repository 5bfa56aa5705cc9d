import { CsvError, parse, type Info } from 'csv-parse';
import { pipeline, Readable } from 'node:stream';
import { MAX_LINE_BYTES } from '@graft/contracts';
import { MAX_COLUMNS, unreadable, type NumberedRow, type Row } from './rows.js';

interface CsvRecord {
  readonly record: readonly string[];
  readonly info: Info;
}

/** Yields the rows of a CSV file, numbered as in a spreadsheet: the header is row 1. */
export async function* csvRows(
  source: AsyncIterable<Buffer>,
  delimiter: string,
): AsyncGenerator<NumberedRow> {
  const parser = parse({
    bom: true,
    delimiter,
    info: true,
    relax_column_count: true,
    skip_empty_lines: true,
    max_record_size: 2 * MAX_LINE_BYTES,
  });
  pipeline(Readable.from(strictUtf8(source)), parser, () => undefined);
  let header: readonly string[] | null = null;
  try {
    for await (const { record, info } of parser as AsyncIterable<CsvRecord>) {
      const number = info.records + info.empty_lines;
      if (header === null) header = headerOf(record);
      else if (record.length !== header.length)
        yield {
          number,
          row: null,
          reason: `the header has ${header.length} columns, this row has ${record.length}`,
        };
      else if (record.some((field) => field !== '')) yield { number, row: rowOf(header, record) };
    }
  } catch (error) {
    throw error instanceof CsvError ? unreadable(describeError(error)) : error;
  }
}

async function* strictUtf8(source: AsyncIterable<Buffer>): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const decode = (chunk?: Buffer): string => {
    try {
      return decoder.decode(chunk, { stream: chunk !== undefined });
    } catch {
      throw unreadable('the file is not valid UTF-8; save it as UTF-8 ("CSV UTF-8" in Excel)');
    }
  };
  for await (const chunk of source) yield decode(chunk);
  yield decode();
}

function headerOf(fields: readonly string[]): readonly string[] {
  if (fields.length > MAX_COLUMNS)
    throw unreadable(`the header has ${fields.length} columns; the limit is ${MAX_COLUMNS}`);
  const names = fields.map((name) => name.trim());
  const seen = new Set<string>();
  const twice = names.find((name) => seen.size === seen.add(name).size);
  if (twice !== undefined)
    throw unreadable(`the header names the column ${JSON.stringify(twice.slice(0, 40))} twice`);
  return names;
}

const rowOf = (header: readonly string[], fields: readonly string[]): Row =>
  Object.fromEntries(header.map((name, i) => [name, fields[i]]));

function describeError(error: CsvError): string {
  const { code, message, records = 0, empty_lines: empty = 0 } = error as CsvError & Partial<Info>;
  const row = `row ${records + empty + 1}`;
  if (code === 'CSV_QUOTE_NOT_CLOSED') return `${row}: a quoted field is never closed`;
  if (code === 'CSV_MAX_RECORD_SIZE')
    return `${row}: longer than ${2 * MAX_LINE_BYTES} characters; is a quoted field never closed?`;
  if (code === 'INVALID_OPENING_QUOTE' || code === 'CSV_INVALID_CLOSING_QUOTE')
    return `${row}: a quotation mark inside a quoted field must be doubled`;
  return `${row}: ${message.slice(0, 200)}`;
}
