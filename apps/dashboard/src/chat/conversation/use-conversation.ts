import { useEffect, useRef, useState } from 'react';
import { chatBody, type ChatSettings } from './chat-settings.js';
import {
  historyOf,
  openCalls,
  withoutLast,
  withReplies,
  type Exchange,
  type Reply,
} from './exchange.js';
import { problemOf, streamAnswer } from './stream-answer.js';

export interface Conversation {
  readonly exchanges: readonly Exchange[];
  /** Models that are answering, by their position. */
  readonly busy: readonly number[];
  /** Sends a message to all models. */
  readonly send: (text: string) => void;
  /** Replaces a message of the user. The rest of the conversation after it is dropped. */
  readonly edit: (exchange: number, text: string) => void;
  /** Requests the last answer of a model again. */
  readonly again: (side: number) => void;
  /** Sends the results of a model's calls, in their order. */
  readonly answerCalls: (side: number, results: readonly string[]) => void;
  readonly stop: () => void;
  readonly clear: () => void;
}

const STOPPED = { message: 'Stopped.', code: 'stopped', again: true };

/** Adds an empty result for each call without one, because models expect a result for each call. */
const closed = (exchanges: readonly Exchange[], models: number): readonly Exchange[] =>
  Array.from({ length: models }).reduce<readonly Exchange[]>(
    (now, _, side) =>
      withReplies(now, side, (replies) => [
        ...replies,
        ...openCalls(replies).map(({ id }): Reply => ({ role: 'tool', call: id, content: '' })),
      ]),
    exchanges,
  );

/** A conversation with several models. They receive the same messages, and each has its own history. */
export function useConversation(models: readonly string[], settings: ChatSettings): Conversation {
  const [exchanges, setExchanges] = useState<readonly Exchange[]>([]);
  const [busy, setBusy] = useState<readonly number[]>([]);
  const controller = useRef(new AbortController());
  useEffect(() => () => controller.current.abort(), []);

  const ask = async (side: number, from: readonly Exchange[], signal: AbortSignal) => {
    const last = (reply: Reply) =>
      signal.aborted ||
      setExchanges((now) => withReplies(now, side, (all) => [...withoutLast(all), reply]));
    const body = chatBody(models[side] ?? '', historyOf(from, side), settings);
    let soFar: Reply = { role: 'assistant', content: '' };
    setExchanges((now) => withReplies(now, side, (all) => [...all, soFar]));
    try {
      last(await streamAnswer(body, (answer) => last((soFar = answer)), signal));
    } catch (error) {
      const problem = signal.aborted ? STOPPED : problemOf(error as Error);
      setExchanges((now) =>
        withReplies(now, side, (all) => [...withoutLast(all), { ...soFar, problem }]),
      );
    }
  };
  /** Requests answers to a conversation from some of the models. */
  const answer = async (sides: readonly number[], from: readonly Exchange[]) => {
    controller.current = new AbortController();
    const { signal } = controller.current;
    setExchanges(from);
    setBusy(sides);
    await Promise.all(
      sides.map((side) =>
        ask(side, from, signal).finally(() =>
          setBusy((now) => now.filter((other) => other !== side)),
        ),
      ),
    );
  };
  const all = [...models.keys()];
  const started = (user: string): Exchange => ({ user, sides: models.map(() => []) });
  return {
    exchanges,
    busy,
    send: (text) => void answer(all, [...closed(exchanges, models.length), started(text)]),
    edit: (n, text) => void answer(all, [...exchanges.slice(0, n), started(text)]),
    again: (side) => void answer([side], withReplies(exchanges, side, withoutLast)),
    answerCalls: (side, results) =>
      void answer(
        [side],
        withReplies(exchanges, side, (replies) => [
          ...replies,
          ...openCalls(replies).map(({ id }, n): Reply => ({
            role: 'tool',
            call: id,
            content: results[n] ?? '',
          })),
        ]),
      ),
    stop: () => controller.current.abort(),
    clear: () => {
      controller.current.abort();
      setExchanges([]);
    },
  };
}
