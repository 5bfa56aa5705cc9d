// Transcripts of clips longer than a window of the base, with and without timestamps.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TranscriptOptions, TranscriptSegment } from '@graft/contracts';
import { setThreads } from '@graft/kernels';
import { answersTo, BARE_BASE, loadBase, taskFor, Transcript, type Base } from '@graft/peft-core';
import { decodeAudio } from '@graft/peft-core/media';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import wavefile from 'wavefile';
import { PITCHES, tone, writeTinyCtcBase, writeTinySpeechBase, writeTinyTimedBase } from '../tiny-audio.js'; // prettier-ignore

const RATE = 16_000;
let dir: string;
let plain: Base;
let timed: Base;
let ctc: Base;
beforeAll(() => {
  setThreads(1);
  dir = mkdtempSync(join(tmpdir(), 'graft-transcripts-'));
  const load = (folder: string): Base => loadBase(folder, { dtype: 'f32', quantization: null });
  plain = load(writeTinySpeechBase(join(dir, 'plain')));
  timed = load(writeTinyTimedBase(join(dir, 'timed')));
  ctc = load(writeTinyCtcBase(join(dir, 'letters')));
});
afterAll(() => {
  for (const base of [plain, timed, ctc]) base.dispose();
  rmSync(dir, { recursive: true, force: true });
});

const PARAMETERS = { language: null, prompt: null, temperature: 0, seed: 1, segments: false };
const ofSeconds = (seconds: number): Float32Array => {
  const tones = PITCHES.map((pitch, i) => decodeAudio(tone(pitch, 2 * i, seconds / 3)).samples);
  return Float32Array.from(tones.flatMap((samples) => [...samples]));
};

interface Written {
  readonly texts: readonly string[];
  readonly segments: readonly TranscriptSegment[];
  readonly transcript: Transcript;
}

function written(
  base: Base,
  samples: Float32Array,
  asked: Partial<TranscriptOptions> = {},
  task = 'speech_seq_2_seq',
): Written {
  const { infer, options } = taskFor(task);
  const of = { run: BARE_BASE, options: options.parse({}), samples };
  const transcript = new Transcript(base, infer!, of, { ...PARAMETERS, ...asked });
  const texts: string[] = [];
  const segments: TranscriptSegment[] = [];
  for (let isLast = false; !isLast;) {
    const piece = transcript.step();
    if (piece.text !== '') texts.push(piece.text);
    segments.push(...piece.segments);
    ({ isLast } = piece);
  }
  return { texts, segments, transcript };
}

/** Transcript of one window. */
function alone(base: Base, samples: Float32Array, task: string): string {
  const { infer, options } = taskFor(task);
  const file = new wavefile.WaveFile();
  file.fromScratch(1, RATE, '32f', samples);
  const record = infer!.record(file.toDataURI());
  const taskOptions = options.parse({}) as Record<string, unknown>;
  const how = { maxSeqLen: 4000, vocabSize: base.model.vocabSize, taskOptions };
  const examples = infer!.encode([record], base.processor, how).map(({ example }) => example);
  const [said] = answersTo(infer!, base.model, [{ run: BARE_BASE, examples, options: taskOptions }]); // prettier-ignore
  return (said as { text: string }).text;
}

