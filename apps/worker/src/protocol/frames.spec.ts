import { expect, it } from 'vitest';
import { MAX_FRAME_BYTES } from '@graft/contracts';
import { encodeFrame, FrameDecoder } from './frames.js';

const messages = [
  { type: 'a', text: 'naïve 日本' },
  { type: 'b', list: [1, 2.5, null] },
  { type: 'c' },
];
const stream = Buffer.concat(messages.map((one) => encodeFrame(one)));

it('decodes frames in chunks of any size', () => {
  for (const size of [1, 2, 3, 5, 7, stream.length]) {
    const decoder = new FrameDecoder();
    const found: unknown[] = [];
    for (let at = 0; at < stream.length; at += size)
      found.push(...decoder.push(stream.subarray(at, at + size)));
    expect(found).toEqual(messages);
  }
});

it('does not copy all buffered data for each chunk', () => {
  const frame = encodeFrame({ text: 'x'.repeat(MAX_FRAME_BYTES - 100) });
  const decoder = new FrameDecoder();
  const found: unknown[] = [];
  const start = process.cpuUsage();
  for (let at = 0; at < frame.length; at += 4)
    found.push(...decoder.push(frame.subarray(at, at + 4)));
  const { user, system } = process.cpuUsage(start);
  expect(found).toHaveLength(1);
  // With copies, this took minutes.
  expect((user + system) / 1e6).toBeLessThan(15);
});

it('rejects frames that are too large when encoding and decoding', () => {
  expect(() => encodeFrame({ text: 'x'.repeat(MAX_FRAME_BYTES) })).toThrow(RangeError);
  const header = Buffer.alloc(4);
  header.writeUInt32LE(MAX_FRAME_BYTES + 1);
  expect(() => new FrameDecoder().push(header)).toThrow(RangeError);
});

it('rejects a body that is not JSON', () => {
  expect(() => new FrameDecoder().push(Buffer.from([2, 0, 0, 0, 0x7b, 0x78]))).toThrow(SyntaxError);
});
