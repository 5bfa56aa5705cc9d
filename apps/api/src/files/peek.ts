import { MAX_LINE_BYTES } from '@graft/contracts';

/** A tar says after its first name what it is. */
const ARCHIVE_HEAD = 512;

export interface Peeked {
  /** The first line that is not blank with all before it, or more. */
  readonly head: Buffer;
  /** All of it, the head included. */
  readonly all: AsyncIterable<Buffer>;
}

/** Looks at how something begins, without keeping more of it than a line. */
export async function peek(source: AsyncIterable<Buffer>): Promise<Peeked> {
  const iterator = source[Symbol.asyncIterator]();
  const chunks: Buffer[] = [];
  let [size, begun, ended, done] = [0, false, false, false];
  while ((!ended || size < ARCHIVE_HEAD) && size <= MAX_LINE_BYTES) {
    const next = await iterator.next();
    done = next.done === true;
    if (next.done) break;
    const chunk = next.value;
    // Copied: the stream may reuse the chunk's memory.
    chunks.push(Buffer.from(chunk));
    size += chunk.length;
    const first = begun ? 0 : chunk.findIndex((byte) => byte > 0x20);
    begun = first !== -1;
    ended ||= begun && chunk.indexOf(10, first) !== -1;
  }
  const head = Buffer.concat(chunks);
  async function* all(): AsyncGenerator<Buffer> {
    if (head.length > 0) yield head;
    if (!done) yield* { [Symbol.asyncIterator]: () => iterator };
  }
  return { head, all: all() };
}
