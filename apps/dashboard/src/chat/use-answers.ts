import { useEffect, useRef, useState } from 'react';

/** Answer of a model: null until it arrives. */
export type ModelAnswer<T> = T | Error | null;

/** Answers of several models to the same input. */
export interface Answers<Input, T> {
  /** Input that was sent last. Null before the first. */
  readonly input: Input | null;
  /** One entry per model, in the same order. */
  readonly answers: readonly ModelAnswer<T>[];
  readonly busy: boolean;
  readonly submit: (input: Input) => void;
  readonly stop: () => void;
}

/** Sends an input to all models. A new input cancels the requests for the previous one. */
export function useAnswers<Input, T>(
  models: readonly string[],
  ask: (model: string, input: Input, signal: AbortSignal) => Promise<T>,
): Answers<Input, T> {
  const [input, setInput] = useState<Input | null>(null);
  const [answers, setAnswers] = useState<readonly ModelAnswer<T>[]>([]);
  const [busy, setBusy] = useState(false);
  const controller = useRef<AbortController | null>(null);
  useEffect(() => () => controller.current?.abort(), []);
  const submit = async (sent: Input) => {
    controller.current?.abort();
    const { signal } = (controller.current = new AbortController());
    setInput(sent);
    setAnswers(models.map(() => null));
    setBusy(true);
    await Promise.all(
      models.map((model, at) =>
        ask(model, sent, signal)
          .catch((error: Error) => error)
          .then((answer) => signal.aborted || setAnswers((now) => now.with(at, answer))),
      ),
    );
    if (!signal.aborted) setBusy(false);
  };
  const stop = () => {
    controller.current?.abort();
    setBusy(false);
    setAnswers((now) => now.map((one) => one ?? new Error('Stopped.')));
  };
  return { input, answers, busy, submit: (sent) => void submit(sent), stop };
}
