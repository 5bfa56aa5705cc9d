// Bases of sounds small enough for a test to train in a second, golden ones with a feature extractor, and sounds for them:
// tones of three pitches, each with noise of its own.
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeTinyBase } from './tiny-base.js';
import { dataUrl } from './tiny-pictures.js';

const GOLDEN = join(import.meta.dirname, 'golden');

/** Of each golden base, the feature extractor that fits. */
const PREPROCESSORS = {
  wav2vec2: { feature_extractor_type: 'Wav2Vec2FeatureExtractor', sampling_rate: 16_000 },
  'wav2vec2-ctc': { feature_extractor_type: 'Wav2Vec2FeatureExtractor', sampling_rate: 16_000 },
  'audio-spectrogram-transformer': {
    feature_extractor_type: 'ASTFeatureExtractor',
    sampling_rate: 16_000,
    num_mel_bins: 11,
    max_length: 15,
  },
  // 20 frames in a second
  whisper: {
    feature_extractor_type: 'WhisperFeatureExtractor',
    feature_size: 6,
    hop_length: 800,
    chunk_length: 1,
  },
} as const;
export type SoundBase = keyof typeof PREPROCESSORS;

/** Writes the folder and returns it. @param changes to config.json */
export function writeTinySoundBase(dir: string, base: SoundBase, changes: object = {}): string {
  mkdirSync(dir, { recursive: true });
  const from = join(GOLDEN, base, 'base');
  copyFileSync(join(from, 'model.safetensors'), join(dir, 'model.safetensors'));
  const config = JSON.parse(readFileSync(join(from, 'config.json'), 'utf8')) as object;
  writeFileSync(join(dir, 'config.json'), JSON.stringify({ ...config, ...changes }));
  writeFileSync(join(dir, 'preprocessor_config.json'), JSON.stringify(PREPROCESSORS[base]));
  return dir;
}

export type Pitch = 'low' | 'middle' | 'high';
export const PITCHES: readonly Pitch[] = ['low', 'middle', 'high'];
const HERTZ: Readonly<Record<Pitch, number>> = { low: 300, middle: 1200, high: 3600 };

/** The same of one that writes, whose tokenizer has a token for each character. */
export function writeTinySpeechBase(dir: string): string {
  writeTinyBase(dir, 'whisper');
  return writeTinySoundBase(dir, 'whisper', { decoder_start_token_id: 1, eos_token_id: 2 });
}

/** And of one that spells, with the letters of pitches. */
export function writeTinySpellingBase(dir: string, changes: object = {}): string {
  writeTinySoundBase(dir, 'wav2vec2-ctc', changes);
  const letters = ['<pad>', '|', ...new Set(PITCHES.join(''))];
  const vocabulary = Object.fromEntries(letters.map((letter, id) => [letter, id]));
  writeFileSync(join(dir, 'vocab.json'), JSON.stringify(vocabulary));
  const config = { tokenizer_class: 'Wav2Vec2CTCTokenizer' };
  writeFileSync(join(dir, 'tokenizer_config.json'), JSON.stringify(config));
  return dir;
}

/** Whisper's own, with times up to 0.4 s. */
const SPEECH_TOKENS = [
  ...['en', 'de', 'transcribe', 'startofprev', 'nospeech', 'notimestamps'],
  ...Array.from({ length: 21 }, (_, i) => (i / 50).toFixed(2)),
].map((name) => `<|${name}|>`);

/** The same with tokens for languages and times, in the place of its last letters. */
export function writeTinyTimedBase(dir: string): string {
  writeTinySpeechBase(dir);
  const path = join(dir, 'tokenizer.json');
  const json = JSON.parse(readFileSync(path, 'utf8')) as {
    added_tokens: { id: number; content: string }[];
    model: { vocab: Record<string, number> };
  };
  const words = Object.keys(json.model.vocab);
  const first = words.length - SPEECH_TOKENS.length;
  for (const [i, content] of SPEECH_TOKENS.entries()) {
    delete json.model.vocab[words[first + i] as string];
    json.model.vocab[content] = first + i;
    json.added_tokens.push({ ...json.added_tokens[0], content, id: first + i });
  }
  writeFileSync(path, JSON.stringify(json));
  return dir;
}

/** A WAV file of one channel of 16 bits. */
export function wav(samples: readonly number[], samplingRate: number): Buffer {
  const data = Buffer.alloc(2 * samples.length);
  samples.forEach((value, i) => data.writeInt16LE(Math.round(value * 32_767), 2 * i));
  const header = Buffer.alloc(44);
  header.write('RIFF', 0);
  header.writeUInt32LE(36 + data.length, 4);
  header.write('WAVEfmt ', 8);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20);
  header.writeUInt16LE(1, 22);
  header.writeUInt32LE(samplingRate, 24);
  header.writeUInt32LE(2 * samplingRate, 28);
  header.writeUInt16LE(2, 32);
  header.writeUInt16LE(16, 34);
  header.write('data', 36);
  header.writeUInt32LE(data.length, 40);
  return Buffer.concat([header, data]);
}

/** The `place`-th of a pitch: so long, or a little more; every other at half the rate. */
export function tone(pitch: Pitch, place: number, seconds = 0.05): Buffer {
  const rate = place % 2 === 0 ? 16_000 : 8000;
  const samples = Array.from({ length: rate * seconds + 7 * place }, (_, i) => {
    const noise = (((place + 1) * (i * i + 13 * i)) % 61) / 61 - 0.5;
    return 0.5 * Math.sin((2 * Math.PI * HERTZ[pitch] * i) / rate) + 0.05 * noise;
  });
  return wav(samples, rate);
}

/** JSONL of so many sounds, one pitch after another. @param key what says which it is */
export function writeSounds(path: string, count: number, key = 'label', seconds = 0.05): string {
  const lines = Array.from({ length: count }, (_, i) => {
    const label = PITCHES[i % PITCHES.length] as Pitch;
    return JSON.stringify({ audio: dataUrl(tone(label, i, seconds), 'audio/wav'), [key]: label });
  });
  writeFileSync(path, `${lines.join('\n')}\n`);
  return path;
}
