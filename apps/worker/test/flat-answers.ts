import type { GenerateAnswer, InferAnswer, TranscribeAnswer } from '@graft/contracts';
import type { AnswerFact, Fact } from '../src/protocol/protocol.js';

/** Answer fact merged with the fields of its chunk. */
export type FlatAnswer = Omit<AnswerFact, 'piece'> &
  Partial<GenerateAnswer & InferAnswer & TranscribeAnswer>;

/** Returns a `send` function for a scheduler that adds its answer facts to `facts`. */
export const collecting =
  (facts: FlatAnswer[]) =>
  (fact: Fact): void => {
    if (fact.type === 'answer') facts.push({ ...fact, ...(fact.piece as object | null) });
  };
