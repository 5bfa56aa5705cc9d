import { Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Database } from '../../database/database.js';
import { log } from '../../log.js';
import { Counters } from '../../metrics/counters.js';

/** So many different jobs, within so many minutes. */
const JOBS = 3;
const MINUTES = 10;
/** Any number that no other user of this database locks. */
const ADVISORY_CLASS = 7_240_254;

/**
 * Machines that are broken: processes of job after job die there, each by its own work. Jobs that die elsewhere too
 * prove nothing against a worker, and the last one that a pool has is kept: what three jobs do must not stop the rest.
 */
@Injectable()
export class LemonWorkers {
  constructor(
    private readonly database: Database,
    private readonly counters: Counters,
  ) {}

  /** A process on the worker died by a job's own work. Cordons the worker where that is one too many. */
  async look(manager: EntityManager, workerId: string): Promise<void> {
    // Else two that are cordoned at the same moment would each take the other for one that goes on.
    await this.database.query(
      `SELECT pg_advisory_xact_lock(${ADVISORY_CLASS}, hashtext(pool)) FROM worker WHERE id = $1`,
      [workerId],
      manager,
    );
    const [worker] = await this.database.query<{ name: string; pool: string; others: boolean }>(
      `SELECT name, pool, EXISTS (SELECT 1 FROM worker other WHERE other.pool = worker.pool AND other.id <> worker.id
           AND other.state = 'online' AND NOT other.cordoned) AS others
       FROM worker WHERE id = $1 AND NOT cordoned AND $2 <= (
         SELECT count(DISTINCT job_id) FROM attempt WHERE worker_id = worker.id AND blame = 'own'
           AND ended_at > GREATEST(uncordoned_at, clock_timestamp() - $3 * interval '1 minute')
           AND NOT EXISTS (SELECT 1 FROM attempt elsewhere WHERE elsewhere.job_id = attempt.job_id
             AND elsewhere.blame = 'own' AND elsewhere.worker_id <> worker.id))`,
      [workerId, JOBS, MINUTES],
      manager,
    );
    if (!worker) return;
    const reason = `trainer processes of ${JOBS} jobs died on this worker within ${MINUTES} minutes, each because of its own job`;
    const told = { worker: workerId, name: worker.name, pool: worker.pool, reason };
    if (!worker.others) {
      log.warn(
        told,
        'the worker looks broken, but is not cordoned because it is the last one of its pool',
      );
      return;
    }
    await this.database.query(
      'UPDATE worker SET cordoned = true, cordon_reason = $2 WHERE id = $1',
      [workerId, reason],
      manager,
    );
    this.counters.workersCordoned.inc();
    log.warn(told, 'cordoned a worker that looks broken');
  }
}
