import { setTimeout as sleep } from 'node:timers/promises';
import { ApiError, type Api } from '../api.js';
import { bar, type Output } from '../terminal.js';
import { question, SYSTEM, type Example } from './spam-data.js';

/** What a model answered to each example, in their order. */
export type Answers = readonly string[];

interface Completion {
  readonly choices: readonly { readonly message: { readonly content: string | null } }[];
}

/** Questions under way at a time: the trainer steps them together. */
const AT_ONCE = 4;

/** Asks a model about every mail, greedily, through the public API. */
export async function askAll(
  api: Api,
  model: string,
  examples: readonly Example[],
  title: string,
  out: Output,
  signal: AbortSignal,
): Promise<Answers> {
  const answers: string[] = [];
  let next = 0;
  let done = 0;
  const take = async (): Promise<void> => {
    for (let at = next++; at < examples.length && !signal.aborted; at = next++) {
      answers[at] = await ask(api, model, examples[at] as Example, signal);
      done += 1;
      out.draw(`${title} ${bar(done / examples.length)} ${done}/${examples.length}`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, take));
  out.draw('');
  return answers;
}

async function ask(
  api: Api,
  model: string,
  example: Example,
  signal: AbortSignal,
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
  for (let tries = 0; ; tries += 1) {
    try {
      const answer = await api.raw('POST', '/chat/completions', { body, signal });
      const { choices } = (await answer.json()) as Completion;
      return (choices[0]?.message.content ?? '').trim();
    } catch (error) {
      // 503: the worker is loading the base
      if (
        !(error instanceof ApiError) ||
        (error.status !== 503 && error.status !== 429) ||
        tries >= 60
      )
        throw error;
      await sleep((error.retryAfterSeconds ?? 1) * 1000, undefined, { signal });
    }
  }
}

/** Whether an answer says the label: its first word, whatever stands around it. */
export const isRight = (answer: string, { label }: Example): boolean =>
  /[a-z]+/.exec(answer.toLowerCase())?.[0] === label;

/** Share of right answers. */
export const score = (answers: Answers, examples: readonly Example[]): number =>
  examples.filter((example, at) => isRight(answers[at] ?? '', example)).length / examples.length;
