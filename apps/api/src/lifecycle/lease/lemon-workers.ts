import { Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Database } from '../../database/database.js';
import { log } from '../../log.js';
import { Counters } from '../../metrics/counters.js';

/** A worker is cordoned if the trainer processes of this many jobs die there within MINUTES. */
const JOBS = 3;
const MINUTES = 10;
/** Arbitrary class of advisory locks; no other user of this database may lock it. */
const ADVISORY_CLASS = 7_240_254;

/**
 * Cordons broken workers: those where the processes of several jobs die, each because of its own job. Jobs
 * that also die elsewhere do not count. The last available worker of a pool is never cordoned, so that
 * three jobs cannot stop all others.
 */
@Injectable()
export class LemonWorkers {
  constructor(
    private readonly database: Database,
    private readonly counters: Counters,
  ) {}

  /**
   * Call it after a process died because of a job's own work. Cordons the worker if that happened too
   * often.
   */
  async check(manager: EntityManager, workerId: string): Promise<void> {
    // Serialize by pool. Otherwise, two workers that are cordoned concurrently could each count the other
    // one as available.
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
    const fields = { worker: workerId, name: worker.name, pool: worker.pool, reason };
    if (!worker.others) {
      log.warn(
        fields,
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
    log.warn(fields, 'cordoned a worker that looks broken');
  }
}
