// What the bases of labelled sounds read; their numbers are heads.spec.ts's.
import { join } from 'node:path';
import { mapSafetensors } from '@graft/kernels';
import { buildModel, type HfConfig } from '@graft/peft-core';
import { expect, it } from 'vitest';
import { familiesOf, HERE, json } from './golden-case.js';

it.each(familiesOf('audio_cls'))('%s reads sounds, and refuses what is none', (family) => {
  const file = mapSafetensors(join(HERE, family, 'base', 'model.safetensors'));
  const config = json<HfConfig>(family, 'base', 'config.json');
  const model = buildModel(config, file.tensors, { dtype: 'f32', quantization: null });
  // of files that have a decoder, too, all is read: other tasks write with it
  const vocabulary = family === 'whisper-audio' ? config['vocab_size'] : 0;
  expect([model.inputKind, model.vocabSize]).toEqual(['audio', vocabulary]);
  expect(() => model.inputRows([1, 5, 5])).toThrow(
    /expected (audio|a spectrogram) of .*, got 1 × 5 × 5/,
  );
  model.dispose();
  file.close();
});
