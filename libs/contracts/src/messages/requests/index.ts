// Requests to models. gRPC and the pipe to a trainer carry them as JSON in an envelope that names the kind. The API and the
// trainer validate requests and responses with these schemas.
import { z } from 'zod';
import { parseBody } from '../../http/parse-body.js';
import { generateAnswer, generateRequest } from './generate.js';
import { inferAnswer, inferRequest } from './infer.js';
import { transcribeAnswer, transcribeRequest } from './transcribe.js';

export * from './generate.js';
export * from './infer.js';
export * from './transcribe.js';

export const MODEL_REQUESTS = {
  generate: { request: generateRequest, answer: generateAnswer },
  infer: { request: inferRequest, answer: inferAnswer },
  transcribe: { request: transcribeRequest, answer: transcribeAnswer },
};

export type RequestKind = keyof typeof MODEL_REQUESTS;
export type RequestOf<K extends RequestKind> = Readonly<
  z.infer<(typeof MODEL_REQUESTS)[K]['request']>
>;
/** Chunk of a response. */
export type AnswerOf<K extends RequestKind> = Readonly<
  z.infer<(typeof MODEL_REQUESTS)[K]['answer']>
>;

export const requestKind = z.enum(Object.keys(MODEL_REQUESTS) as RequestKind[]);

/** @throws DomainError that names the field */
export const readRequest = <K extends RequestKind>(kind: K, value: unknown): RequestOf<K> =>
  parseBody<z.ZodType>(MODEL_REQUESTS[kind].request, value) as RequestOf<K>;

/** @throws DomainError that names the field */
export const readAnswer = <K extends RequestKind>(kind: K, value: unknown): AnswerOf<K> =>
  parseBody<z.ZodType>(MODEL_REQUESTS[kind].answer, value) as AnswerOf<K>;

/**
 * Merges consecutive chunks of a response: `text` and lists are concatenated, and other fields are taken from the last
 * chunk that has them.
 */
export function joinedAnswer<K extends RequestKind>(
  pieces: readonly AnswerOf<K>[],
): AnswerOf<K> | null {
  if (pieces.length <= 1) return pieces[0] ?? null;
  const joined: Record<string, unknown> = {};
  const texts: string[] = [];
  const lists = new Map<string, unknown[]>();
  for (const piece of pieces)
    for (const [name, value] of Object.entries(piece) as [string, unknown][]) {
      if (name === 'text') texts.push(value as string);
      else if (Array.isArray(value)) {
        const list = lists.get(name) ?? [];
        for (const one of value as unknown[]) list.push(one);
        lists.set(name, list);
      } else joined[name] = value;
    }
  if (texts.length > 0) joined['text'] = texts.join('');
  return { ...joined, ...Object.fromEntries(lists) } as AnswerOf<K>;
}
