import {
  DomainError,
  MAX_LINE_BYTES,
  MAX_MEDIA_LINE_BYTES,
  type FileRecordObject,
  type Page,
} from '@graft/contracts';
import { readLine, recordProblem } from '../catalog/plugins.js';
import { pageQuery } from '../http/parse.js';
import { beginningOf } from './rows/line-beginning.js';
import { LineSplitter } from './rows/line-splitter.js';

/** Bytes after which a page ends before it has `limit` records, because lines may be long. */
const PAGE_BYTES = 2 * MAX_LINE_BYTES;
/** Same limit for pages with images or audio. */
const MEDIA_PAGE_BYTES = MAX_MEDIA_LINE_BYTES;
const SHOWN_CHARACTERS = 1000;

/**
 * Returns a page of the records after line `after`. The file is read from the start without an index: 512 MB take
 * less than a second.
 */
export async function readRecords(
  source: AsyncIterable<Buffer>,
  query: Record<string, unknown>,
  task?: string,
): Promise<Page<FileRecordObject>> {
  const { limit, after } = pageQuery(query, 20, 100);
  const from = lineNumber(after);
  const data: FileRecordObject[] = [];
  let [number, size, more] = [0, 0, false];
  const lines = new LineSplitter(MAX_MEDIA_LINE_BYTES, (line, bytes) => {
    if (++number <= from || more || line?.toString('latin1').trim() === '') return;
    const most = line?.includes('"data:') ? MEDIA_PAGE_BYTES : PAGE_BYTES;
    more = data.length === limit || (data.length > 0 && size + bytes > most);
    if (more) return;
    size += bytes;
    data.push(recordAt(number, line, task));
  });
  for await (const chunk of source) {
    lines.push(chunk);
    if (more) break;
  }
  if (!more) lines.end();
  return { object: 'list', data, has_more: more };
}

function lineNumber(after: string | null): number {
  const from = Number(after ?? 0);
  if (Number.isInteger(from) && from >= 0) return from;
  throw new DomainError('invalid_value', 'after must be a line number', 'after');
}

function recordAt(line: number, bytes: Buffer | null, task?: string): FileRecordObject {
  if (bytes === null)
    return { line, record: null, problem: `longer than ${MAX_MEDIA_LINE_BYTES} bytes`, text: null };
  // Invalid UTF-8 is shown as replacement characters. The check of the file rejects it.
  const text = bytes.toString('utf8').replace(/^\ufeff/, '');
  const record = readLine(text, line);
  const problem = typeof record === 'string' ? record : recordProblem(record, task);
  return typeof record === 'string' || problem !== null
    ? { line, record: null, problem, text: beginningOf(Buffer.from(text), SHOWN_CHARACTERS) }
    : { line, record, problem, text: null };
}
