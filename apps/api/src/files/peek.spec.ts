import { expect, it } from 'vitest';
import { MAX_LINE_BYTES } from '@graft/contracts';
import { peek } from './peek.js';

async function* inPieces(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size)
    yield await Promise.resolve(bytes.subarray(at, at + size));
}

async function wholeOf(source: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of source) chunks.push(chunk);
  return Buffer.concat(chunks);
}

it('reads up to the end of the first line that is not blank', async () => {
  const bytes = Buffer.from('\n \r\n{"a":1}\n{"b":2}\n');
  for (const size of [1, 3, 100]) {
    const { head, all } = await peek(inPieces(bytes, size));
    expect(head.toString()).toMatch(/^\n \r\n\{"a":1\}\n/);
    expect(await wholeOf(all)).toEqual(bytes);
  }
  const long = Buffer.from(`${'x'.repeat(2000)}\n`.repeat(9));
  expect((await peek(inPieces(long, 1))).head.length).toBe(2001);
  expect((await peek(inPieces(Buffer.from('abc'), 2))).head.toString()).toBe('abc');
});

it('reads up to the magic number of a tar, however short the first line is', async () => {
  const bytes = Buffer.from('a\nb\n'.repeat(200));
  expect((await peek(inPieces(bytes, 1))).head.length).toBe(512);
});

it('takes time proportional to the bytes read, however many chunks there are', async () => {
  const bytes = Buffer.alloc(MAX_LINE_BYTES + 32, 'x');
  const before = process.cpuUsage();
  const { head } = await peek(inPieces(bytes, 4));
  expect(head.length).toBeGreaterThan(MAX_LINE_BYTES);
  expect(process.cpuUsage(before).user / 1e6).toBeLessThan(4);
});
