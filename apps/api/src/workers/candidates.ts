import { Injectable } from '@nestjs/common';
import { Settings } from '../config.js';
import { WorkerDatabase } from '../database/database.js';
import { BUILD, buildsOf } from '../lifecycle/fit-worker.js';
import type { LeaseHolder, Wants } from '../lifecycle/lease.js';
import { DEAD_AFTER_MS } from './gateways.js';
import { Relay } from './relay.js';
import type { WorkerAddress } from './worker-link.js';

export type Candidate = WorkerAddress &
  LeaseHolder & {
    readonly freeSlots: number;
    /** The same for all workers that can do the same. */
    readonly build: string;
    /** Of the words (peft-core's build-words) that were asked for, those of what its build cannot do. */
    readonly lacks: readonly string[];
  };

interface Asked extends Omit<Wants, 'baseId'> {
  readonly bases: readonly string[];
  /** Null: all of them. */
  readonly most: number | null;
}

/** SQL: a pool's workers with a free slot; placeholders of the pool, a lease's milliseconds, a gateway's, and gateways to pass over. */
const ROOM = `SELECT worker.id AS "workerId", session_id AS "sessionId", worker.name, worker.pool,
    gateway_id AS "gatewayId", resident_bases AS "residentBases", free_slots AS "freeSlots", ${BUILD} AS build
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
    const rows = await this.database.query(`${ROOM} LIMIT 1`, this.room(pool));
    return rows.length > 0;
  }

  /**
   * One worker with a free slot of each build in the pool: what it cannot be given, no other of its build can. First those
   * that can do what is wanted, then others, which may take a job behind; of each build and of both the one that holds the
   * base already, then the one with most free slots.
   */
  best(pool: string, { baseId, ...wants }: Wants): Promise<Candidate[]> {
    return this.asked(
      pool,
      { ...wants, bases: [baseId], most: null },
      `WHERE nth = 1 ORDER BY does AND lacks = '{}' DESC, ${RANK}`,
    );
  }

  /**
   * The pool's workers with a free slot: those that hold one of the bases first, then those with most free slots.
   * @param words of the jobs that they are for
   */
  withRoom(pool: string, bases: string[], words: string[], most: number): Promise<Candidate[]> {
    return this.asked(pool, { bases, words, needs: null, most }, `ORDER BY ${RANK}`);
  }

  private asked(
    pool: string,
    { bases, words, needs, most }: Asked,
    those: string,
  ): Promise<Candidate[]> {
    return this.database.query<Candidate>(
      `WITH room AS MATERIALIZED (${ROOM}),
       builds AS MATERIALIZED (${buildsOf(`worker.id IN (SELECT "workerId" FROM room)`)}),
       able AS MATERIALIZED (
         SELECT build, $7::text IS NULL OR tasks ? $7 AS does,
           ARRAY(SELECT word FROM unnest($6::text[]) AS word WHERE NOT knows ? word) AS lacks FROM builds
       )
       SELECT one.*, lacks
       FROM (SELECT *, row_number() OVER (PARTITION BY build ORDER BY ${RANK}) AS nth FROM room) AS one
         JOIN able USING (build) ${those} LIMIT $8`,
      [...this.room(pool), bases, words, needs, most],
    );
  }

  private room(pool: string): unknown[] {
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
