import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import { DomainError } from '@graft/contracts';
import type { Request } from 'express';
import { traceParentOf, type TraceParent } from '../traces/trace-parent.js';
import type { RetryMarks } from './repeated-calls.js';

/** Headers of a create call. */
export interface CallHeaders {
  readonly marks: RetryMarks;
  readonly parent: TraceParent;
}

/** Reads the headers of a create call: idempotency key, retry count of OpenAI's SDKs and trace context. */
export const CreateHeaders = createParamDecorator(
  (_: unknown, context: ExecutionContext): CallHeaders => {
    const request = context.switchToHttp().getRequest<Request>();
    return {
      marks: parseRetryMarks(
        request.header('idempotency-key'),
        request.header('x-stainless-retry-count'),
      ),
      parent: traceParentOf(request.headers),
    };
  },
);

/**
 * Marks of a repeated call.
 * @param retries retry count that OpenAI's SDKs send
 */
export const parseRetryMarks = (
  key: string | undefined,
  retries: string | undefined,
): RetryMarks => ({
  idempotencyKey: idempotencyKey(key),
  sdkRetry: Number(retries ?? 0) > 0,
});

const LONGEST_KEY = 255;

/** Rejects a key that is too long: a truncated key could equal another one. */
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
