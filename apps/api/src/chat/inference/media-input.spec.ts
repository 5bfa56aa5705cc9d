import { Readable } from 'node:stream';
import { MAX_REQUEST_MEDIA_BYTES } from '@graft/contracts';
import { expect, it } from 'vitest';
import { readMediaPart } from './media-input.js';

const all = Buffer.from(Array.from({ length: 200_000 }, (_, i) => i % 251));

it('stores a file in pieces of one size, whatever the size of the received chunks', async () => {
  for (const size of [1, 1000, 65_536, all.length]) {
    const come = Array.from({ length: Math.ceil(all.length / size) }, (_, i) =>
      all.subarray(i * size, (i + 1) * size),
    );
    const { pieces, bytes } = await readMediaPart(Readable.from(come));
    expect(pieces.map(({ length }) => length)).toEqual([65_536, 65_536, 65_536, 3392]);
    expect(bytes).toBe(all.length);
    expect(Buffer.concat(pieces).equals(all)).toBe(true);
  }
});

it('rejects a file that is empty or too large', async () => {
  const most = Buffer.alloc(MAX_REQUEST_MEDIA_BYTES);
  const { pieces, bytes } = await readMediaPart(Readable.from([most]));
  expect([pieces.length, bytes]).toEqual([400, MAX_REQUEST_MEDIA_BYTES]);
  await expect(readMediaPart(Readable.from([most, Buffer.of(1)]))).rejects.toMatchObject({
    code: 'request_too_large',
  });
  await expect(readMediaPart(Readable.from([]))).rejects.toMatchObject({ param: 'file' });
});
