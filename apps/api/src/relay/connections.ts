import { Injectable } from '@nestjs/common';
import { DomainError, MAX_DOWN_BYTES } from '@graft/contracts';
import { ConnectResponse } from '@graft/contracts/grpc';

export type ToWorker = NonNullable<ConnectResponse['body']>;

/** Worker that is connected to this process. */
export interface Connection {
  readonly workerId: string;
  readonly sessionId: string;
  readonly name: string;
  readonly pool: string;
  readonly draining: boolean;
  /** Whether a heartbeat arrived within the lease. */
  readonly isAlive: boolean;
  /** Number of assignments that the worker can still take since its last Pull. */
  freeSlots: number;
  residentBases: readonly string[];
  /** Returns false if the stream has ended. @throws DomainError if the message is too large */
  send(body: ToWorker): boolean;
  /** `send` for large messages: waits until the previous ones are on their way. Resolves when this one is. */
  sendInTurn(body: ToWorker): Promise<boolean>;
  /** Ends the stream with the error. */
  fail(error: unknown): void;
}

/** Workers whose streams end at this process. */
@Injectable()
export class Connections {
  private readonly bySession = new Map<string, Connection>();
  private listeners: ((pool: string) => void)[] = [];

  add(connection: Connection): void {
    this.bySession.set(connection.sessionId, connection);
  }

  /** Returns false if the connection was not found. */
  remove({ sessionId }: Connection): boolean {
    return this.bySession.delete(sessionId);
  }

  /** Returns the stream of exactly this session. A later stream of the same worker is another session. */
  get({ workerId, sessionId }: Pick<Connection, 'workerId' | 'sessionId'>): Connection | undefined {
    const connection = this.bySession.get(sessionId);
    return connection?.workerId === workerId ? connection : undefined;
  }

  all(): Connection[] {
    return [...this.bySession.values()];
  }

  /** Calls back with a worker's pool when its row shows free capacity. */
  onCapacity(listener: (pool: string) => void): void {
    this.listeners.push(listener);
  }

  announceCapacity(pool: string): void {
    for (const listener of this.listeners) listener(pool);
  }
}

/** Returns the size in bytes. @throws DomainError if the message is too large */
export function checkSize(body: ToWorker): number {
  const bytes = ConnectResponse.encode({ body }).finish().length;
  if (bytes > MAX_DOWN_BYTES)
    throw new DomainError(
      'request_too_large',
      `the message to the worker (${body.$case}) is ${bytes} bytes; the limit is ${MAX_DOWN_BYTES}`,
    );
  return bytes;
}
