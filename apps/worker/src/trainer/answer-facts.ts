import type { AnswerOf, RequestKind } from '@graft/contracts';
import { failureOf } from '@graft/peft-core';
import type { AnswerFact, AskCommand } from '../protocol/protocol.js';

type Asked<K extends RequestKind> = Pick<AskCommand<K>, 'id' | 'kind'>;

export const answered = <K extends RequestKind>(
  { id, kind }: Asked<K>,
  piece: AnswerOf<K>,
  last: boolean,
): AnswerFact<K> => ({
  type: 'answer',
  id,
  kind,
  piece,
  last,
  errorCode: null,
  errorMessage: null,
});

export function failed<K extends RequestKind>(
  { id, kind }: Asked<K>,
  error: unknown,
): AnswerFact<K> {
  const { code, message } = failureOf(error);
  return {
    type: 'answer',
    id,
    kind,
    piece: null,
    last: true,
    errorCode: code,
    errorMessage: message,
  };
}
