import { readJsonObject } from '../../catalog/plugins.js';
import { MAX_MEDIA_LINE_BYTES } from '@graft/contracts';
import { LineSplitter } from './line-splitter.js';
import { unreadable, type NumberedRow } from './rows.js';

const [QUOTE, BACKSLASH, COMMA] = [0x22, 0x5c, 0x2c];
const [OPEN_OBJECT, OPEN_ARRAY, CLOSE_OBJECT, CLOSE_ARRAY] = [0x7b, 0x5b, 0x7d, 0x5d];

/**
 * Yields the elements of a JSON array. Each is parsed when its bytes have arrived; the array is never completely in
 * memory.
 */
export async function* arrayRows(source: AsyncIterable<Buffer>): AsyncGenerator<NumberedRow> {
  const splitter = new ArraySplitter();
  for await (const chunk of source) for (const piece of splitter.push(chunk)) yield rowAt(piece);
  splitter.end();
}

/**
 * Yields the objects of JSON Lines, without blank lines.
 * @param keys maximum number of keys of an object; default: that of a record
 * @param without numbers of lines to skip without parsing them
 */
export async function* lineRows(
  source: AsyncIterable<Buffer>,
  keys?: number,
  without?: ReadonlySet<number>,
): AsyncGenerator<NumberedRow> {
  let found: NumberedRow[] = [];
  let number = 0;
  const lines = new LineSplitter(MAX_MEDIA_LINE_BYTES, (line) => {
    number++;
    if (without?.has(number)) return;
    if (line === null || line.toString('latin1').trim() !== '')
      found.push(rowAt({ number, bytes: line }, keys));
  });
  for await (const chunk of source) {
    lines.push(chunk);
    yield* found;
    found = [];
  }
  lines.end();
  yield* found;
}

interface Piece {
  readonly number: number;
  /** `null` if it is larger than the limit. */
  readonly bytes: Buffer | null;
}

function rowAt({ number, bytes }: Piece, keys?: number): NumberedRow {
  if (bytes === null)
    return { number, row: null, reason: `longer than ${MAX_MEDIA_LINE_BYTES} bytes` };
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return { number, row: null, reason: 'not valid UTF-8' };
  }
  const row = readJsonObject(text.trim(), keys);
  return typeof row === 'string' ? { number, row: null, reason: row } : { number, row };
}

/** Finds the ends of an array's elements. Their content is parsed later. */
class ArraySplitter {
  private depth = 0;
  private string = false;
  private escaped = false;
  private ended = false;
  private number = 0;
  private pending: Buffer[] = [];
  private pendingBytes = 0;

  push(chunk: Buffer): Piece[] {
    const pieces: Piece[] = [];
    let start = 0;
    for (let i = 0; i < chunk.length; i++) {
      const byte = chunk[i] as number;
      if (this.ended) mustBeBlank(byte);
      else if (this.string) this.inString(byte);
      else if (byte === QUOTE) this.string = true;
      else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
        if (this.depth++ === 0) start = i + 1;
      } else if (byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) {
        if (--this.depth === 0) {
          const last = this.finish(chunk.subarray(start, i));
          if (last.bytes === null || last.bytes.length > 0 || this.number > 1) pieces.push(last);
          this.ended = true;
        }
      } else if (byte === COMMA && this.depth === 1) {
        pieces.push(this.finish(chunk.subarray(start, i)));
        start = i + 1;
      }
    }
    if (!this.ended && this.depth > 0) this.keep(chunk.subarray(start));
    return pieces;
  }

  end(): void {
    if (!this.ended) throw unreadable(`the array is truncated in element ${this.number + 1}`);
  }

  private inString(byte: number): void {
    if (this.escaped) this.escaped = false;
    else if (byte === BACKSLASH) this.escaped = true;
    else if (byte === QUOTE) this.string = false;
  }

  private keep(part: Buffer): void {
    this.pendingBytes += part.length;
    // Copied because the stream may reuse the chunk's memory.
    if (this.pendingBytes <= MAX_MEDIA_LINE_BYTES) this.pending.push(Buffer.from(part));
    else this.pending = [];
  }

  private finish(last: Buffer): Piece {
    const long = this.pendingBytes + last.length > MAX_MEDIA_LINE_BYTES;
    const bytes = long ? null : trimmed(Buffer.concat([...this.pending, last]));
    this.pending = [];
    this.pendingBytes = 0;
    return { number: ++this.number, bytes };
  }
}

function mustBeBlank(byte: number): void {
  if (byte > 0x20) throw unreadable('unexpected content after the end of the array');
}

function trimmed(bytes: Buffer): Buffer {
  let [from, to] = [0, bytes.length];
  while (from < to && (bytes[from] as number) <= 0x20) from++;
  while (to > from && (bytes[to - 1] as number) <= 0x20) to--;
  return bytes.subarray(from, to);
}
