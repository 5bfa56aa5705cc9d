import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import { DomainError } from '@graft/contracts';
import type { Request } from 'express';
import { traceParentOf, type TraceParent } from '../traces/trace-parent.js';
import type { RetryMarks } from './repeated-calls.js';

/** What the headers of a create call say. */
export interface CallHeaders {
  readonly marks: RetryMarks;
  readonly parent: TraceParent;
}

/** The headers of a create call: its idempotency key, the retry count of OpenAI's SDKs, and its trace. */
export const CreateHeaders = createParamDecorator(
  (_: unknown, context: ExecutionContext): CallHeaders => {
    const request = context.switchToHttp().getRequest<Request>();
    return {
      marks: retryMarks(
        request.header('idempotency-key'),
        request.header('x-stainless-retry-count'),
      ),
      parent: traceParentOf(request.headers),
    };
  },
);

/** @param retries the count that OpenAI's SDKs send with a call that they repeat */
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
