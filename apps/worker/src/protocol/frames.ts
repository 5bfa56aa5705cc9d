// Frames on a pipe: u32 little-endian length, then that many bytes of UTF-8 JSON.
import { MAX_FRAME_BYTES } from '@graft/contracts';

export class FrameTooLarge extends RangeError {
  constructor(
    readonly bytes: number,
    most: number,
  ) {
    super(`frame of ${bytes} bytes exceeds the maximum of ${most}`);
  }
}

/** @throws FrameTooLarge */
export function encodeFrame(message: unknown, most = MAX_FRAME_BYTES): Buffer {
  const body = JSON.stringify(message);
  const bytes = Buffer.byteLength(body);
  if (bytes > most) throw new FrameTooLarge(bytes, most);
  const frame = Buffer.allocUnsafe(4 + bytes);
  frame.writeUInt32LE(bytes, 0);
  frame.write(body, 4);
  return frame;
}

/**
 * Decodes the chunks of a stream into messages. Each byte is copied at most twice, regardless of the size of
 * the chunks.
 */
export class FrameDecoder {
  private parts: Buffer[] = [];
  private bytes = 0;
  /** Number of bytes needed to decode the next part. */
  private needed = 4;

  /** @param most maximum bytes of a frame */
  constructor(private readonly most = MAX_FRAME_BYTES) {}

  /** @throws RangeError for a length above the maximum, SyntaxError for invalid JSON */
  push(chunk: Uint8Array): unknown[] {
    this.parts.push(Buffer.from(chunk));
    this.bytes += chunk.length;
    if (this.bytes < this.needed) return [];
    const pending = Buffer.concat(this.parts);
    const messages: unknown[] = [];
    let at = 0;
    this.needed = 4;
    while (pending.length - at >= 4) {
      const length = pending.readUInt32LE(at);
      if (length > this.most)
        throw new RangeError(`frame of ${length} bytes exceeds the maximum of ${this.most}`);
      this.needed = 4 + length;
      if (pending.length - at < this.needed) break;
      messages.push(JSON.parse(pending.toString('utf8', at + 4, at + this.needed)));
      at += this.needed;
      this.needed = 4;
    }
    this.parts = [pending.subarray(at)];
    this.bytes = pending.length - at;
    return messages;
  }
}
