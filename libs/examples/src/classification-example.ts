import { dirname, join } from 'node:path';
import type { Example, FinishedJob } from './example.js';
import { SINGLE_FILE, type LabelledHeldOut, type Medium } from './labelled-data.js';

const MEDIA = {
  image: { task: 'image_cls', several: 'pictures' },
  audio: { task: 'audio_cls', several: 'sounds' },
} as const;

type Own = 'name' | 'summary' | 'licence' | 'several' | 'heading' | 'base' | 'data';

interface Classification<M extends Medium> extends Pick<Example<LabelledHeldOut<M>>, Own> {
  readonly medium: M;
  readonly suffix: string;
  readonly learningRate: number;
  /** A further command to try. */
  readonly also?: (graft: string, job: FinishedJob) => string;
}

/** An example that trains a model to label pictures or sounds. */
export function classificationExample<M extends Medium>({
  medium,
  suffix,
  learningRate,
  also,
  ...own
}: Classification<M>): Example<LabelledHeldOut<M>> {
  const { task, several } = MEDIA[medium];
  return {
    ...own,
    job: {
      suffix,
      seed: 1,
      method: {
        type: 'supervised',
        supervised: { hyperparameters: { n_epochs: 2, batch_size: 8 } },
      },
      peft: { peft_type: 'LORA', r: 8, lora_alpha: 16, target_modules: 'all-linear' },
      graft: {
        task,
        learning_rate: learningRate,
        lr_schedule: 'cosine',
        warmup_ratio: 0.1,
        loss_ledger: true,
      },
    },
    question: { kind: 'classify', input: (example) => ({ [medium]: example[medium] }) },
    asksBase: false,
    isRight: (answer, { label }) => answer === label,
    next: (graft, job, { heldOutFile }) => [
      `${graft} classify ${job.fine_tuned_model} --${medium} ${join(dirname(heldOutFile), SINGLE_FILE[medium])}`,
      `${graft} ledger ${job.id}    # what it has learnt worst; with the ${several}: the job's page, Data`,
      ...(also ? [also(graft, job)] : []),
      `${graft} submit --model ${job.model} --train yours.zip --set graft.task=${task} --watch`,
    ],
  };
}
