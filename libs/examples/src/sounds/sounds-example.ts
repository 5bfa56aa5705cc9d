import { classificationExample } from '../classification-example.js';
import { voicesData } from './voices-data.js';
import { whisperTiny } from './whisper-tiny.js';

export const soundsExample = classificationExample({
  medium: 'audio',
  name: 'sounds',
  summary: 'tells six voices on the telephone apart (a model of sounds)',
  licence: 'CC BY-SA 3.0, CC BY 3.0, BSD-2-Clause and GPL-2.0',
  several: 'announcements',
  heading: 'sound',
  suffix: 'voices',
  learningRate: 1e-3,
  base: whisperTiny,
  data: voicesData,
  also: (graft, { model }) =>
    `${graft} transcribe --model ${model} yours.wav    # the base writes what is said in English`,
});
