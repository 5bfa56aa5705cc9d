import { expect, it } from 'vitest';
import { bytesOf, mediaUrl, peaks } from './media-url.js';

it('tells pictures and sounds from other texts', () => {
  const url = 'data:image/png;base64,AQID';
  expect(mediaUrl(url)).toEqual({ medium: 'image', url });
  expect(mediaUrl('data:audio/x-wav;base64,AQID')?.medium).toBe('audio');
  for (const other of ['data:text/html;base64,AQID', 'data:image/png,AQID', ' data:image', 3, null])
    expect(mediaUrl(other)).toBeNull();
  expect([...new Uint8Array(bytesOf(url))]).toEqual([1, 2, 3]);
});

it('finds the peaks of each stretch, beside the highest', () => {
  expect(peaks(Float32Array.from([0, 0.5, -0.25, 0.1]), 2)).toEqual([1, 0.5]);
  expect(peaks(Float32Array.from([0.5, 0.25]), 4)).toEqual([1, 1, 0.5, 0.5]);
  expect(peaks(new Float32Array(8), 2)).toEqual([0, 0]);
});
