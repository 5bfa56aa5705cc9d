/** Encodes 16-bit mono samples as a WAV file. */
export function wavFile(samples: Int16Array, samplingRate: number): Buffer {
  const header = Buffer.alloc(44);
  const size = samples.byteLength;
  header.write('RIFF', 0);
  header.writeUInt32LE(36 + size, 4);
  header.write('WAVEfmt ', 8);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20); // PCM
  header.writeUInt16LE(1, 22);
  header.writeUInt32LE(samplingRate, 24);
  header.writeUInt32LE(2 * samplingRate, 28);
  header.writeUInt16LE(2, 32);
  header.writeUInt16LE(16, 34);
  header.write('data', 36);
  header.writeUInt32LE(size, 40);
  return Buffer.concat([header, Buffer.from(samples.buffer, samples.byteOffset, size)]);
}
