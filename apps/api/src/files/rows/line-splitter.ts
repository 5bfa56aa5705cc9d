/**
 * Splits a stream into lines. Calls `each` with `null` for a line beyond the limit, which is never kept in memory.
 */
export class LineSplitter {
  private pending: Buffer[] = [];
  private pendingBytes = 0;

  /** @param most maximum bytes of a line */
  constructor(
    private readonly most: number,
    private readonly each: (line: Buffer | null, bytes: number) => void,
  ) {}

  push(chunk: Buffer): void {
    let start = 0;
    for (let end = chunk.indexOf(10, start); end !== -1; end = chunk.indexOf(10, start)) {
      this.finishLine(chunk.subarray(start, end));
      start = end + 1;
    }
    if (start < chunk.length) this.keep(chunk.subarray(start));
  }

  end(): void {
    if (this.pendingBytes > 0) this.finishLine(Buffer.alloc(0));
  }

  /** Keeps the start of a line that continues in the next chunk. */
  private keep(part: Buffer): void {
    this.pendingBytes += part.length;
    // Copied because the stream may reuse the chunk's memory.
    if (this.pendingBytes <= this.most) this.pending.push(Buffer.from(part));
    else this.pending = [];
  }

  private finishLine(last: Buffer): void {
    const bytes = this.pendingBytes + last.length;
    const line = this.pending.length === 0 ? last : Buffer.concat([...this.pending, last]);
    this.pending = [];
    this.pendingBytes = 0;
    this.each(bytes > this.most ? null : line, bytes);
  }
}
