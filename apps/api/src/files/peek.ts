import { MAX_LINE_BYTES } from '@graft/contracts';

/** Bytes to read at least. The magic number of a tar follows its first file name. */
const ARCHIVE_HEAD = 512;

export interface Peeked {
  /** Minimum to read: the first line that is not blank, with everything before it. */
  readonly head: Buffer;
  /** Whole stream, including the head. */
  readonly all: AsyncIterable<Buffer>;
}

/** Reads the start of a stream, storing no more than about a line. */
export async function peek(source: AsyncIterable<Buffer>): Promise<Peeked> {
  const iterator = source[Symbol.asyncIterator]();
  const chunks: Buffer[] = [];
  let [size, started, ended, done] = [0, false, false, false];
  while ((!ended || size < ARCHIVE_HEAD) && size <= MAX_LINE_BYTES) {
    const next = await iterator.next();
    done = next.done === true;
    if (next.done) break;
    const chunk = next.value;
    // Copied because the stream may reuse the chunk's memory.
    chunks.push(Buffer.from(chunk));
    size += chunk.length;
    const first = started ? 0 : chunk.findIndex((byte) => byte > 0x20);
    started = first !== -1;
    ended ||= started && chunk.indexOf(10, first) !== -1;
  }
  const head = Buffer.concat(chunks);
  async function* all(): AsyncGenerator<Buffer> {
    if (head.length > 0) yield head;
    if (!done) yield* { [Symbol.asyncIterator]: () => iterator };
  }
  return { head, all: all() };
}
