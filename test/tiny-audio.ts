// Audio models small enough to train in a second, golden ones with a feature extractor, and clips for them:
// tones of three pitches with individual noise.
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeTinyBase } from './tiny-base.js';
import { dataUrl } from './tiny-images.js';

const GOLDEN = join(import.meta.dirname, 'golden');

/** Matching feature extractor of each golden base. */
const PREPROCESSORS = {
  wav2vec2: { feature_extractor_type: 'Wav2Vec2FeatureExtractor', sampling_rate: 16_000 },
  'wav2vec2-ctc': { feature_extractor_type: 'Wav2Vec2FeatureExtractor', sampling_rate: 16_000 },
  'audio-spectrogram-transformer': {
    feature_extractor_type: 'ASTFeatureExtractor',
    sampling_rate: 16_000,
    num_mel_bins: 11,
    max_length: 15,
  },
  // 20 frames per second
  whisper: {
    feature_extractor_type: 'WhisperFeatureExtractor',
    feature_size: 6,
    hop_length: 800,
    chunk_length: 1,
  },
} as const;
export type AudioBase = keyof typeof PREPROCESSORS;

/** Writes a golden audio base and returns its folder. @param changes to config.json */
export function writeTinyAudioBase(dir: string, base: AudioBase, changes: object = {}): string {
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

/** Writes a speech recognition base (golden Whisper) with a tokenizer of one token per character. */
export function writeTinySpeechBase(dir: string): string {
  writeTinyBase(dir, 'whisper');
  return writeTinyAudioBase(dir, 'whisper', { decoder_start_token_id: 1, eos_token_id: 2 });
}

/** Writes a CTC base whose vocabulary contains the letters of the pitches. */
export function writeTinyCtcBase(dir: string, changes: object = {}): string {
  writeTinyAudioBase(dir, 'wav2vec2-ctc', changes);
  const tokens = ['<pad>', '|', ...new Set(PITCHES.join(''))];
  const vocabulary = Object.fromEntries(tokens.map((letter, id) => [letter, id]));
  writeFileSync(join(dir, 'vocab.json'), JSON.stringify(vocabulary));
  const config = { tokenizer_class: 'Wav2Vec2CTCTokenizer' };
  writeFileSync(join(dir, 'tokenizer_config.json'), JSON.stringify(config));
  return dir;
}

/** Whisper's special tokens, with timestamps up to 0.4 s. */
const SPEECH_TOKENS = [
  ...['en', 'de', 'transcribe', 'startofprev', 'nospeech', 'notimestamps'],
  ...Array.from({ length: 21 }, (_, i) => (i / 50).toFixed(2)),
].map((name) => `<|${name}|>`);

/** Writes a speech recognition base with language and timestamp tokens, which replace the last letters. */
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

/** WAV file with one channel and 16 bits per sample. */
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

/**
 * Clip number `place` of a pitch, of `seconds` or a little longer. Every second clip has half the sampling
 * rate.
 */
export function tone(pitch: Pitch, place: number, seconds = 0.05): Buffer {
  const rate = place % 2 === 0 ? 16_000 : 8000;
  const samples = Array.from({ length: rate * seconds + 7 * place }, (_, i) => {
    const noise = (((place + 1) * (i * i + 13 * i)) % 61) / 61 - 0.5;
    return 0.5 * Math.sin((2 * Math.PI * HERTZ[pitch] * i) / rate) + 0.05 * noise;
  });
  return wav(samples, rate);
}

/**
 * Writes JSONL with `count` clips, cycling through the pitches. @param key of the pitch's name in a record
 */
export function writeClips(path: string, count: number, key = 'label', seconds = 0.05): string {
  const lines = Array.from({ length: count }, (_, i) => {
    const label = PITCHES[i % PITCHES.length] as Pitch;
    return JSON.stringify({ audio: dataUrl(tone(label, i, seconds), 'audio/wav'), [key]: label });
  });
  writeFileSync(path, `${lines.join('\n')}\n`);
  return path;
}
