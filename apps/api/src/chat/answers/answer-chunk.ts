// One message of an answer, as a worker sends it: read by the schema of its kind of request.
import {
  DomainError,
  joinedAnswer,
  readAnswer,
  type AnswerOf,
  type RequestKind,
} from '@graft/contracts';
import type { ModelResponse } from '@graft/contracts/grpc';

/** What is new of an answer. */
export interface AnswerChunk<K extends RequestKind> {
  /** What the worker does until the answer begins; empty if it does not say. */
  readonly phase: string;
  /** Null: there is only a phase. */
  readonly piece: AnswerOf<K> | null;
}

/** @throws DomainError if a piece does not match the schema of its kind */
export function chunkOf<K extends RequestKind>(
  kind: K,
  { phase, pieces }: ModelResponse,
): AnswerChunk<K> {
  try {
    const read = pieces.map((piece) => readAnswer(kind, JSON.parse(Buffer.from(piece).toString())));
    return { phase, piece: joinedAnswer<K>(read) };
  } catch {
    throw malformedAnswer();
  }
}

export const malformedAnswer = (): DomainError =>
  new DomainError('internal_error', 'the worker’s response is not one for this request');
