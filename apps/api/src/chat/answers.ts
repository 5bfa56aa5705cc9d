import { Injectable } from '@nestjs/common';
import { DomainError, ERROR_CODES, type ErrorCode } from '@graft/contracts';
import type { GenerateChunk, GenerateRequest } from '@graft/contracts/grpc';
import { Connections, type Connection } from '../gateway/connections.js';
import { Workers } from '../gateway/workers.js';
import { newId } from '../ids.js';

/** A worker that is silent for so long is not going to answer. A loading base reports phases. */
const SILENCE_MS = 180_000;
const RETRY_AFTER_SECONDS = 5;

interface Pending {
  readonly request: Omit<GenerateRequest, 'id'>;
  readonly worker: Connection;
  readonly chunks: GenerateChunk[];
  wake: () => void;
  lost: boolean;
}

/** Questions that are out at workers, and the chunks that came back for them. */
@Injectable()
export class Answers {
  private readonly pending = new Map<string, Pending>();

  constructor(
    private readonly connections: Connections,
    private readonly workers: Workers,
  ) {}

  /** Streams the answer's chunks; ends after the one with a finish reason, or cancels when `left` aborts. */
  async *ask(
    request: Omit<GenerateRequest, 'id'>,
    left: AbortSignal,
  ): AsyncGenerator<GenerateChunk> {
    const baseId = request.base?.id ?? '';
    const worker = await this.chosen(baseId);
    const id = newId('gen-');
    const pending: Pending = { request, worker, chunks: [], wake: () => undefined, lost: false };
    this.pending.set(id, pending);
    // A generator that waits cannot be returned from outside, so leaving must wake it.
    left.addEventListener('abort', () => pending.wake(), { once: true });
    let over = false;
    try {
      if (!worker.send({ $case: 'generate', value: { ...request, id } })) throw lost();
      while (!over) {
        const chunk = await this.next(pending, left);
        if (!chunk) return;
        over = chunk.finishReason !== '';
        if (chunk.finishReason === 'error') throw failure(chunk);
        yield chunk;
      }
    } finally {
      this.pending.delete(id);
      if (!over) worker.send({ $case: 'generateCancel', value: { id } });
    }
  }

  private async chosen(baseId: string): Promise<Connection> {
    for (;;) {
      const worker = this.connections.forAnswering(baseId);
      if (!worker) {
        throw new DomainError(
          'no_worker',
          `no worker is connected that could load ${baseId}; start one with graft-worker`,
          null,
          RETRY_AFTER_SECONDS,
        );
      }
      const unfit = await this.workers.unfit(worker);
      if (!unfit) return worker;
      worker.fail(unfit);
    }
  }

  private async next(pending: Pending, left: AbortSignal): Promise<GenerateChunk | null> {
    const until = performance.now() + SILENCE_MS;
    for (;;) {
      if (left.aborted) return null;
      const chunk = pending.chunks.shift();
      if (chunk) return chunk;
      if (pending.lost) throw lost();
      const remaining = until - performance.now();
      if (remaining <= 0)
        throw new DomainError(
          'unavailable',
          'the worker did not answer in time',
          null,
          RETRY_AFTER_SECONDS,
        );
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, remaining);
        pending.wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  received(worker: Connection, chunk: GenerateChunk): void {
    const pending = this.pending.get(chunk.id);
    if (!pending) {
      // Nobody listens any more (the client left): tell the worker to stop.
      if (chunk.finishReason === '')
        worker.send({ $case: 'generateCancel', value: { id: chunk.id } });
      return;
    }
    if (pending.worker !== worker) return;
    pending.chunks.push(chunk);
    pending.wake();
  }

  /** Whether an answer that the worker is making needs the blob. */
  need(workerId: string, sha256: string): boolean {
    return [...this.pending.values()].some(
      ({ worker, request }) =>
        worker.workerId === workerId &&
        [...(request.base?.files ?? []), ...request.adapter].some((file) => file.sha256 === sha256),
    );
  }

  workerLost(worker: Connection): void {
    for (const pending of this.pending.values()) {
      if (pending.worker !== worker) continue;
      pending.lost = true;
      pending.wake();
    }
  }
}

const lost = (): DomainError =>
  new DomainError(
    'unavailable',
    'the worker that answered was lost; try again',
    null,
    RETRY_AFTER_SECONDS,
  );

function failure(chunk: GenerateChunk): DomainError {
  const code = chunk.errorCode in ERROR_CODES ? (chunk.errorCode as ErrorCode) : 'internal_error';
  return new DomainError(code, chunk.errorMessage || 'the worker could not answer');
}
