// Frames on a pipe: u32 little-endian length, then that many bytes of UTF-8 JSON.
import { MAX_FRAME_BYTES } from '@graft/contracts';

export class FrameTooLarge extends RangeError {
  constructor(readonly bytes: number) {
    super(`a frame of ${bytes} bytes; the most is ${MAX_FRAME_BYTES}`);
  }
}

/** @throws FrameTooLarge */
export function encodeFrame(message: unknown): Buffer {
  const body = Buffer.from(JSON.stringify(message), 'utf8');
  if (body.length > MAX_FRAME_BYTES) throw new FrameTooLarge(body.length);
  const frame = Buffer.allocUnsafe(4 + body.length);
  frame.writeUInt32LE(body.length, 0);
  body.copy(frame, 4);
  return frame;
}

/** Joins the chunks of a stream into messages, in order. */
export class FrameDecoder {
  private pending = Buffer.alloc(0);

  /** @throws RangeError on an impossible length, SyntaxError on a body that is not JSON */
  push(chunk: Uint8Array): unknown[] {
    this.pending =
      this.pending.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.pending, chunk]);
    const messages: unknown[] = [];
    let at = 0;
    while (this.pending.length - at >= 4) {
      const length = this.pending.readUInt32LE(at);
      if (length > MAX_FRAME_BYTES)
        throw new RangeError(`a frame claims ${length} bytes; the most is ${MAX_FRAME_BYTES}`);
      if (this.pending.length - at - 4 < length) break;
      messages.push(JSON.parse(this.pending.toString('utf8', at + 4, at + 4 + length)));
      at += 4 + length;
    }
    this.pending = this.pending.subarray(at);
    return messages;
  }
}
