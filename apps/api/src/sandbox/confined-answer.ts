// JSON result of a program that reads an untrusted file. An error in the file is a result too: the refusal
// keeps its code and its field.
import { DomainError, isErrorCode, type ErrorCode } from '@graft/contracts';
import { z } from 'zod';
import { confined, type Confined } from './confined-process.js';

const MOST_BYTES = 8 * 2 ** 20;
/** Maximum number of characters of a refusal's message and field. */
const MOST_SAID = 16_384;

/** Validated strictly: a program compromised by a file can write anything. */
const Answer = z.union([
  z.strictObject({ value: z.unknown() }).refine((answer) => 'value' in answer),
  z.strictObject({
    refused: z.strictObject({
      code: z.string().refine(isErrorCode),
      message: z.string().max(MOST_SAID),
      param: z.string().max(MOST_SAID).nullable(),
    }),
  }),
]);

/** Error in a file, for the user who uploaded it. */
export interface Refusal {
  readonly code: ErrorCode;
  readonly message: string;
  readonly param: string | null;
}

export type ConfinedAnswer<T> = { readonly value: T } | { readonly refused: Refusal };

/** @throws DomainError that the program returned; the order's failure if there is no valid result */
export async function confinedAnswer<T>(order: Confined): Promise<T> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of confined(order)) {
    bytes += part.length;
    if (bytes > MOST_BYTES)
      throw order.failure(`the result is larger than ${MOST_BYTES / 2 ** 20} MiB`);
    parts.push(part);
  }
  const answer = parsed<T>(Buffer.concat(parts).toString('utf8'));
  if (answer === null) throw order.failure('it is damaged');
  if ('value' in answer) return answer.value;
  const { code, message, param } = answer.refused;
  throw new DomainError(code, message, param);
}

function parsed<T>(text: string): ConfinedAnswer<T> | null {
  try {
    const answer = Answer.safeParse(JSON.parse(text));
    return answer.success ? (answer.data as ConfinedAnswer<T>) : null;
  } catch {
    // The program was stopped early, or the file made it write something else.
    return null;
  }
}
