import { MAX_LINE_BYTES } from './line-splitter.js';

export interface Peeked {
  /** The first line that is not blank with all before it, or more. */
  readonly head: Buffer;
  /** All of it, the head included. */
  readonly all: AsyncIterable<Buffer>;
}

/** Looks at how something begins, without keeping more of it than a line. */
export async function peek(source: AsyncIterable<Buffer>): Promise<Peeked> {
  const iterator = source[Symbol.asyncIterator]();
  let head: Buffer = Buffer.alloc(0);
  let done = false;
  while (!done && head.length <= MAX_LINE_BYTES && !holdsLine(head)) {
    const next = await iterator.next();
    done = next.done === true;
    if (!next.done) head = Buffer.concat([head, next.value]);
  }
  async function* all(): AsyncGenerator<Buffer> {
    if (head.length > 0) yield head;
    if (!done) yield* { [Symbol.asyncIterator]: () => iterator };
  }
  return { head, all: all() };
}

function holdsLine(bytes: Buffer): boolean {
  let first = 0;
  while (first < bytes.length && (bytes[first] as number) <= 0x20) first++;
  return bytes.indexOf(10, first) !== -1;
}
