// Splits a JSONL file into lines at the byte level, so that neither a long line nor bad UTF-8 reaches V8's strings.
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { DomainError, MAX_MEDIA_LINE_BYTES } from '@graft/contracts';

const NEWLINE = 0x0a;
const CHUNK = 1 << 20;

export interface NumberedLine {
  readonly number: number;
  readonly line: string;
  /** Share of the file's bytes up to the end of this line, 0 to 1. */
  readonly share: number;
}

/**
 * Yields the lines of a UTF-8 file with their numbers from 1. The JSON parser handles CR before LF. A newline at the
 * end of the file starts no further line.
 * @throws DomainError `invalid_training_file` that names a line that is too long or not UTF-8
 */
export function* readLines(path: string): Generator<NumberedLine> {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  const decode = (bytes: Uint8Array, number: number): string => {
    if (bytes.length > MAX_MEDIA_LINE_BYTES)
      throw bad(number, `longer than ${MAX_MEDIA_LINE_BYTES} bytes`);
    try {
      return decoder.decode(bytes);
    } catch {
      throw bad(number, 'not valid UTF-8');
    }
  };
  const file = openSync(path, 'r');
  try {
    const chunk = Buffer.alloc(CHUNK);
    let rest: Buffer = Buffer.alloc(0);
    let number = 1;
    let before = 0;
    const { size } = fstatSync(file);
    for (let read = readSync(file, chunk); read > 0; read = readSync(file, chunk)) {
      let from = 0;
      for (
        let to = chunk.indexOf(NEWLINE);
        to >= 0 && to < read;
        to = chunk.indexOf(NEWLINE, from)
      ) {
        const piece = chunk.subarray(from, to);
        from = to + 1;
        const bytes = rest.length ? Buffer.concat([rest, piece]) : piece;
        rest = Buffer.alloc(0);
        yield { number, line: decode(bytes, number), share: Math.min(1, (before + from) / size) };
        number++;
      }
      before += read;
      rest = Buffer.concat([rest, chunk.subarray(from, read)]);
      if (rest.length > MAX_MEDIA_LINE_BYTES)
        throw bad(number, `longer than ${MAX_MEDIA_LINE_BYTES} bytes`);
    }
    if (rest.length) yield { number, line: decode(rest, number), share: 1 };
  } finally {
    closeSync(file);
  }
}

function bad(number: number, what: string): DomainError {
  return new DomainError(
    'invalid_training_file',
    `line ${number}: the line is ${what}`,
    'training_file',
  );
}
