import { DomainError } from '@graft/contracts';
import type { RetryMarks } from './repeated-calls.js';

/** By headers: Idempotency-Key, and what the SDKs of OpenAI count their retries in. */
export const retryMarks = (key: string | undefined, retries: string | undefined): RetryMarks => ({
  idempotencyKey: idempotencyKey(key),
  sdkRetry: Number(retries ?? 0) > 0,
});

const LONGEST_KEY = 255;

/** A key that is cut would be another one's, so a longer one is refused. */
function idempotencyKey(header: string | undefined): string | null {
  if (header && header.length > LONGEST_KEY) {
    throw new DomainError(
      'invalid_value',
      `Idempotency-Key: expected at most ${LONGEST_KEY} characters, got ${header.length}`,
      'Idempotency-Key',
    );
  }
  return header || null;
}
