// Loads audio classification bases. heads.spec.ts compares their values.
import { join } from 'node:path';
import { mapSafetensors } from '@graft/kernels';
import { buildModel, type HfConfig } from '@graft/peft-core';
import { expect, it } from 'vitest';
import { familiesOf, HERE, json } from './golden-case.js';

it.each(familiesOf('audio_cls'))('%s accepts audio, and rejects other input', (family) => {
  const file = mapSafetensors(join(HERE, family, 'base', 'model.safetensors'));
  const config = json<HfConfig>(family, 'base', 'config.json');
  const model = buildModel(config, file.tensors, { dtype: 'f32', quantization: null });
  // bases with a decoder load it as well, because other tasks generate text with it
  const vocabulary = family === 'whisper-audio' ? config['vocab_size'] : 0;
  expect([model.inputKind, model.vocabSize]).toEqual(['audio', vocabulary]);
  expect(() => model.inputRows([1, 5, 5])).toThrow(
    /expected (audio|a spectrogram) of .*, got 1 × 5 × 5/,
  );
  model.dispose();
  file.close();
});
