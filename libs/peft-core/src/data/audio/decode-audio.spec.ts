// Compares with transformers' load_audio (soundfile) on generated audio, stems/audio.py; and rejects other
// bytes.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { mapSafetensors } from '@graft/kernels';
import { describe, expect, it } from 'vitest';
import { audioFormat, decodeAudio } from './decode-audio.js';
import { resample } from './resample.js';

const FOLDER = join(import.meta.dirname, '../../../../../test/golden/audio');
const { every } = JSON.parse(readFileSync(join(FOLDER, 'golden.json'), 'utf8')) as {
  every: number;
};
const golden = mapSafetensors(join(FOLDER, 'golden.safetensors')).tensors;
const expected = (name: string): Float32Array => golden.get(name)?.toArray() as Float32Array;
const bytesOf = (name: string): Buffer => readFileSync(join(FOLDER, name));
const sounds = readdirSync(FOLDER).filter((name) => /\.(wav|flac)$/.test(name));
const thinned = (samples: Float32Array): Float32Array =>
  samples.filter((_, at) => at % every === 0);
/** Energy of the difference relative to the expected samples, in dB. */
function decibels(got: Float32Array, wanted: Float32Array): number {
  const energy = (values: Float32Array): number => values.reduce((sum, x) => sum + x * x, 0);
  return 10 * Math.log10(energy(got.map((x, at) => x - (wanted[at] ?? 0))) / energy(wanted));
}

describe('an audio clip', () => {
  it.each(sounds)('%s is decoded to the same samples as by soundfile', (name) => {
    const { samples } = decodeAudio(bytesOf(name));
    expect(thinned(samples)).toEqual(expected(`decoded.${name}`));
  });

  it.each(sounds)('%s has its length in the header', (name) => {
    const { length, samplingRate, channels } = audioFormat(bytesOf(name));
    const sound = decodeAudio(bytesOf(name));
    expect([length, samplingRate]).toEqual([sound.samples.length, sound.samplingRate]);
    expect(length * channels).toBe(sound.values);
  });

  it.each([0, 1, 4, 200])(
    'is as long as its samples where its frames are called %i bytes',
    (align) => {
      const file = bytesOf(sounds.find((name) => name.endsWith('.wav'))!);
      const { length } = audioFormat(file);
      file.writeUInt16LE(align, file.indexOf('fmt ') + 8 + 12);
      expect(audioFormat(file).length).toBe(length);
      expect(decodeAudio(file).samples.length).toBe(length);
    },
  );

  it.each(sounds)('%s is resampled to 16 kHz like soxr', (name) => {
    const { samples, samplingRate } = decodeAudio(bytesOf(name));
    const wanted = expected(`at16k.${name}`);
    const got = thinned(resample(samples, samplingRate, 16_000));
    expect(got.length).toBe(wanted.length);
    if (samplingRate === 16_000) expect(got).toEqual(wanted);
    // measured: at most −93
    else expect(decibels(got, wanted)).toBeLessThan(-90);
  });

  it.each([
    // soxr converts from 8 and 48 kHz in one step, as here
    [8000, 16_000, -120],
    [48_000, 16_000, -120],
    [16_000, 8000, -120],
    [44_100, 16_000, -50],
    [22_050, 16_000, -50],
  ])(
    'of white noise is resampled from %d to %d Hz with a difference below %d dB',
    (from, to, most) => {
      const wanted = expected(`resampled.${from}.${to}`);
      const got = resample(expected(`noise.${from}`), from, to).subarray(0, wanted.length);
      expect(decibels(got, wanted)).toBeLessThan(most);
    },
  );
});

