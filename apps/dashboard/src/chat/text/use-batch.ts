import { useEffect, useRef, useState } from 'react';
import { api } from '../../api/api.js';
import { inputOf, type BatchRow } from './batch.js';
import { labelAnswer, type LabelAnswer } from './label-answer.js';

/** Texts per request. More would make the first answers arrive later. */
const PER_REQUEST = 16;

export interface Batch {
  readonly rows: readonly BatchRow[];
  /** Answers by model, then by row. Rows that have none yet are missing. */
  readonly answers: readonly (readonly LabelAnswer[])[];
  readonly error: Error | null;
  readonly busy: boolean;
  readonly start: (rows: readonly BatchRow[]) => void;
  /** Continues after an error or a stop. */
  readonly resume: () => void;
  readonly stop: () => void;
}

/** Classifies many texts with all models, a few at a time. */
export function useBatch(models: readonly string[]): Batch {
  const [rows, setRows] = useState<readonly BatchRow[]>([]);
  const [answers, setAnswers] = useState<readonly (readonly LabelAnswer[])[]>([]);
  const [error, setError] = useState<Error | null>(null);
  const [busy, setBusy] = useState(false);
  const controller = useRef(new AbortController());
  useEffect(() => () => controller.current.abort(), []);

  const run = async (all: readonly BatchRow[], from: readonly (readonly LabelAnswer[])[]) => {
    controller.current.abort();
    const { signal } = (controller.current = new AbortController());
    setRows(all);
    setAnswers(from);
    setError(null);
    setBusy(true);
    const ofModel = async (model: string, side: number) => {
      for (let at = from[side]?.length ?? 0; at < all.length; at += PER_REQUEST) {
        const inputs = all.slice(at, at + PER_REQUEST).map(inputOf);
        const more = (await api.classify(model, inputs, signal)).map(labelAnswer);
        if (signal.aborted) return;
        setAnswers((now) => now.with(side, [...(now[side] ?? []), ...more]));
      }
    };
    try {
      await Promise.all(models.map(ofModel));
    } catch (failure) {
      if (!signal.aborted) setError(failure as Error);
    }
    if (!signal.aborted) setBusy(false);
  };
  return {
    rows,
    answers,
    error,
    busy,
    start: (all) =>
      void run(
        all,
        models.map(() => []),
      ),
    resume: () => void run(rows, answers),
    stop: () => {
      controller.current.abort();
      setBusy(false);
    },
  };
}
