import { DomainError } from '@graft/contracts';

/** The field and the message of the refusal that a call ends in. */
export function caughtSync(work: () => unknown): [param: string | null, message: string] {
  try {
    work();
  } catch (error) {
    if (error instanceof DomainError) return [error.param, error.message];
    throw error;
  }
  throw new Error('no refusal');
}
