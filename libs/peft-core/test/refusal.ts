import { DomainError } from '@graft/contracts';

/** Returns the DomainError that a call throws. */
export function refusal(call: () => unknown): DomainError {
  try {
    call();
  } catch (error) {
    if (error instanceof DomainError) return error;
    throw error;
  }
  throw new Error('was accepted');
}
