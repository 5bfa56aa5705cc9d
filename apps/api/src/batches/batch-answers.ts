import { Injectable } from '@nestjs/common';
import { DomainError, type BatchEndpoint } from '@graft/contracts';
import type { Principal } from '../auth/principal.js';
import { ChatService } from '../chat/chat.service.js';
import { InferenceService } from '../chat/inference/inference.service.js';
import { ResponsesService } from '../chat/responses/responses.service.js';
import { faultOf, isDependency, Outage, toOutageError } from '../faults.js';
import { newId } from '../ids.js';
import { log } from '../log.js';
import type { LineResult } from './batch-claims.js';
import type { BatchLine } from './batch-lines.js';

/** Maximum bytes of a line of the output file. */
const MOST_RESULT_BYTES = 4 * 1024 * 1024;

/** Reason why a line has no answer yet. */
export interface Unanswered {
  readonly error: DomainError;
  /** Measure of how likely the line is the cause: 1 if its trainer crashed, a quarter if contact was lost, or else 0. */
  readonly loss: 0 | 0.25 | 1;
  /** Whether workers only lack capacity. */
  readonly isFull: boolean;
}

type Endpoint = (caller: Principal, body: unknown, left: AbortSignal) => Promise<object | null>;

/** Answers single requests of batches, as their endpoints do. */
@Injectable()
export class BatchAnswers {
  private readonly endpoints: Readonly<Record<BatchEndpoint, Endpoint>>;

  constructor(chats: ChatService, responses: ResponsesService, inferences: InferenceService) {
    this.endpoints = {
      '/v1/chat/completions': (...request) => chats.chatObject(...request),
      '/v1/completions': (...request) => chats.completionObject(...request),
      '/v1/responses': (...request) => responses.responseObject(...request),
      '/v1/embeddings': (...request) => inferences.embeddingsObject(...request),
      '/v1/classify': (...request) => inferences.classificationObject(...request),
    };
  }

  /**
   * Answers a request. Errors of the request itself become its result.
   * @param mayBeLost whether a lost worker is a reason to try again
   * @returns `null` if `left` aborts first
   */
  async answer(
    caller: Principal,
    endpoint: BatchEndpoint,
    line: BatchLine,
    { mayBeLost, left }: { readonly mayBeLost: boolean; readonly left: AbortSignal },
  ): Promise<LineResult | Unanswered | null> {
    try {
      const answer = await this.endpoints[endpoint](caller, line.body, left);
      return answer && answered(line, answer);
    } catch (error) {
      if (left.aborted) return null;
      const failure = toDomainError(error, line);
      const loss = lossOf(failure);
      const fault = faultOf(error, 'relay');
      const isPassing = loss > 0 ? mayBeLost : isDependency(fault) || fault === 'limit';
      const isFull = failure.code === 'queue_full';
      return isPassing ? { error: failure, loss, isFull } : failed(line, failure);
    }
  }
}

function lossOf(failure: DomainError): Unanswered['loss'] {
  if (failure.code === 'crash') return 1;
  const isLost = failure.code === 'lost_worker' || failure.code === 'unavailable';
  return isLost && !(failure instanceof Outage) ? 0.25 : 0;
}

function answered(line: BatchLine, body: object): LineResult {
  const text = outputLine(line, 200, body);
  const bytes = Buffer.byteLength(text);
  if (bytes > MOST_RESULT_BYTES)
    return failed(
      line,
      new DomainError(
        'request_too_large',
        `the response has ${bytes} bytes, more than the ${MOST_RESULT_BYTES} of a line; send fewer inputs per request`,
      ),
    );
  const { usage = {} } = body as { usage?: Readonly<Record<string, number>> | null };
  return {
    number: line.number,
    isError: false,
    line: text,
    inputTokens: usage?.['input_tokens'] ?? usage?.['prompt_tokens'] ?? 0,
    outputTokens: usage?.['output_tokens'] ?? usage?.['completion_tokens'] ?? 0,
  };
}

const failed = (line: BatchLine, error: DomainError): LineResult => ({
  number: line.number,
  isError: true,
  line: outputLine(line, error.status, error.body()),
  inputTokens: 0,
  outputTokens: 0,
});

const outputLine = ({ customId }: BatchLine, status: number, body: object): string =>
  JSON.stringify({
    id: newId('batch_req_'),
    custom_id: customId,
    response: { status_code: status, request_id: newId('req_'), body },
    error: null,
  });

/** Returns the line of the error file for a request that was not answered in time. */
export const unansweredLine = (
  { customId }: Pick<BatchLine, 'customId'>,
  code: 'batch_expired' | 'batch_cancelled',
): string =>
  JSON.stringify({
    id: newId('batch_req_'),
    custom_id: customId,
    response: null,
    error: {
      code,
      message:
        code === 'batch_expired'
          ? 'The request was not answered within the completion window of the batch.'
          : 'The batch was cancelled before the request was answered.',
    },
  });

function toDomainError(error: unknown, { number }: BatchLine): DomainError {
  if (error instanceof DomainError) return error;
  const outage = toOutageError(error);
  if (outage) return outage;
  log.error({ err: error, line: number }, 'a request of a batch failed');
  return new DomainError('internal_error', 'the request could not be answered');
}
