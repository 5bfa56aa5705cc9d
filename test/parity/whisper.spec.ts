// Real Whisper tiny.en, from sound to text: what is heard and written is what transformers writes, token by token
// (test/golden/whisper_tiny.py).
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { answersTo, loadBase, taskFor } from '@graft/peft-core';
import { expect, it } from 'vitest';
import { dataUrl } from '../tiny-pictures.js';

const ROOT = join(import.meta.dirname, '../..');
const FOLDER = join(ROOT, '.cache/whisper-tiny.en');
const isThere = existsSync(join(FOLDER, 'model.safetensors'));
if (!isThere)
  console.warn(
    `skipped: real Whisper, because ${FOLDER} is missing (python3 test/golden/whisper_tiny.py fetches it)`,
  );

it.skipIf(!isThere)('hears and writes what transformers does', { timeout: 120_000 }, () => {
  const golden = JSON.parse(readFileSync(join(ROOT, 'test/golden/whisper-tiny.json'), 'utf8')) as {
    sound: string;
    text: string;
  };
  const base = loadBase(FOLDER, { dtype: 'f32', quantization: null });
  const task = taskFor('speech_seq_2_seq');
  const options = task.options.parse({}) as Record<string, unknown>;
  const infer = task.infer!;
  const sound = readFileSync(join(ROOT, 'test/golden/audio', golden.sound));
  const record = infer.record(dataUrl(sound, 'audio/flac'));
  const how = { maxSeqLen: 1500, vocabSize: base.model.vocabSize, taskOptions: options };
  const examples = infer.encode([record], base.processor, how).map(({ example }) => example);
  const answers = answersTo(infer, base.model, [{ run: -1, examples, options }]);
  expect(answers).toEqual([{ text: golden.text }]);
  base.dispose();
});
