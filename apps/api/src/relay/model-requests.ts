import { Injectable } from '@nestjs/common';
import { status, type ServiceError } from '@grpc/grpc-js';
import { DomainError, isErrorCode } from '@graft/contracts';
import type { AskResponse, ModelRequest, ModelResponse } from '@graft/contracts/grpc';
import { checkSize, Connections, type Connection } from './connections.js';
import { Relay, Unreachable } from './relay.js';
import { WaitingResponses } from './waiting-responses.js';
import type { WorkerAddress } from './worker-link.js';

/** A worker that is silent for this long will not respond. A worker that loads a base reports phases. */
const SILENCE_MS = 180_000;
const RETRY_AFTER_SECONDS = 5;

/** Error for a request that the worker has not started and will not start. Another worker may. */
export class NotStarted extends Error {}

/** Request with its image or audio file in chunks. */
export interface RequestWithMedia {
  readonly request: ModelRequest;
  readonly media: readonly Uint8Array[];
}

interface Pending {
  readonly worker: Connection;
  readonly responses: WaitingResponses;
  wake: () => void;
  lost: boolean;
  /** Error of sending the request; null without one. */
  failure: unknown;
}

/** Requests to workers at any API process, and responses that have arrived here. */
@Injectable()
export class ModelRequests {
  private readonly pending = new Map<string, Pending>();

  constructor(
    private readonly connections: Connections,
    private readonly relay: Relay,
  ) {}

  /**
   * Streams the responses to a request, no faster than they are read. Ends after the last one; cancels the
   * request when `left` aborts.
   * @throws NotStarted before the first response, DomainError
   */
  async *ask(
    worker: WorkerAddress,
    message: RequestWithMedia,
    left: AbortSignal,
  ): AsyncGenerator<ModelResponse> {
    const responses = this.connections.get(worker)
      ? this.responses(worker, message, left)
      : this.relayed(worker, message, left);
    for await (const response of responses) {
      if (response.errorCode !== '') throw failure(response);
      yield response;
    }
  }

  /**
   * Streams the responses of a worker whose stream ends at this process. Ends after the last one; cancels the
   * request when `left` aborts.
   * @throws NotStarted, DomainError
   */
  async *responses(
    address: WorkerAddress,
    message: RequestWithMedia,
    left: AbortSignal,
  ): AsyncGenerator<ModelResponse> {
    const worker = this.connections.get(address);
    if (!worker) throw new NotStarted("the worker's stream has ended");
    const { id } = message.request;
    const pending: Pending = {
      worker,
      responses: new WaitingResponses(),
      wake: () => undefined,
      lost: false,
      failure: null,
    };
    this.pending.set(id, pending);
    // Abort must wake the generator, because a generator that waits cannot be returned from outside.
    const wake = (): void => pending.wake();
    left.addEventListener('abort', wake, { once: true });
    let over = false;
    try {
      void this.send(pending, message).catch((error: unknown) => {
        pending.failure = error;
        pending.wake();
      });
      while (!over) {
        const response = await next(pending, left);
        if (!response) return;
        over = response.last;
        yield response;
      }
    } finally {
      this.pending.delete(id);
      left.removeEventListener('abort', wake);
      if (!over) worker.send({ $case: 'cancelModelRequest', value: { id } });
    }
  }

  /**
   * Sends a request. Without media, it is sent immediately: the amount that waits for a slow worker is
   * bounded. With media, the request and each piece wait until the previous one is on its way. Stops when the
   * answer is over.
   */
  private async send(pending: Pending, { request, media }: RequestWithMedia): Promise<void> {
    const { worker } = pending;
    const { id } = request;
    const question = { $case: 'modelRequest', value: request } as const;
    const isSent = media.length === 0 ? worker.send(question) : await worker.sendInTurn(question);
    if (!isSent) throw new NotStarted("the worker's stream has ended");
    // If the client left before the request was sent, the first cancellation preceded the request.
    if (this.pending.get(id) !== pending)
      return void worker.send({ $case: 'cancelModelRequest', value: { id } });
    for (const data of media) {
      if (this.pending.get(id) !== pending) return;
      // If the stream has ended, workerLost reports it.
      if (!(await worker.sendInTurn({ $case: 'askedMedia', value: { id, data } }))) return;
    }
  }

  received(worker: Connection, response: ModelResponse): void {
    const pending = this.pending.get(response.id);
    if (!pending) {
      // The client has left, so the worker must stop.
      if (!response.last) worker.send({ $case: 'cancelModelRequest', value: { id: response.id } });
      return;
    }
    if (pending.worker !== worker) return;
    pending.responses.add(response);
    pending.wake();
  }

  workerLost(worker: Connection): void {
    for (const pending of this.pending.values()) {
      if (pending.worker !== worker) continue;
      pending.lost = true;
      pending.wake();
    }
  }

  /** Sends the request through the API process at which the worker's stream ends. */
  private async *relayed(
    { workerId, sessionId, gatewayId }: WorkerAddress,
    { request, media }: RequestWithMedia,
    left: AbortSignal,
  ): AsyncGenerator<ModelResponse> {
    checkSize({ $case: 'modelRequest', value: request });
    const client = await this.relay.client(gatewayId ?? '').catch((error: unknown) => {
      throw error instanceof Unreachable ? new NotStarted(error.message) : error;
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
      // Runs also if the reader stops before the end.
      call.cancel();
    }
  }
}

async function next(pending: Pending, left: AbortSignal): Promise<ModelResponse | null> {
  const until = performance.now() + SILENCE_MS;
  for (;;) {
    if (left.aborted) return null;
    const response = pending.responses.take();
    if (response) return response;
    if (pending.failure !== null) throw pending.failure;
    if (pending.lost) throw connectionLost();
    const remaining = until - performance.now();
    if (remaining <= 0) throw connectionLost('the worker did not respond in time');
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, remaining);
      pending.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

const connectionLost = (why = 'the connection to the worker was lost; try again'): DomainError =>
  new DomainError('unavailable', why, null, RETRY_AFTER_SECONDS);

/** Error that the other API process reported, or that it does not respond. */
function ofRelay({ code, details }: ServiceError): Error {
  if (code === status.FAILED_PRECONDITION) return new NotStarted(details);
  return code === status.ABORTED ? connectionLost(details) : connectionLost();
}

function failure({ errorCode, errorMessage, errorParam }: ModelResponse): Error {
  if (errorCode === 'queue_full') return new NotStarted(errorMessage);
  const code = isErrorCode(errorCode) ? errorCode : 'internal_error';
  const message = errorMessage || 'the worker could not generate a response';
  return new DomainError(code, message, errorParam || null);
}
