import { Injectable } from '@nestjs/common';
import { DomainError } from '@graft/contracts';
import type { GenerateChunk, GenerateRequest } from '@graft/contracts/grpc';
import { Connections, type Connection } from './connections.js';
import { WaitingChunks } from './waiting-chunks.js';
import type { WorkerAddress } from './worker-link.js';

/** A worker that is silent for so long is not going to answer. A loading base reports phases. */
const SILENCE_MS = 180_000;
const RETRY_AFTER_SECONDS = 5;

/** The worker has begun nothing and will not: another may. */
export class NotBegun extends Error {}

/** A question, and the picture or sound that it is about, in pieces. */
export interface Asked {
  readonly request: GenerateRequest;
  readonly media: readonly Uint8Array[];
}

interface Pending {
  readonly worker: Connection;
  readonly chunks: WaitingChunks;
  wake: () => void;
  lost: boolean;
  /** Why the question could not be sent. */
  failure: unknown;
}

/** Generations that were asked of workers whose streams end here, and the chunks that have come back for them. */
@Injectable()
export class PendingGenerations {
  private readonly pending = new Map<string, Pending>();

  constructor(private readonly connections: Connections) {}

  /** Streams the chunks; ends after the one with a finish reason, or cancels when `left` aborts. */
  async *chunks(
    address: WorkerAddress,
    asked: Asked,
    left: AbortSignal,
  ): AsyncGenerator<GenerateChunk> {
    const worker = this.connections.get(address);
    if (!worker) throw new NotBegun('its stream is over');
    const { id } = asked.request;
    const pending: Pending = {
      worker,
      chunks: new WaitingChunks(),
      wake: () => undefined,
      lost: false,
      failure: null,
    };
    this.pending.set(id, pending);
    // A generator that waits cannot be returned from outside, so leaving must wake it.
    const wake = (): void => pending.wake();
    left.addEventListener('abort', wake, { once: true });
    let over = false;
    try {
      void this.send(pending, asked).catch((error: unknown) => {
        pending.failure = error;
        pending.wake();
      });
      while (!over) {
        const chunk = await next(pending, left);
        if (!chunk) return;
        over = chunk.finishReason !== '';
        yield chunk;
      }
    } finally {
      this.pending.delete(id);
      left.removeEventListener('abort', wake);
      if (!over) worker.send({ $case: 'generateCancel', value: { id } });
    }
  }

  /**
   * A question without media at once: what waits for a worker that does not read is bounded. With media it has its turn,
   * and each piece goes when the worker has taken the last; no more of them once the answer is over.
   */
  private async send(pending: Pending, { request, media }: Asked): Promise<void> {
    const { worker } = pending;
    const { id } = request;
    const question = { $case: 'generate', value: request } as const;
    const isSent = media.length === 0 ? worker.send(question) : await worker.sendInTurn(question);
    if (!isSent) throw new NotBegun('its stream is over');
    // who left before it was the question's turn was cancelled before it was asked
    if (this.pending.get(id) !== pending)
      return void worker.send({ $case: 'generateCancel', value: { id } });
    for (const data of media) {
      if (this.pending.get(id) !== pending) return;
      // that the stream is over, workerLost says
      if (!(await worker.sendInTurn({ $case: 'askedMedia', value: { id, data } }))) return;
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
    pending.chunks.add(chunk);
    pending.wake();
  }

  workerLost(worker: Connection): void {
    for (const pending of this.pending.values()) {
      if (pending.worker !== worker) continue;
      pending.lost = true;
      pending.wake();
    }
  }
}

async function next(pending: Pending, left: AbortSignal): Promise<GenerateChunk | null> {
  const until = performance.now() + SILENCE_MS;
  for (;;) {
    if (left.aborted) return null;
    const chunk = pending.chunks.take();
    if (chunk) return chunk;
    if (pending.failure !== null) throw pending.failure;
    if (pending.lost) throw lost();
    const remaining = until - performance.now();
    if (remaining <= 0) throw lost('the worker did not respond in time');
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, remaining);
      pending.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

export const lost = (why = 'the connection to the worker was lost; try again'): DomainError =>
  new DomainError('unavailable', why, null, RETRY_AFTER_SECONDS);
