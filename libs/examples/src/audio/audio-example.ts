import { classificationExample } from '../classification-example.js';
import { voicesData } from './voices-data.js';
import { whisperTiny } from './whisper-tiny.js';

export const audioExample = classificationExample({
  medium: 'audio',
  name: 'audio',
  summary: 'recognizes six telephone voices (audio model)',
  licence: 'CC BY-SA 3.0, CC BY 3.0, BSD-2-Clause and GPL-2.0',
  several: 'announcements',
  heading: 'audio',
  suffix: 'voices',
  learningRate: 1e-3,
  base: whisperTiny,
  data: voicesData,
  also: (graft, { model }) =>
    `${graft} transcribe --model ${model} yours.wav    # the base model transcribes English`,
});
