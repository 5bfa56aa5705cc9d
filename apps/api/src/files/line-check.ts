import { FileCheck, type Checked } from './file-check.js';

export const MAX_LINE_BYTES = 1024 * 1024;

/**
 * Checks training data line by line while its bytes pass: no line is ever longer in memory than the
 * limit, and nothing is parsed that is not strict UTF-8.
 */
export class LineCheck {
  private pending: Buffer[] = [];
  private pendingBytes = 0;
  private readonly check = new FileCheck();
  private readonly decoder = new TextDecoder('utf-8', { fatal: true });

  push(chunk: Buffer): void {
    let start = 0;
    for (let end = chunk.indexOf(10, start); end !== -1; end = chunk.indexOf(10, start)) {
      this.finishLine(chunk.subarray(start, end));
      start = end + 1;
    }
    if (start < chunk.length) this.keep(chunk.subarray(start));
  }

  end(): Checked {
    if (this.pendingBytes > 0) this.finishLine(Buffer.alloc(0));
    return this.check.end();
  }

  /** The beginning of a line that goes on in the next chunk. */
  private keep(part: Buffer): void {
    this.pendingBytes += part.length;
    // Copied: the stream may reuse the chunk's memory.
    if (this.pendingBytes <= MAX_LINE_BYTES) this.pending.push(Buffer.from(part));
    else this.pending = [];
  }

  private finishLine(last: Buffer): void {
    const bytes = this.pendingBytes + last.length;
    const line = this.pending.length === 0 ? last : Buffer.concat([...this.pending, last]);
    this.pending = [];
    this.pendingBytes = 0;
    if (bytes > MAX_LINE_BYTES) return this.check.refuse(`longer than ${MAX_LINE_BYTES} bytes`);
    let text: string;
    try {
      text = this.decoder.decode(line);
    } catch {
      return this.check.refuse('not valid UTF-8');
    }
    this.check.take(text, bytes);
  }
}
