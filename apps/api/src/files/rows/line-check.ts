import { FileCheck, type Checked } from './file-check.js';
import { MAX_MEDIA_LINE_BYTES } from '@graft/contracts';
import { LineSplitter } from './line-splitter.js';

/** Checks JSON Lines while they are received. Lines that are not valid UTF-8 are rejected without parsing. */
export class LineCheck {
  private readonly check = new FileCheck();
  private readonly decoder = new TextDecoder('utf-8', { fatal: true });
  private readonly lines = new LineSplitter(MAX_MEDIA_LINE_BYTES, (line, bytes) =>
    this.take(line, bytes),
  );

  push(chunk: Buffer): void {
    this.lines.push(chunk);
  }

  end(...as: Parameters<FileCheck['end']>): Checked {
    this.lines.end();
    return this.check.end(...as);
  }

  private take(line: Buffer | null, bytes: number): void {
    if (line === null) return this.check.reject(`longer than ${MAX_MEDIA_LINE_BYTES} bytes`);
    let text: string;
    try {
      text = this.decoder.decode(line);
    } catch {
      return this.check.reject('not valid UTF-8');
    }
    this.check.take(text, bytes);
  }
}