describe('a base with timestamps', () => {
  it('continues from the last timestamp, and joins the texts of the segments', () => {
    const samples = ofSeconds(3.3);
    const { texts, segments, transcript } = written(timed, samples, { segments: true });
    expect(transcript.seconds).toBeCloseTo(3.3, 1);
    expect(segments.length).toBeGreaterThanOrEqual(3);
    expect(texts.join('').replaceAll(/\s/g, '')).toBe(
      segments.map(({ text }) => text).join('').replaceAll(/\s/g, ''), // prettier-ignore
    );
    const first = timed.tokenizer.encode('<|0.00|>')[0] as number;
    let last = 0;
    for (const { start, end, seek, tokens, avg_logprob, no_speech_prob } of segments) {
      expect(start).toBeGreaterThanOrEqual(last);
      expect(end).toBeGreaterThanOrEqual(start);
      expect(start).toBeGreaterThanOrEqual(seek / 100 - 0.005);
      expect(end).toBeLessThanOrEqual(transcript.seconds);
      expect(tokens[0]).toBeGreaterThanOrEqual(first);
      expect(avg_logprob).toBeLessThan(0);
      expect(no_speech_prob).toBeGreaterThan(0);
      last = start;
    }
  });

  it('uses timestamps for a long clip by default, and not for a short one', () => {
    const long = written(timed, ofSeconds(3.3));
    expect(long.texts).toEqual(written(timed, ofSeconds(3.3), { segments: true }).texts);
    const short = ofSeconds(0.9);
    const { texts, segments } = written(timed, short, { language: 'de' });
    expect(segments).toEqual([]);
    // Token by token.
    expect(texts.length).toBeGreaterThan(1);
  });

  it('detects the language if none is set', () => {
    const samples = ofSeconds(0.9);
    const { transcript, texts } = written(timed, samples);
    expect(['en', 'de']).toContain(transcript.language);
    const withLanguage = written(timed, samples, { language: transcript.language });
    expect(withLanguage.texts).toEqual(texts);
    // The language is detected by a forward pass that generates nothing.
    expect(withLanguage.transcript.tokens).toBe(transcript.tokens);
    const likely = (language: string | null): number | undefined =>
      written(timed, samples, { language, segments: true }).segments[0]?.avg_logprob;
    const other = transcript.language === 'en' ? 'de' : 'en';
    expect(likely(null)).toBe(likely(transcript.language));
    expect(likely(other)).not.toBeCloseTo(likely(null) ?? 0, 6);
    expect(() => written(timed, samples, { language: 'fr' })).toThrow('expected en, de, or remove it'); // prettier-ignore
  });

  it('prepends the prompt to the first window, or its end if it is long', () => {
    const samples = ofSeconds(0.9);
    const language = 'en';
    const { texts } = written(timed, samples, { language });
    const prompted = written(timed, samples, { language, prompt: 'abc' });
    expect(prompted.texts).not.toEqual(texts);
    const end = 'abcdefghij';
    expect(written(timed, samples, { language, prompt: `${'q'.repeat(60)}${end}` }).texts).toEqual(
      written(timed, samples, { language, prompt: `${'z'.repeat(60)}${end}` }).texts,
    );
  });

  it('does not parse special tokens in a prompt', () => {
    const samples = ofSeconds(0.9);
    expect(() =>
      written(timed, samples, { language: 'en', prompt: 'ab <|startofprev|> c' }),
    ).toThrow("prompt: expected text, got the base's special token <|startofprev|>");
  });

  it('samples with its seed at a temperature above 0', () => {
    const samples = ofSeconds(0.9);
    const drawn = (seed: number): string => written(timed, samples, { language: 'en', temperature: 1, seed }).texts.join(''); // prettier-ignore
    expect(drawn(3)).toBe(drawn(3));
    expect(new Set([1, 2, 3, 4].map(drawn)).size).toBeGreaterThan(1);
  });
});

describe('a base without times', () => {
  it('fails when its scores are NaN', () => {
    expect(() => written(plain, ofSeconds(0.3).fill(NaN))).toThrow(
      'the model computes NaN for the next token',
    );
  });

  it('transcribes each window separately, split where it is quiet', () => {
    const samples = ofSeconds(1.8);
    const gap = Math.round(0.9 * RATE);
    samples.fill(0, gap - 200, gap + 200);
    const { texts } = written(plain, samples);
    // Spans of 107 samples are checked every 11 samples, from the end of the window: the first silent one.
    const [quiet, step] = [107, 11];
    let at = RATE - quiet;
    while (at + quiet > gap + 200) at -= step;
    const cut = at + 53;
    const windows = [samples.subarray(0, cut), samples.subarray(cut)];
    const [first, second] = windows.map((one) => alone(plain, one, 'speech_seq_2_seq'));
    expect(texts.join('')).toBe(`${first} ${second}`);
  });
});

describe('a CTC base', () => {
  it('transcribes one window at a time', () => {
    const samples = ofSeconds(0.5);
    const { texts, transcript } = written(ctc, samples, {}, 'ctc');
    expect(texts.join('')).toBe(alone(ctc, samples, 'ctc').trim());
    expect(transcript.tokens).toBe(0);
    expect(transcript.rows).toBeGreaterThan(10);
  });

  it.each([
    [{ language: 'en' }, /language: the model uses CTC/],
    [{ prompt: 'a' }, /prompt: the model uses CTC/],
    [{ temperature: 0.5 }, /temperature: .*it does not sample/],
    [{ segments: true }, /response_format: .*use json or text/],
  ])('rejects %j', (asked, message) => {
    expect(() => written(ctc, ofSeconds(0.3), asked, 'ctc')).toThrow(message);
  });
});
