import { Injectable } from '@nestjs/common';
import { status, type ServiceError } from '@grpc/grpc-js';
import { DomainError, isErrorCode } from '@graft/contracts';
import type { AskResponse, ModelResponse } from '@graft/contracts/grpc';
import { checkSize, Connections } from './connections.js';
import { lost, NotBegun, PendingGenerations, type Asked } from './pending-generations.js';
import { Relay, Unreachable } from './relay.js';
import type { WorkerAddress } from './worker-link.js';

/** Answers of workers, whichever API process their streams end at. */
@Injectable()
export class Generations {
  constructor(
    private readonly connections: Connections,
    private readonly pending: PendingGenerations,
    private readonly relay: Relay,
  ) {}

  /**
   * Streams the responses to a request; ends after the last, or cancels when `left` aborts. No faster than they are read.
   * @throws NotBegun before the first response, DomainError
   */
  async *ask(
    worker: WorkerAddress,
    asked: Asked,
    left: AbortSignal,
  ): AsyncGenerator<ModelResponse> {
    const responses = this.connections.get(worker)
      ? this.pending.responses(worker, asked, left)
      : this.relayed(worker, asked, left);
    for await (const response of responses) {
      if (response.errorCode !== '') throw failure(response);
      yield response;
    }
  }

  private async *relayed(
    { workerId, sessionId, gatewayId }: WorkerAddress,
    { request, media }: Asked,
    left: AbortSignal,
  ): AsyncGenerator<ModelResponse> {
    checkSize({ $case: 'modelRequest', value: request });
    const client = await this.relay.client(gatewayId ?? '').catch((error: unknown) => {
      throw error instanceof Unreachable ? new NotBegun(error.message) : error;
    });
    const call = client.ask(
      { workerId, sessionId, request, media: [...media] },
      this.relay.metadata(),
    );
    const cancel = (): void => call.cancel();
    left.addEventListener('abort', cancel, { once: true });
    if (left.aborted) cancel();
    try {
      for await (const { response } of call as AsyncIterable<AskResponse>)
        if (response) yield response;
    } catch (error) {
      if (!left.aborted) throw ofRelay(error as ServiceError);
    } finally {
      left.removeEventListener('abort', cancel);
      // Also where the reader stops before the end.
      call.cancel();
    }
  }
}

/** What the other process says in words, or that it says nothing any more. */
function ofRelay({ code, details }: ServiceError): Error {
  if (code === status.FAILED_PRECONDITION) return new NotBegun(details);
  return code === status.ABORTED ? lost(details) : lost();
}

function failure({ errorCode, errorMessage }: ModelResponse): Error {
  if (errorCode === 'queue_full') return new NotBegun(errorMessage);
  const code = isErrorCode(errorCode) ? errorCode : 'internal_error';
  return new DomainError(code, errorMessage || 'the worker could not generate a response');
}
