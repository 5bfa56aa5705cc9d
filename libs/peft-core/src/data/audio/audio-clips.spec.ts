import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import wavefile from 'wavefile';
import { MediaStore } from '../media-store.js';
import { AudioProcessor } from './audio-processor.js';
import { readClips, type ClipFacts } from './audio-clips.js';

const dir = mkdtempSync(join(tmpdir(), 'graft-sounds-'));
afterAll(() => rmSync(dir, { recursive: true }));
const GOLDEN = join(import.meta.dirname, '../../../../../test/golden/audio');

const audio = new AudioProcessor(
  { feature_extractor_type: 'Wav2Vec2FeatureExtractor', sampling_rate: 8000, do_normalize: false },
  ([samples = 0]) => samples,
);

/** Audio with two channels. */
function sound(samples: number, level: number): Uint8Array {
  const wav = new wavefile.WaveFile();
  const channel = new Int16Array(samples).fill(level);
  wav.fromScratch(2, 8000, '16', [channel, channel]);
  return wav.toBuffer();
}

it('stops decoding when the audio of a request exceeds the limit', () => {
  const files = [sound(300, 1), sound(300, 2), sound(300, 1)];
  expect(readClips(files, audio, null, 1200)).toMatchObject([
    { values: 600 },
    { values: 600 },
    { values: 600 },
  ]);
  const more = [...files, sound(300, 3), Buffer.from('not looked at any more')];
  expect(() => readClips(more, audio, null, 1200)).toThrow('too long for one request');
  expect(readClips(more, audio, null)).toHaveLength(5);
});

it('stores audio undecoded until the store decodes it to the same features', () => {
  const names = ['mono-16.flac', 'stereo-16.wav', 'mono-mulaw.wav', 'loud-24.flac'];
  const files = names.map((name) => readFileSync(join(GOLDEN, name)));
  const store = new MediaStore(dir);
  const origins = files.map((_, i) => ({ param: 'training_file', line: i + 1 }));
  const kept = readClips(files, audio, { store, origins }) as ClipFacts[];
  const now = readClips(files, audio, null) as ClipFacts[];
  const known = (found: readonly ClipFacts[]): object[] =>
    found.map(({ clip: _, ...rest }) => rest);
  expect(known(kept)).toEqual(known(now));
  expect(() => kept[0]!.clip!.features()).toThrow();
  expect([...store.making(() => {})]).toHaveLength(1);
  for (const [i, { clip }] of kept.entries())
    expect(clip!.features().toArray()).toEqual(now[i]!.clip!.features().toArray());
  store.close();
});

it('rejects header errors immediately and decoding errors by their line', () => {
  const flac = readFileSync(join(GOLDEN, 'mono-16.flac'));
  const broken = Buffer.from(flac);
  broken[broken.length - 1]! ^= 1; // in the last frame's checksum
  const store = new MediaStore(dir);
  const origins = [3, 4, 5].map((line) => ({ param: 'validation_file', line }));
  const found = readClips([flac, broken, Buffer.from('ID3')], audio, { store, origins });
  expect(found.map((one) => typeof one)).toEqual(['object', 'object', 'string']);
  expect(found[2]).toContain('expected WAV or FLAC, got MP3');
  expect(() => [...store.making(() => {})]).toThrow(
    expect.objectContaining({
      message: expect.stringMatching(/line 4.*wrong checksum/),
      param: 'validation_file',
    }),
  );
  store.close();
});

it('decodes batches of half a million values, however small the files are', () => {
  const store = new MediaStore(dir);
  const files = Array.from({ length: 8 }, (_, i) => sound(131_072, i));
  const origins = files.map((_, i) => ({ param: 'training_file', line: i + 1 }));
  readClips(files, audio, { store, origins });
  expect([...store.making(() => {})]).toHaveLength(4); // two clips of two channels each
  store.close();
});
