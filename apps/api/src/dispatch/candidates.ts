import { Injectable } from '@nestjs/common';
import { Settings } from '../config.js';
import { WorkerDatabase } from '../database/database.js';
import { TAKES_VERSION } from '../lifecycle/lease/fit-worker.js';
import type { LeaseHolder } from '../lifecycle/lease/lease.js';
import { nextWants } from '../lifecycle/lease/next-job.js';
import { DEAD_AFTER_MS } from '../relay/gateways.js';
import { Relay } from '../relay/relay.js';
import type { WorkerAddress } from '../relay/worker-link.js';

export type Candidate = WorkerAddress &
  LeaseHolder & {
    readonly freeSlots: number;
    /** It can be given jobs of up to this schema version. */
    readonly schemaVersion: number;
  };

/** SQL: a pool's workers with a free slot; placeholders of the pool, a lease's milliseconds, a gateway's, and gateways to pass over. */
const FREE_WORKERS = `SELECT worker.id AS "workerId", session_id AS "sessionId", worker.name, worker.pool,
    gateway_id AS "gatewayId", resident_bases AS "residentBases", free_slots AS "freeSlots",
    ${TAKES_VERSION} AS "schemaVersion"
  FROM worker JOIN join_token ON join_token.id = join_token_id JOIN gateway ON gateway.id = gateway_id
  WHERE worker.pool = $1 AND state = 'online' AND free_slots > 0 AND NOT cordoned AND revoked_at IS NULL
    AND NOT EXISTS (SELECT 1 FROM pool WHERE pool.name = $1 AND pool.cordoned)
    AND worker.last_seen_at > clock_timestamp() - $2 * interval '1 millisecond'
    AND gateway.last_seen_at > clock_timestamp() - $3 * interval '1 millisecond'
    AND gateway_id <> ALL ($4::text[])`;

/** SQL: whom jobs are offered to first; a placeholder of their bases. */
const RANK = `"residentBases" ?| $5 DESC, "freeSlots" DESC, "workerId"`;

/** Which workers may be given a job, whichever API process their streams end at. */
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
   * Workers that the pool's next job is offered to, best first; none where no job may start now. There is one of each
   * schema version: what it cannot be given, no other of its version can. Those that can be given the next job go first,
   * then older ones, which may take a job behind it. Of each version it is the worker that holds the base already, else
   * the one with most free slots.
   */
  async best(pool: string): Promise<Candidate[]> {
    const wants = await nextWants(this.database, pool);
    if (!wants) return [];
    return this.database.query<Candidate>(
      `SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY "schemaVersion" ORDER BY ${RANK}) AS nth FROM (${FREE_WORKERS}) AS free)
         AS one WHERE nth = 1 ORDER BY "schemaVersion" >= $6 DESC, ${RANK}`,
      [...this.parameters(pool), [wants.baseId], wants.schemaVersion],
    );
  }

  /** The pool's workers with a free slot: those that hold one of the bases first, then those with most free slots. */
  withFreeSlots(pool: string, bases: string[], most: number): Promise<Candidate[]> {
    return this.database.query<Candidate>(
      `SELECT * FROM (${FREE_WORKERS}) AS free ORDER BY ${RANK} LIMIT $6`,
      [...this.parameters(pool), bases, most],
    );
  }

  private parameters(pool: string): unknown[] {
    return [pool, this.settings.leaseMs, DEAD_AFTER_MS, this.relay.shunned];
  }

  /** Pools that have a worker with a free slot. */
  async pools(): Promise<string[]> {
    const rows = await this.database.query<{ pool: string }>(
      `SELECT DISTINCT pool FROM worker WHERE state = 'online' AND free_slots > 0`,
    );
    return rows.map(({ pool }) => pool);
  }
}
