import { Injectable } from '@nestjs/common';
import type { Command_Action, ConnectResponse } from '@graft/contracts/grpc';
import type { Job } from '../database/entities/job.js';

/** One worker that is connected to this process. */
export interface Connection {
  readonly workerId: string;
  readonly sessionId: string;
  readonly name: string;
  readonly pool: string;
  readonly draining: boolean;
  /** Whether a heartbeat came within a lease. */
  readonly heard: boolean;
  /** Assignments it still has room for since its last Pull. */
  freeSlots: number;
  residentBases: readonly string[];
  /** False where the stream is over. @throws DomainError where the message is larger than one may be */
  send(body: NonNullable<ConnectResponse['body']>): boolean;
  /** Ends the stream and says why. */
  fail(error: unknown): void;
}

/** The workers at the other end of this process's streams. */
@Injectable()
export class Connections {
  private readonly byWorker = new Map<string, Connection>();
  private listeners: ((pool: string) => void)[] = [];

  add(connection: Connection): void {
    this.byWorker.set(connection.workerId, connection);
  }

  /** False if a newer stream of the same worker has taken its place. */
  remove(connection: Connection): boolean {
    if (this.byWorker.get(connection.workerId) !== connection) return false;
    this.byWorker.delete(connection.workerId);
    return true;
  }

  get(workerId: string): Connection | undefined {
    return this.byWorker.get(workerId);
  }

  all(): Connection[] {
    return [...this.byWorker.values()];
  }

  onRoom(listener: (pool: string) => void): void {
    this.listeners.push(listener);
  }

  hasRoom(connection: Connection): void {
    if (connection.freeSlots > 0) for (const listener of this.listeners) listener(connection.pool);
  }

  /** Of the pool's workers with room: one that holds the base already, else the one with most room. */
  withRoom(pool: string, baseId: string | null): Connection | null {
    return best(
      this.all().filter((c) => c.pool === pool && c.freeSlots > 0 && !c.draining && c.heard),
      baseId,
    );
  }

  /** Anyone who can answer with a base, whether or not it has room to train. */
  forAnswering(baseId: string): Connection | null {
    return best(
      this.all().filter((c) => !c.draining && c.heard),
      baseId,
    );
  }

  /** Tells the job's worker what is wanted; a lost message is made good by its next heartbeat. */
  command(job: Pick<Job, 'id' | 'epoch' | 'lease_owner'>, action: Command_Action): void {
    const connection = job.lease_owner ? this.get(job.lease_owner) : undefined;
    connection?.send({ $case: 'command', value: { jobId: job.id, epoch: job.epoch, action } });
  }
}

function best(candidates: readonly Connection[], baseId: string | null): Connection | null {
  const score = (c: Connection): number =>
    (baseId !== null && c.residentBases.includes(baseId) ? 1e6 : 0) + c.freeSlots;
  return candidates.reduce<Connection | null>(
    (top, c) => (top === null || score(c) > score(top) ? c : top),
    null,
  );
}
