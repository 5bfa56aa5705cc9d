import { Injectable } from '@nestjs/common';
import { status, type ServiceError } from '@grpc/grpc-js';
import { DomainError, isErrorCode } from '@graft/contracts';
import type { AskResponse, GenerateChunk } from '@graft/contracts/grpc';
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
   * Streams the answer's chunks; ends after the one with a finish reason, or cancels when `left` aborts. No faster than
   * they are read.
   * @throws NotBegun before the first chunk, DomainError
   */
  async *ask(
    worker: WorkerAddress,
    asked: Asked,
    left: AbortSignal,
  ): AsyncGenerator<GenerateChunk> {
    const chunks = this.connections.get(worker)
      ? this.pending.chunks(worker, asked, left)
      : this.relayed(worker, asked, left);
    for await (const chunk of chunks) {
      if (chunk.finishReason === 'error') throw failure(chunk);
      yield chunk;
    }
  }

  private async *relayed(
    { workerId, sessionId, gatewayId }: WorkerAddress,
    { request, media }: Asked,
    left: AbortSignal,
  ): AsyncGenerator<GenerateChunk> {
    checkSize({ $case: 'generate', value: request });
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
      for await (const { chunk } of call as AsyncIterable<AskResponse>) if (chunk) yield chunk;
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

function failure({ errorCode, errorMessage }: GenerateChunk): Error {
  if (errorCode === 'queue_full') return new NotBegun(errorMessage);
  const code = isErrorCode(errorCode) ? errorCode : 'internal_error';
  return new DomainError(code, errorMessage || 'the worker could not generate a response');
}
