import { Injectable } from '@nestjs/common';
import type { DomainError } from '@graft/contracts';
import type { Command_Action, SendRequest } from '@graft/contracts/grpc';
import { WorkerDatabase } from '../database/database.js';
import type { Job } from '../database/entities/job.js';
import { log } from '../log.js';
import { checkSize, Connections, type ToWorker } from './connections.js';
import { Gateways } from './gateways.js';
import { Relay, Unreachable } from './relay.js';

/** A worker's stream: the session it was opened for, and the API process that it ends at. */
export interface WorkerAddress {
  readonly workerId: string;
  readonly sessionId: string;
  readonly gatewayId: string | null;
}

/** The way to a worker, whichever API process its stream ends at. */
@Injectable()
export class WorkerLink {
  constructor(
    private readonly database: WorkerDatabase,
    private readonly connections: Connections,
    private readonly gateways: Gateways,
    private readonly relay: Relay,
  ) {}

  /**
   * False where the message surely went nowhere: that stream is over, or its process cannot be reached.
   * @throws DomainError where the message is larger than one may be, or nobody knows whether it arrived
   */
  async send(worker: WorkerAddress, body: ToWorker): Promise<boolean> {
    const here = this.connections.get(worker);
    if (here) return here.send(body);
    checkSize(body);
    return this.relayed(worker, { $case: 'message', value: { body } });
  }

  /** Ends the worker's stream and says why. */
  async fail(worker: WorkerAddress, error: DomainError): Promise<void> {
    const here = this.connections.get(worker);
    if (here) here.fail(error);
    else
      await this.relayed(worker, {
        $case: 'refusal',
        value: { code: error.code, message: error.message },
      });
  }

  /** Tells the job's worker what is wanted; a lost message is made good by its next heartbeat. Never rejects. */
  async command(
    { id, attempt, lease_owner }: Pick<Job, 'id' | 'attempt' | 'lease_owner'>,
    action: Command_Action,
  ): Promise<void> {
    try {
      const [worker] = await this.database.query<WorkerAddress>(
        `SELECT id AS "workerId", session_id AS "sessionId", gateway_id AS "gatewayId" FROM worker
         WHERE id = $1 AND session_id IS NOT NULL`,
        [lease_owner],
      );
      if (worker)
        await this.send(worker, { $case: 'command', value: { jobId: id, attempt, action } });
    } catch (error) {
      log.warn(
        { err: error, job: id },
        'could not send a command; it is sent with the next heartbeat',
      );
    }
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
