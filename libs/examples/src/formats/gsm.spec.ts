import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { decodeGsm, GSM_FRAME, GSM_SAMPLES, GSM_SAMPLING_RATE } from './gsm.js';
import { wavFile } from './wav.js';

// test/golden/gsm.py
const golden = JSON.parse(
  readFileSync(new URL('./gsm.golden.json', import.meta.url), 'utf8'),
) as Record<'gsm' | 'sha256', string>;
const gsm = Buffer.from(golden.gsm, 'base64');

it('decodes the same samples as libgsm, bit by bit', () => {
  const samples = decodeGsm(gsm);
  expect(samples).toHaveLength((gsm.length / GSM_FRAME) * GSM_SAMPLES);
  const bytes = new Uint8Array(samples.buffer);
  expect(createHash('sha256').update(bytes).digest('hex')).toBe(golden.sha256);
});

it('rejects other files and partial frames', () => {
  expect(() => decodeGsm(Buffer.alloc(GSM_FRAME))).toThrow('not a GSM file');
  expect(() => decodeGsm(gsm.subarray(1, 1 + GSM_FRAME))).toThrow('not a GSM file');
  expect(() => decodeGsm(gsm.subarray(0, GSM_FRAME + 1))).toThrow('truncated');
});

it('writes a WAV file of the samples', () => {
  const wav = wavFile(Int16Array.of(1, -2, 32_767), GSM_SAMPLING_RATE);
  expect(wav.toString('latin1', 0, 4) + wav.toString('latin1', 8, 16)).toBe('RIFFWAVEfmt ');
  expect([wav.readUInt32LE(4), wav.readUInt32LE(40), wav.length]).toEqual([42, 6, 50]);
  expect([wav.readUInt16LE(22), wav.readUInt32LE(24), wav.readUInt16LE(34)]).toEqual([1, 8000, 16]);
  expect([0, 1, 2].map((i) => wav.readInt16LE(44 + 2 * i))).toEqual([1, -2, 32_767]);
});
