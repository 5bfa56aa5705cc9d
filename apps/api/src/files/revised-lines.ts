import { DomainError, MAX_MEDIA_LINE_BYTES } from '@graft/contracts';
import { LineSplitter } from './rows/line-splitter.js';

/** Changes of a JSON Lines file. */
export interface RevisedLines {
  /** New text of the line by its number; null: the line is removed. */
  readonly changes: ReadonlyMap<number, string | null>;
  /** Whether a record belongs to the new file, by its place among the records, from 0. */
  readonly keeps: (place: number) => boolean;
}

/**
 * Yields the lines of a file with the changes applied. Other lines are copied byte for byte.
 * @throws DomainError after the last line if a changed line has no record
 */
export async function* revisedLines(
  source: AsyncIterable<Buffer>,
  { changes, keeps }: RevisedLines,
): AsyncGenerator<Buffer> {
  let [number, place] = [0, 0];
  let output: Buffer[] = [];
  const missing = new Set(changes.keys());
  const lines = new LineSplitter(MAX_MEDIA_LINE_BYTES, (line) => {
    number++;
    if (line === null)
      throw new DomainError(
        'invalid_training_file',
        `line ${number}: longer than ${MAX_MEDIA_LINE_BYTES} bytes`,
        'file_id',
      );
    if (line.toString('latin1').trim() === '') return;
    missing.delete(number);
    if (!keeps(place++)) return;
    const change = changes.get(number);
    if (change === null) return;
    output.push(change === undefined ? line : Buffer.from(change), NEWLINE);
  });
  const taken = (): Buffer => {
    const whole = Buffer.concat(output);
    output = [];
    return whole;
  };
  for await (const chunk of source) {
    lines.push(chunk);
    if (output.length > 0) yield taken();
  }
  lines.end();
  if (output.length > 0) yield taken();
  const [first] = [...missing].sort((a, b) => a - b);
  if (first !== undefined)
    throw new DomainError(
      'invalid_value',
      `records: the file has no record at line ${first}`,
      'records',
    );
}

const NEWLINE = Buffer.from('\n');
