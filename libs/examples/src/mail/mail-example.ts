import { smolLm2 } from './smollm2.js';
import type { Example } from '../example.js';
import { question, spamData, SYSTEM, type HeldOutMail } from './spam-data.js';

export const mailExample: Example<HeldOutMail> = {
  name: 'mail',
  summary: 'classifies mail as spam or ham (language model)',
  licence: 'public domain',
  several: 'emails',
  heading: 'subject',
  job: {
    suffix: 'spam',
    seed: 1,
    method: {
      type: 'supervised',
      supervised: { hyperparameters: { n_epochs: 1, batch_size: 4 } },
    },
    peft: { peft_type: 'LORA', r: 16, lora_alpha: 32, target_modules: 'all-linear' },
    graft: { learning_rate: 5e-4, lr_schedule: 'cosine', warmup_ratio: 0.1 },
  },
  base: smolLm2,
  data: spamData,
  question: {
    kind: 'chat',
    messages: ({ mail }) => [
      { role: 'system', content: SYSTEM },
      { role: 'user', content: question(mail) },
    ],
    maxTokens: 6,
  },
  asksBase: true,
  /** Whether the first word of the answer is the label. */
  isRight: (answer, { label }) => /[a-z]+/.exec(answer.toLowerCase())?.[0] === label,
  next: (graft, job) => [
    `${graft} chat ${job.fine_tuned_model} "Subject: You have won a holiday"`,
    `${graft} jobs`,
    `${graft} submit --model ${job.model} --train yours.jsonl --method LORA --set peft.r=16 --watch`,
  ],
};
