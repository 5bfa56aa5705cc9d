import { bar } from '../output/terminal.js';
import { smolLm2 } from './smollm2.js';
import type { Answers, Asking, ExampleKind } from './kind.js';
import { patiently } from './patience.js';
import { question, spamData, SYSTEM, type HeldOutMail } from './spam-data.js';

interface Completion {
  readonly choices: readonly { readonly message: { readonly content: string | null } }[];
}

/** Questions under way at a time: the trainer steps them together. */
const AT_ONCE = 4;

export const mailExample: ExampleKind<HeldOutMail> = {
  name: 'mail',
  summary: 'sorts mail into spam and ham (a language model)',
  licence: 'public domain',
  several: 'mails',
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
  askBase: askAll,
  ask: askAll,
  /** Whether an answer says the label: its first word, whatever stands around it. */
  isRight: (answer, { label }) => /[a-z]+/.exec(answer.toLowerCase())?.[0] === label,
  next: (graft, job) => [
    `${graft} chat ${job.fine_tuned_model} "Subject: You have won a holiday"`,
    `${graft} jobs`,
    `${graft} submit --model ${job.model} --train yours.jsonl --method LORA --set peft.r=16 --watch`,
  ],
};

/** Asks a model about every mail, greedily, through the public API. */
async function askAll(asking: Asking<HeldOutMail>): Promise<Answers> {
  const { data, title, out, signal } = asking;
  const examples = data.heldOut;
  const answers: string[] = [];
  let next = 0;
  let done = 0;
  const take = async (): Promise<void> => {
    for (let at = next++; at < examples.length && !signal.aborted; at = next++) {
      answers[at] = await ask(asking, examples[at] as HeldOutMail);
      done += 1;
      out.draw(`${title} ${bar(done / examples.length)} ${done}/${examples.length}`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, take));
  out.draw('');
  return answers;
}

async function ask(
  { api, model, signal }: Asking<HeldOutMail>,
  example: HeldOutMail,
): Promise<string> {
  const body = {
    model,
    messages: [
      { role: 'system', content: SYSTEM },
      { role: 'user', content: question(example.mail) },
    ],
    temperature: 0,
    max_tokens: 6,
  };
  const answer = await patiently(signal, () =>
    api.raw('POST', '/chat/completions', { body, signal }),
  );
  const { choices } = (await answer.json()) as Completion;
  return (choices[0]?.message.content ?? '').trim();
}
