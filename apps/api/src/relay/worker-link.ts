import { Injectable } from '@nestjs/common';
import type { DomainError } from '@graft/contracts';
import type { Command_Action, SendRequest } from '@graft/contracts/grpc';
import { WorkerDatabase } from '../database/database.js';
import type { Job } from '../database/entities/job.js';
import { log } from '../log.js';
import { checkSize, Connections, type ToWorker } from './connections.js';
import { Gateways } from './gateways.js';
import { Relay, Unreachable } from './relay.js';

/** Stream of a worker: its session, and the API process at which it ends. */
export interface WorkerAddress {
  readonly workerId: string;
  readonly sessionId: string;
  readonly gatewayId: string | null;
}

/** A run, and the worker that holds its lease. */
export type LeasedRun = Pick<Job, 'id' | 'attempt' | 'lease_owner'>;

/** Sends messages to workers, whichever API process their streams end at. */
@Injectable()
export class WorkerLink {
  constructor(
    private readonly database: WorkerDatabase,
    private readonly connections: Connections,
    private readonly gateways: Gateways,
    private readonly relay: Relay,
  ) {}

  /**
   * Returns false if the message certainly did not arrive: the stream has ended, or its process cannot be
   * reached.
   * @throws DomainError if the message is too large, or if it is unknown whether it arrived
   */
  async send(worker: WorkerAddress, body: ToWorker): Promise<boolean> {
    const here = this.connections.get(worker);
    if (here) return here.send(body);
    checkSize(body);
    return this.relayed(worker, { $case: 'message', value: { body } });
  }

  /** Ends the worker's stream with the error. */
  async fail(worker: WorkerAddress, error: DomainError): Promise<void> {
    const here = this.connections.get(worker);
    if (here) here.fail(error);
    else
      await this.relayed(worker, {
        $case: 'refusal',
        value: { code: error.code, message: error.message },
      });
  }

  /** Sends a command to the job's worker. The next heartbeat replaces a lost one. Never rejects. */
  async command(run: LeasedRun, action: Command_Action): Promise<void> {
    try {
      await this.sendCommand(run, action);
    } catch (error) {
      log.warn(
        { err: error, job: run.id },
        'could not send a command; it is sent with the next heartbeat',
      );
    }
  }

  /**
   * Sends a command to the job's worker, as `send` does.
   * @returns false if the worker is not connected, or as `send`
   */
  async sendCommand(
    { id, attempt, lease_owner }: LeasedRun,
    action: Command_Action,
  ): Promise<boolean> {
    const [worker] = await this.database.query<WorkerAddress>(
      `SELECT id AS "workerId", session_id AS "sessionId", gateway_id AS "gatewayId" FROM worker
       WHERE id = $1 AND session_id IS NOT NULL`,
      [lease_owner],
    );
    if (!worker) return false;
    return this.send(worker, { $case: 'command', value: { jobId: id, attempt, action } });
  }

  private async relayed(
    { workerId, sessionId, gatewayId }: WorkerAddress,
    what: NonNullable<SendRequest['what']>,
  ): Promise<boolean> {
    if (gatewayId === null || gatewayId === this.gateways.id) return false;
    try {
      return await this.relay.send(gatewayId, { workerId, sessionId, what });
    } catch (error) {
      if (error instanceof Unreachable) return false;
      throw error;
    }
  }
}
