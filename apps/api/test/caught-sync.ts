import { DomainError } from '@graft/contracts';

/** Returns the param and the message of the error that a call throws. */
export function caughtSync(work: () => unknown): [param: string | null, message: string] {
  try {
    work();
  } catch (error) {
    if (error instanceof DomainError) return [error.param, error.message];
    throw error;
  }
  throw new Error('no refusal');
}
