import { checkRecord } from '../catalog/plugins.js';

export const MAX_LINE_BYTES = 1024 * 1024;
const MAX_RECORDS = 1_000_000;
const REPORTED = 20;
/** OpenAI's lower bound; below it we warn and go on. */
const FEW_RECORDS = 10;

export interface LineReport {
  readonly records: number;
  /** null when every line is fine. */
  readonly problems: string | null;
  readonly warning: string | null;
}

/**
 * Checks training data line by line while its bytes pass: no line is ever longer in memory than the
 * limit, and nothing is parsed that is not strict UTF-8.
 */
export class LineCheck {
  private pending: Buffer[] = [];
  private pendingBytes = 0;
  private line = 0;
  private records = 0;
  private bad = 0;
  private readonly first: string[] = [];
  private readonly decoder = new TextDecoder('utf-8', { fatal: true });

  push(chunk: Buffer): void {
    let start = 0;
    for (let end = chunk.indexOf(10, start); end !== -1; end = chunk.indexOf(10, start)) {
      this.finishLine(chunk.subarray(start, end));
      start = end + 1;
    }
    if (start < chunk.length) this.keep(chunk.subarray(start));
  }

  end(): LineReport {
    if (this.pendingBytes > 0) this.finishLine(Buffer.alloc(0));
    if (this.records === 0 && this.bad === 0) {
      this.bad = 1;
      this.first.push('the file holds no records');
    }
    const more = this.bad - this.first.length;
    const problems =
      this.bad === 0
        ? null
        : this.first.join('; ') + (more > 0 ? `; and ${more} more bad lines` : '');
    const warning =
      this.records < FEW_RECORDS
        ? `only ${this.records} example${this.records === 1 ? '' : 's'}: at least ${FEW_RECORDS} are advised`
        : null;
    return { records: this.records, problems, warning };
  }

  /** The beginning of a line that goes on in the next chunk. */
  private keep(part: Buffer): void {
    this.pendingBytes += part.length;
    // Copied: the stream may reuse the chunk's memory.
    if (this.pendingBytes <= MAX_LINE_BYTES) this.pending.push(Buffer.from(part));
    else this.pending = [];
  }

  private finishLine(last: Buffer): void {
    this.line++;
    const reason =
      this.pendingBytes + last.length > MAX_LINE_BYTES
        ? `longer than ${MAX_LINE_BYTES} bytes`
        : this.checkText(this.pending.length === 0 ? last : Buffer.concat([...this.pending, last]));
    this.pending = [];
    this.pendingBytes = 0;
    if (reason === null) return;
    this.bad++;
    if (this.first.length < REPORTED)
      this.first.push(`line ${this.line}: ${reason.replace(/^line \d+: /, '')}`);
  }

  private checkText(bytes: Buffer): string | null {
    let text: string;
    try {
      text = this.decoder.decode(bytes);
    } catch {
      return 'not valid UTF-8';
    }
    if (text.trim() === '') return null;
    const reason = checkRecord(text, this.line, 'causal_lm');
    if (reason === null && ++this.records > MAX_RECORDS) return `more than ${MAX_RECORDS} records`;
    return reason;
  }
}
