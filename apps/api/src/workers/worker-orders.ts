import { Injectable } from '@nestjs/common';
import { DomainError } from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import { Audit } from '../auth/audit.js';
import type { Principal } from '../auth/principal.js';
import { Database } from '../database/database.js';
import type { Worker } from '../database/entities/dispatch.js';
import { log } from '../log.js';
import { WakeUps } from '../wake/wake-ups.js';
import { WorkerLink } from '../relay/worker-link.js';
import { noSuchWorker } from './worker-list.js';

export const DRAIN_REASON = 'an administrator is draining this worker';

type OrderedWorker = Pick<Worker, 'id' | 'name' | 'pool' | 'state' | 'session_id' | 'gateway_id'>;

/** Commands of administrators to single workers. */
@Injectable()
export class WorkerOrders {
  constructor(
    private readonly database: Database,
    private readonly audit: Audit,
    private readonly link: WorkerLink,
    private readonly wakeUps: WakeUps,
  ) {}

  /**
   * Drains a worker: it receives nothing new, saves and returns its jobs, and exits. This applies to the
   * process that runs now; the worker's next process works normally.
   */
  async drain(caller: Principal, id: string): Promise<void> {
    const worker = await this.change(caller, id, 'worker.drained', async (manager, { state }) => {
      if (state === 'offline')
        throw new DomainError('conflict', `worker ${id} is offline and has nothing to drain`);
      await this.database.query(
        `UPDATE worker SET drain_instance = instance_id, state = 'draining', free_slots = 0, free_chats = 0
         WHERE id = $1`,
        [id],
        manager,
      );
    });
    const { session_id: sessionId, gateway_id: gatewayId } = worker;
    if (sessionId === null) return;
    const value = { reason: DRAIN_REASON };
    await this.link
      .send({ workerId: id, sessionId, gatewayId }, { $case: 'drain', value })
      .catch((error: unknown) =>
        log.warn(
          { err: error, worker: id },
          'could not send a drain command; the reply to the next heartbeat repeats it',
        ),
      );
  }

  /**
   * Cordons a worker: nothing new starts on it until it is uncordoned, also after a restart. Running jobs
   * continue.
   */
  async cordon(caller: Principal, id: string): Promise<void> {
    await this.change(caller, id, 'worker.cordoned', (manager) =>
      this.database.query(
        `UPDATE worker SET cordoned = true, cordon_reason = CASE WHEN cordoned THEN cordon_reason END WHERE id = $1`,
        [id],
        manager,
      ),
    );
  }

  /** Uncordons a worker. Trainers that died on it before no longer count. */
  async uncordon(caller: Principal, id: string): Promise<void> {
    await this.change(caller, id, 'worker.uncordoned', (manager, { pool }) => {
      this.wakeUps.announce(`pool:${pool}`);
      return this.database.query(
        `UPDATE worker SET cordoned = false, cordon_reason = NULL, uncordoned_at = clock_timestamp() WHERE id = $1`,
        [id],
        manager,
      );
    });
  }

  /** Removes an offline worker. */
  async remove(caller: Principal, id: string): Promise<void> {
    await this.change(caller, id, 'worker.deleted', async (manager, { state }) => {
      if (state !== 'offline')
        throw new DomainError(
          'conflict',
          `worker ${id} is ${state}: drain or stop it first, and remove it when it is offline`,
        );
      const [held] = await this.database.query<{ id: string }>(
        `SELECT id FROM job WHERE lease_owner = $1 AND state = 'running' LIMIT 1`,
        [id],
        manager,
      );
      if (held)
        throw new DomainError(
          'conflict',
          `worker ${id} is offline but still holds the lease of ${held.id}; try again when the lease has expired`,
        );
      await this.database.query('DELETE FROM worker WHERE id = $1', [id], manager);
    });
  }

  private change(
    caller: Principal,
    id: string,
    action: `worker.${string}`,
    work: (manager: EntityManager, worker: OrderedWorker) => Promise<unknown>,
  ): Promise<OrderedWorker> {
    return this.database.transaction(async (manager) => {
      const [worker] = await this.database.query<OrderedWorker>(
        `SELECT id, name, pool, state, session_id, gateway_id FROM worker WHERE id = $1 FOR UPDATE`,
        [id],
        manager,
      );
      if (!worker) throw noSuchWorker(id);
      await work(manager, worker);
      const detail = { name: worker.name, pool: worker.pool };
      await this.audit.write(manager, { caller, action, target: id, detail, projectId: null });
      return worker;
    });
  }
}
