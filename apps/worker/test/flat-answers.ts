import type { GenerateAnswer, InferAnswer, TranscribeAnswer } from '@graft/contracts';
import type { AnswerFact, Fact } from '../src/protocol/protocol.js';

/** An answer fact with the fields of its piece beside its own. */
export type FlatAnswer = Omit<AnswerFact, 'piece'> &
  Partial<GenerateAnswer & InferAnswer & TranscribeAnswer>;

/** What a scheduler is given as `send`: it adds the answer facts to `facts`. */
export const collecting =
  (facts: FlatAnswer[]) =>
  (fact: Fact): void => {
    if (fact.type === 'answer') facts.push({ ...fact, ...(fact.piece as object | null) });
  };
