// One answer of a program that reads a stranger's file, as JSON. What the file lacks is an answer, too: the refusal keeps
// its code and its field.
import { DomainError, type ErrorCode } from '@graft/contracts';
import { confined, type Confined } from './confined-process.js';

const MOST_BYTES = 8 * 2 ** 20;

/** What is wrong with a file, for whoever sent it. */
export interface Refusal {
  readonly code: ErrorCode;
  readonly message: string;
  readonly param: string | null;
}

export type ConfinedAnswer<T> = { readonly value: T } | { readonly refused: Refusal };

/** @throws DomainError what the program refuses; the order's failure where it gives no answer */
export async function confinedAnswer<T>(order: Confined): Promise<T> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of confined(order)) {
    bytes += part.length;
    if (bytes > MOST_BYTES) throw order.failure('there is too much to say of it');
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
    return JSON.parse(text) as ConfinedAnswer<T>;
  } catch {
    // The program was stopped half-way, or says what the file made it say.
    return null;
  }
}
