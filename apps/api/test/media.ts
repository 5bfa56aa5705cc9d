// Minimal image and audio files and archives of them, built byte by byte.
import { pack, type Header } from 'tar-stream';
import { buffer } from 'node:stream/consumers';
import { crc32, deflateSync } from 'node:zlib';

/** Returns a PNG of one color. */
export function png([red, green, blue]: readonly [number, number, number], side = 4): Buffer {
  const chunk = (type: string, content: Buffer): Buffer => {
    const body = Buffer.concat([Buffer.from(type), content]);
    const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(content.length);
    sum.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, sum]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(side, 0);
  header.writeUInt32BE(side, 4);
  header.set([8, 2], 8);
  const row = Buffer.from([0, ...new Array<number[]>(side).fill([red, green, blue]).flat()]);
  return Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(Buffer.concat(new Array<Buffer>(side).fill(row)))),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

/** Returns a WAV of a tone, 16 bits at 8 kHz. */
export function wav(hertz: number, seconds = 0.05): Buffer {
  const rate = 8000;
  const samples = Int16Array.from({ length: rate * seconds }, (_, n) =>
    Math.round(8000 * Math.sin((2 * Math.PI * hertz * n) / rate)),
  );
  const header = Buffer.from('RIFF    WAVEfmt                     data    ', 'latin1');
  header.writeUInt32LE(36 + samples.byteLength, 4);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20);
  header.writeUInt16LE(1, 22);
  header.writeUInt32LE(rate, 24);
  header.writeUInt32LE(2 * rate, 28);
  header.writeUInt16LE(2, 32);
  header.writeUInt16LE(16, 34);
  header.writeUInt32LE(samples.byteLength, 40);
  return Buffer.concat([header, Buffer.from(samples.buffer)]);
}

export type TarFile = readonly [name: string, content: Buffer | string, as?: Partial<Header>];

export async function tar(files: readonly TarFile[]): Promise<Buffer> {
  const archive = pack();
  for (const [name, content, as = {}] of files) archive.entry({ name, ...as }, content);
  archive.finalize();
  return buffer(archive);
}

/** Returns a data URL, as used in records. */
export const dataUrl = (type: string, content: Buffer): string =>
  `data:${type};base64,${content.toString('base64')}`;
