import type { Example } from '../example.js';
import { oneSound, voicesData, type HeldOutSound } from './voices-data.js';
import { whisperTiny } from './whisper-tiny.js';

export const soundsExample: Example<HeldOutSound> = {
  name: 'sounds',
  summary: 'tells six voices on the telephone apart (a model of sounds)',
  licence: 'CC BY-SA 3.0, CC BY 3.0, BSD-2-Clause and GPL-2.0',
  several: 'announcements',
  heading: 'sound',
  job: {
    suffix: 'voices',
    seed: 1,
    method: {
      type: 'supervised',
      supervised: { hyperparameters: { n_epochs: 2, batch_size: 8 } },
    },
    peft: { peft_type: 'LORA', r: 8, lora_alpha: 16, target_modules: 'all-linear' },
    graft: {
      task: 'audio_cls',
      learning_rate: 1e-3,
      lr_schedule: 'cosine',
      warmup_ratio: 0.1,
      loss_ledger: true,
    },
  },
  base: whisperTiny,
  data: voicesData,
  question: { kind: 'classify', input: ({ audio }) => ({ audio }) },
  asksBase: false,
  isRight: (answer, { label }) => answer === label,
  next: (graft, job, data) => [
    `${graft} classify ${job.fine_tuned_model} --audio ${oneSound(data)}`,
    `${graft} ledger ${job.id}    # what it has learnt worst; with the sounds: the job's page, Data`,
    `${graft} transcribe --model ${job.model} yours.wav    # the base writes what is said in English`,
    `${graft} submit --model ${job.model} --train yours.zip --set graft.task=audio_cls --watch`,
  ],
};
