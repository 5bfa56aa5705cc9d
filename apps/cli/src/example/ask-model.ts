import { setTimeout as sleep } from 'node:timers/promises';
import type { HeldOut, Message, Question } from '@graft/examples';
import { ApiError, type Api } from '../client/api.js';
import { bar, type Output } from '../output/terminal.js';

const MAX_RETRIES = 60;
/** Concurrent chats. The trainer generates their tokens in one batch. */
const CONCURRENT_CHATS = 4;
/** Inputs per classification request. There are several requests, so that the progress bar moves. */
const INPUTS_PER_REQUEST = 10;

interface Asking<H extends HeldOut> {
  readonly api: Api;
  readonly model: string;
  readonly question: Question<H>;
  readonly examples: readonly H[];
  /** Title of the progress bar. */
  readonly title: string;
  readonly out: Output;
  readonly signal: AbortSignal;
}

/** Answers of a model to the held-out examples, in the same order. */
export type Answers = readonly string[];

interface Completion {
  readonly choices: readonly { readonly message: { readonly content: string | null } }[];
}

export async function askModel<H extends HeldOut>(asking: Asking<H>): Promise<Answers> {
  const { api, model, question, examples, title, out, signal } = asking;
  const draw = (done: number): void =>
    out.draw(`${title} ${bar(done / examples.length)} ${done}/${examples.length}`);
  const answers: string[] = [];
  if (question.kind === 'chat') {
    let next = 0;
    let done = 0;
    const take = async (): Promise<void> => {
      for (let at = next++; at < examples.length && !signal.aborted; at = next++) {
        const messages = question.messages(examples[at] as H);
        answers[at] = await chat(api, { model, messages, max_tokens: question.maxTokens }, signal);
        done += 1;
        draw(done);
      }
    };
    await Promise.all(Array.from({ length: CONCURRENT_CHATS }, take));
  } else {
    while (answers.length < examples.length && !signal.aborted) {
      const some = examples.slice(answers.length, answers.length + INPUTS_PER_REQUEST);
      const body = { model, input: some.map((example) => question.input(example)) };
      const { data } = await withRetries(signal, () =>
        api.post<{ data: readonly { readonly label: string }[] }>('/classify', body),
      );
      answers.push(...data.map(({ label }) => label));
      draw(answers.length);
    }
  }
  out.draw('');
  return answers;
}

async function chat(
  api: Api,
  request: { model: string; messages: readonly Message[]; max_tokens: number },
  signal: AbortSignal,
): Promise<string> {
  const body = { ...request, temperature: 0 };
  const answer = await withRetries(signal, () =>
    api.raw('POST', '/chat/completions', { body, signal }),
  );
  const { choices } = (await answer.json()) as Completion;
  return (choices[0]?.message.content ?? '').trim();
}

/** Retries while the worker loads the base model (503) or has no capacity (429). */
async function withRetries<T>(signal: AbortSignal, ask: () => Promise<T>): Promise<T> {
  for (let retries = 0; ; retries += 1) {
    try {
      return await ask();
    } catch (error) {
      if (
        !(error instanceof ApiError) ||
        (error.status !== 503 && error.status !== 429) ||
        retries >= MAX_RETRIES
      )
        throw error;
      await sleep((error.retryAfterSeconds ?? 1) * 1000, undefined, { signal });
    }
  }
}
