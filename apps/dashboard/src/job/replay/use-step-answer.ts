import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useEffect } from 'react';
import { api } from '../../api/api.js';
import { streamAnswer } from '../../chat/conversation/stream-answer.js';
import type { RawAnswer } from '../../chat/text/label-answer.js';
import type { Prompt, Stop } from './stops.js';

/** Short, so that a step answers quickly, and the answer fits the windows of small models. */
const MAX_TOKENS = 64;

export type StepAnswer =
  | { readonly kind: 'text'; readonly text: string; readonly isCut: boolean }
  | { readonly kind: 'labels'; readonly labels: RawAnswer };

/** Question to the model at each stop. */
export interface Question {
  readonly use: 'chat' | 'classify';
  readonly prompt: Prompt;
}

async function ask(
  model: string,
  { use, prompt }: Question,
  signal: AbortSignal,
): Promise<StepAnswer> {
  if (use === 'classify') {
    const [labels = {}] = await api.classify(model, [prompt.text], signal);
    return { kind: 'labels', labels };
  }
  const messages = [
    ...(prompt.system.trim() === '' ? [] : [{ role: 'system', content: prompt.system }]),
    { role: 'user', content: prompt.text },
  ];
  const body = { model, messages, temperature: 0, max_tokens: MAX_TOKENS };
  const { content, figures } = await streamAnswer(body, () => undefined, signal);
  return { kind: 'text', text: content, isCut: figures?.isCut === true };
}

const NOTHING: Question = { use: 'chat', prompt: { system: '', text: '' } };

/** A request for one stop. A checkpoint does not change, so its answer is kept until the page is closed. */
const queryOf = (stop: Stop | undefined, question: Question | null) => ({
  queryKey: ['replay', stop?.model, question],
  queryFn: ({ signal }: { readonly signal: AbortSignal }) =>
    ask(stop?.model ?? '', question ?? NOTHING, signal),
  staleTime: Infinity,
  gcTime: Infinity,
});

export interface Answered {
  readonly answer: StepAnswer | null;
  readonly error: Error | null;
  readonly again: () => void;
}

/**
 * Asks the model at one stop, and then at its neighbors, so that the next move of the slider shows an answer
 * immediately. Moving on cancels a request that is still pending.
 */
export function useStepAnswer(
  stops: readonly Stop[],
  index: number,
  question: Question | null,
): Answered {
  const queries = useQueryClient();
  const stop = stops[index];
  const { data, error, isFetching, refetch } = useQuery({
    ...queryOf(stop, question),
    enabled: question !== null && stop !== undefined,
  });
  const isAnswered = data !== undefined;
  const [after, before] = [stops[index + 1], stops[index - 1]];
  useEffect(() => {
    if (!isAnswered) return;
    for (const neighbor of [after, before])
      if (neighbor) void queries.prefetchQuery(queryOf(neighbor, question));
  }, [isAnswered, queries, after?.model, before?.model, question]);
  return { answer: data ?? null, error: isFetching ? null : error, again: () => void refetch() };
}
