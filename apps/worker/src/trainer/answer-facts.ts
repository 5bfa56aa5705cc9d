import type { AnswerOf, RequestKind } from '@graft/contracts';
import { failureOf } from '@graft/peft-core';
import type { AnswerFact } from '../protocol/protocol.js';

type Piece = AnswerOf<RequestKind>;

export function answered(id: string, piece: Piece, last: boolean): AnswerFact {
  return { type: 'answer', id, piece, last, errorCode: null, errorMessage: null };
}

export function failed(id: string, error: unknown): AnswerFact {
  const { code, message, param } = failureOf(error);
  const failure = { errorCode: code, errorMessage: message, errorParam: param };
  return { type: 'answer', id, piece: null, last: true, ...failure };
}
