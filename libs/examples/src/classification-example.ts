import { dirname, join } from 'node:path';
import type { Example, FinishedJob } from './example.js';
import { SINGLE_FILE, type LabelledHeldOut, type Medium } from './labelled-data.js';

const MEDIA = {
  image: { task: 'image_cls', several: 'images' },
  audio: { task: 'audio_cls', several: 'audio clips' },
} as const;

type Own = 'name' | 'summary' | 'licence' | 'several' | 'heading' | 'base' | 'data';

interface Classification<M extends Medium> extends Pick<Example<LabelledHeldOut<M>>, Own> {
  readonly medium: M;
  readonly suffix: string;
  readonly learningRate: number;
  /** Another command to try. */
  readonly also?: (graft: string, job: FinishedJob) => string;
}

/** Creates an example that trains an image or audio classifier. */
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
      `${graft} ledger ${job.id}    # examples it learned worst; to see the ${several}, open the job's page, Data`,
      ...(also ? [also(graft, job)] : []),
      `${graft} submit --model ${job.model} --train yours.zip --set graft.task=${task} --watch`,
    ],
  };
}
