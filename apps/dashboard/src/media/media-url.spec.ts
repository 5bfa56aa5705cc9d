import { expect, it } from 'vitest';
import { bytesOf, mediaType, mediaUrl, peaks } from './media-url.js';

it('distinguishes images and audio from other text', () => {
  const url = 'data:image/png;base64,AQID';
  expect(mediaUrl(url)).toEqual({ medium: 'image', url });
  expect(mediaUrl('data:audio/x-wav;base64,AQID')?.medium).toBe('audio');
  for (const other of ['data:text/html;base64,AQID', 'data:image/png,AQID', ' data:image', 3, null])
    expect(mediaUrl(other)).toBeNull();
  expect([...new Uint8Array(bytesOf(url))]).toEqual([1, 2, 3]);
});

it('returns the peak of each section, relative to the highest', () => {
  expect(peaks(Float32Array.from([0, 0.5, -0.25, 0.1]), 2)).toEqual([1, 0.5]);
  expect(peaks(Float32Array.from([0.5, 0.25]), 4)).toEqual([1, 1, 0.5, 0.5]);
  expect(peaks(new Float32Array(8), 2)).toEqual([0, 0]);
});

it('detects the type by the first bytes', () => {
  const bytes = (text: string): Uint8Array => Uint8Array.from(text, (one) => one.charCodeAt(0));
  for (const [text, type] of [
    ['fLaC\0\0\0\x22', 'audio/flac'],
    ['RIFF\x24\0\0\0WAVEfmt ', 'audio/wav'],
    ['RIFF\x24\0\0\0WEBPVP8 ', 'image/webp'],
    ['\x89PNG\r\n\x1a\n\0\0\0\rIHDR', 'image/png'],
    ['\xff\xd8\xff\xe0\0\x10JFIF\0', 'image/jpeg'],
    ['GIF89a', 'image/gif'],
    ['II*\0\x08\0\0\0', 'image/tiff'],
  ] as const)
    expect(mediaType(bytes(text))).toBe(type);
  for (const other of ['', 'RIFF\x24\0\0\0AVI LIST', 'ID3\x03', 'flac'])
    expect(mediaType(bytes(other))).toBeNull();
});
