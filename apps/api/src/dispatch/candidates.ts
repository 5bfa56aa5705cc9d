import { Injectable } from '@nestjs/common';
import { Settings } from '../config.js';
import { WorkerDatabase } from '../database/database.js';
import { WORKER_VERSION } from '../lifecycle/lease/fit-worker.js';
import type { LeaseHolder } from '../lifecycle/lease/lease.js';
import { nextRequirements } from '../lifecycle/lease/next-job.js';
import { DEAD_AFTER_MS } from '../relay/gateways.js';
import { Relay } from '../relay/relay.js';
import type { WorkerAddress } from '../relay/worker-link.js';

export type Candidate = WorkerAddress &
  LeaseHolder & {
    readonly freeSlots: number;
    /** Highest schema version of jobs that may be assigned to the worker. */
    readonly schemaVersion: number;
  };

/**
 * SQL that selects a pool's workers with a free slot. Placeholders: the pool, a lease in milliseconds, the age at
 * which a gateway counts as dead, and gateways to skip.
 */
const FREE_WORKERS = `SELECT worker.id AS "workerId", session_id AS "sessionId", worker.name, worker.pool,
    gateway_id AS "gatewayId", resident_bases AS "residentBases", free_slots AS "freeSlots",
    ${WORKER_VERSION} AS "schemaVersion"
  FROM worker JOIN join_token ON join_token.id = join_token_id JOIN gateway ON gateway.id = gateway_id
  WHERE worker.pool = $1 AND state = 'online' AND free_slots > 0 AND NOT cordoned AND revoked_at IS NULL
    AND NOT EXISTS (SELECT 1 FROM pool WHERE pool.name = $1 AND pool.cordoned)
    AND worker.last_seen_at > clock_timestamp() - $2 * interval '1 millisecond'
    AND gateway.last_seen_at > clock_timestamp() - $3 * interval '1 millisecond'
    AND gateway_id <> ALL ($4::text[])`;

/** SQL order in which workers are offered a job. Placeholder: the base models. */
const RANK = `"residentBases" ?| $5 DESC, "freeSlots" DESC, "workerId"`;

/** Finds workers for jobs, regardless of the API process that they are connected to. */
@Injectable()
export class Candidates {
  constructor(
    private readonly database: WorkerDatabase,
    private readonly settings: Settings,
    private readonly relay: Relay,
  ) {}

  /** Whether a worker of the pool has a free slot. */
  async any(pool: string): Promise<boolean> {
    const rows = await this.database.query(`${FREE_WORKERS} LIMIT 1`, this.parameters(pool));
    return rows.length > 0;
  }

  /**
   * Returns the workers to offer the pool's next job to, best first; none if no job may start now. There is one for
   * each schema version, because a job that it cannot take cannot be taken by others of its version. Versions that
   * can take the next job come first, then older ones, which may take a later job. For each version it is the worker
   * that has the base loaded, or else the one with the most free slots.
   */
  async best(pool: string): Promise<Candidate[]> {
    const wants = await nextRequirements(this.database, pool);
    if (!wants) return [];
    return this.database.query<Candidate>(
      `SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY "schemaVersion" ORDER BY ${RANK}) AS nth FROM (${FREE_WORKERS}) AS free)
         AS one WHERE nth = 1 ORDER BY "schemaVersion" >= $6 DESC, ${RANK}`,
      [...this.parameters(pool), [wants.baseId], wants.schemaVersion],
    );
  }

  /**
   * Returns the pool's workers with a free slot: first those that have one of the base models loaded, then by free
   * slots.
   */
  withFreeSlots(pool: string, bases: string[], most: number): Promise<Candidate[]> {
    return this.database.query<Candidate>(
      `SELECT * FROM (${FREE_WORKERS}) AS free ORDER BY ${RANK} LIMIT $6`,
      [...this.parameters(pool), bases, most],
    );
  }

  private parameters(pool: string): unknown[] {
    return [pool, this.settings.leaseMs, DEAD_AFTER_MS, this.relay.shunned];
  }

  /** Returns the names of pools that have a worker with a free slot. */
  async pools(): Promise<string[]> {
    const rows = await this.database.query<{ pool: string }>(
      `SELECT DISTINCT pool FROM worker WHERE state = 'online' AND free_slots > 0`,
    );
    return rows.map(({ pool }) => pool);
  }
}
