import { dinov2Small } from './dinov2.js';
import { fashionData, onePicture, type HeldOutPicture } from './fashion-data.js';
import type { Example } from '../example.js';

export const imagesExample: Example<HeldOutPicture> = {
  name: 'images',
  summary: 'tells ten kinds of clothes and shoes apart by their pictures (a vision model)',
  licence: 'MIT licence',
  several: 'pictures',
  heading: 'picture',
  job: {
    suffix: 'clothes',
    seed: 1,
    method: {
      type: 'supervised',
      supervised: { hyperparameters: { n_epochs: 2, batch_size: 8 } },
    },
    peft: { peft_type: 'LORA', r: 8, lora_alpha: 16, target_modules: 'all-linear' },
    graft: {
      task: 'image_cls',
      learning_rate: 3e-4,
      lr_schedule: 'cosine',
      warmup_ratio: 0.1,
      loss_ledger: true,
    },
  },
  base: dinov2Small,
  data: fashionData,
  question: { kind: 'classify', input: ({ image }) => ({ image }) },
  asksBase: false,
  isRight: (answer, { label }) => answer === label,
  next: (graft, job, data) => [
    `${graft} classify ${job.fine_tuned_model} --image ${onePicture(data)}`,
    `${graft} ledger ${job.id}    # what it has learnt worst; with the pictures: the job's page, Data`,
    `${graft} submit --model ${job.model} --train yours.zip --set graft.task=image_cls --watch`,
  ],
};