it.each([
  [22_127, 16_000],
  [7919, 16_000],
  [191_999, 16_000],
])('keeps tones at rates with thousands of phases, %d and %d Hz', (from, to) => {
  const tone = (rate: number, seconds: number): Float32Array =>
    new Float32Array(rate * seconds).map((_, at) =>
      [0.05, 0.21, 0.4].reduce(
        (sum, part) => sum + Math.sin(2 * Math.PI * part * Math.min(from, to) * (at / rate)) / 3,
        0,
      ),
    );
  const got = resample(tone(from, 2), from, to);
  const inside = [to / 2, (3 * to) / 2] as const; // the ends are influenced by the silence around them
  // measured: at most −141; with separate weights for each phase at most −140
  expect(decibels(got.subarray(...inside), tone(to, 2).subarray(...inside))).toBeLessThan(-130);
});

it('skips other chunks of a WAV file, whatever size they state', () => {
  const wav = bytesOf('mono-24.wav');
  const chunk = (id: string, ...words: readonly number[]): Buffer =>
    Buffer.concat([
      Buffer.from(id),
      ...[4 * words.length, ...words].map((word) => {
        const bytes = Buffer.alloc(4);
        bytes.writeUInt32LE(word);
        return bytes;
      }),
    ]);
  const most = 2 ** 32 - 1;
  const beside = [chunk('cue ', most), chunk('smpl', 0, 0, 0, 0, 0, 0, 0, most, 0)];
  const lists = Array.from({ length: 20_000 }, () => chunk('LIST', 0x6c746461));
  const told = Buffer.concat([wav.subarray(0, 12), ...beside, ...lists, wav.subarray(12)]);
  expect(decodeAudio(told)).toEqual(decodeAudio(wav));
});

describe('bytes that are not audio', () => {
  const wav = bytesOf('mono-24.wav');
  const flac = bytesOf('mono-16.flac');
  const changed = (bytes: Buffer, at: number, value: number): Buffer => {
    const copy = Buffer.from(bytes);
    copy[at] = value;
    return copy;
  };
  it.each([
    ['nothing', Buffer.alloc(0), 'expected WAV or FLAC, got an empty file'],
    ['text', Buffer.from('a dog barks'), 'expected WAV or FLAC, got an unknown format'],
    ['an MP3', Buffer.from('ID3\x04'), 'expected WAV or FLAC, got MP3'],
    ['a WAV without samples', wav.subarray(0, 44), 'WAV'],
    ['a WAV cut in its header', wav.subarray(0, 20), 'WAV'],
    [
      'a WAV of no rate',
      changed(wav, 24, 0).fill(0, 24, 28),
      'expected a sampling rate of 1000 to 384000 Hz, got 0',
    ],
    ['a WAV of 200 channels', changed(wav, 22, 200), 'expected 1 to 8 channels, got 200'],
    ['a FLAC cut short', flac.subarray(0, 9000), 'FLAC: the file is truncated'],
    ['a FLAC with a flipped byte', changed(flac, 12_000, (flac[12_000] ?? 0) ^ 0x55), 'FLAC'],
    ['a FLAC that says it is hours long', changed(flac, 21, 0x7f), 'is too long'],
  ])('%s: rejected with the reason', (_what, bytes, message) => {
    expect(() => decodeAudio(bytes)).toThrow(
      expect.objectContaining({
        code: 'invalid_training_file',
        message: expect.stringContaining(message) as string,
      }),
    );
  });

  it('are rejected or decoded, whichever byte is changed', () => {
    for (const bytes of [wav, bytesOf('stereo-16.flac')])
      for (let at = 0; at < bytes.length; at += at < 64 ? 1 : 997)
        for (const value of [0, 0xff, (at * 31) & 0xff]) {
          const outcome = outcomeOf(changed(bytes, at, value));
          if (outcome instanceof Float32Array) expect(outcome.every(Number.isFinite)).toBe(true);
          else expect(outcome).toMatchObject({ code: 'invalid_training_file' });
        }
  });
});

function outcomeOf(bytes: Uint8Array): unknown {
  try {
    return decodeAudio(bytes).samples;
  } catch (error) {
    return error;
  }
}
