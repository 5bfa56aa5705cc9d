import { Injectable } from '@nestjs/common';
import { DomainError, MAX_DOWN_BYTES } from '@graft/contracts';
import { ConnectResponse } from '@graft/contracts/grpc';

export type ToWorker = NonNullable<ConnectResponse['body']>;

/** One worker that is connected to this process. */
export interface Connection {
  readonly workerId: string;
  readonly sessionId: string;
  readonly name: string;
  readonly pool: string;
  readonly draining: boolean;
  /** Whether a heartbeat came within a lease. */
  readonly heard: boolean;
  /** Assignments it can still take since its last Pull. */
  freeSlots: number;
  residentBases: readonly string[];
  /** False where the stream is over. @throws DomainError where the message is larger than one may be */
  send(body: ToWorker): boolean;
  /** The same once what was sent so before is on its way: for what is large. Resolves when this is. */
  sendInTurn(body: ToWorker): Promise<boolean>;
  /** Ends the stream and says why. */
  fail(error: unknown): void;
}

/** The workers at the other end of this process's streams. */
@Injectable()
export class Connections {
  private readonly bySession = new Map<string, Connection>();
  private listeners: ((pool: string) => void)[] = [];

  add(connection: Connection): void {
    this.bySession.set(connection.sessionId, connection);
  }

  /** False if it was not there. */
  remove({ sessionId }: Connection): boolean {
    return this.bySession.delete(sessionId);
  }

  /** The stream of that very session; one that the same worker opened later is another. */
  get({ workerId, sessionId }: Pick<Connection, 'workerId' | 'sessionId'>): Connection | undefined {
    const connection = this.bySession.get(sessionId);
    return connection?.workerId === workerId ? connection : undefined;
  }

  all(): Connection[] {
    return [...this.bySession.values()];
  }

  /** Calls back with a worker's pool when its row says that it has room. */
  onCapacity(listener: (pool: string) => void): void {
    this.listeners.push(listener);
  }

  announceCapacity(pool: string): void {
    for (const listener of this.listeners) listener(pool);
  }
}

/** Its bytes. @throws DomainError where the message is larger than one may be */
export function checkSize(body: ToWorker): number {
  const bytes = ConnectResponse.encode({ body }).finish().length;
  if (bytes > MAX_DOWN_BYTES)
    throw new DomainError(
      'request_too_large',
      `the message to the worker (${body.$case}) is ${bytes} bytes; the limit is ${MAX_DOWN_BYTES}`,
    );
  return bytes;
}
