import { Injectable } from '@nestjs/common';
import type { ResponseItem, ResponseObject } from '@graft/contracts';
import type { Principal } from '../../auth/principal.js';
import type { Claim } from '../../claims/claimed-work.js';
import { Settings } from '../../config.js';
import { Database } from '../../database/database.js';
import { StoredResponse } from '../../database/entities/responses.js';
import { jsonbText } from '../../database/jsonb.js';
import { newId } from '../../ids.js';

/** A background response that has not started, with its conversation and the rest of the body. */
export interface NewBackground {
  readonly response: ResponseObject;
  readonly input: readonly ResponseItem[];
  readonly request: object;
}

/** Key of an advisory lock. It can be any number that is unique in this database. */
const ADVISORY_LOCK = 7_240_262;

/** Number of times that a response may be lost while it is generated: it may be the cause. */
const MOST_LOSSES = 3;
/** Time that a response may wait for a worker or for the limits of its project. */
const LONGEST_WAIT = `interval '24 hours'`;

/** SQL condition that the claim still holds ($1 is the response, $2 the owner). */
const MINE = `id = $1 AND owner = $2 AND request IS NOT NULL`;

/** SQL condition that no process generates the response. */
const FREE = `request IS NOT NULL AND (owner IS NULL OR owner_until < clock_timestamp())`;

/** SQL for the response object with another status. */
const withStatus = (status: 'queued' | 'in_progress'): string =>
  `jsonb_set(response, '{status}', '"${status}"')`;

/**
 * Claims of processes on background responses. Every write checks the claim, so that it has no effect after another
 * process has taken over. All times are by the database's clock.
 */
@Injectable()
export class ResponseClaims {
  constructor(
    private readonly database: Database,
    private readonly settings: Settings,
  ) {}

  /** Stores a queued response. With `owner`, this process generates it immediately. */
  async add(
    { projectId, keyId }: Principal,
    { response, input, request }: NewBackground,
    owner: string | null = null,
  ): Promise<Claim> {
    await this.database.query(
      `INSERT INTO response (id, project_id, key_id, response, input, request, owner, owner_until)
       VALUES ($1, $2, $3, $4::jsonb, $5::jsonb, $6::jsonb, $7,
         CASE WHEN $7::text IS NOT NULL THEN clock_timestamp() + $8 * interval '1 millisecond' END)
       ON CONFLICT DO NOTHING`,
      [
        response.id,
        projectId,
        keyId,
        jsonbText(owner === null ? response : { ...response, status: 'in_progress' }),
        jsonbText(input),
        jsonbText(request),
        owner,
        this.settings.leaseMs,
      ],
    );
    return { id: response.id, owner: owner ?? '' };
  }

  /**
   * Claims responses that no process generates, or whose process has not renewed its claim for a lease. Projects take
   * turns; within a project, the oldest comes first.
   */
  async take(most: number): Promise<Claim[]> {
    if (most <= 0) return [];
    return this.database.transaction(async (manager) => {
      await this.database.query('SELECT pg_advisory_xact_lock($1)', [ADVISORY_LOCK], manager);
      return this.database.query<Claim>(
        `UPDATE response SET response = ${withStatus('in_progress')}, owner = $1, resume_at = NULL,
           owner_until = clock_timestamp() + $2 * interval '1 millisecond'
         WHERE id IN (
           SELECT id FROM (
             SELECT free.id, free.created_at,
               row_number() OVER (PARTITION BY free.project_id ORDER BY free.created_at, free.id)
                 + (SELECT count(*) FROM response AS other WHERE other.project_id = free.project_id
                      AND other.request IS NOT NULL AND other.owner_until >= clock_timestamp()) AS turn
             FROM response AS free JOIN project ON project.id = free.project_id AND archived_at IS NULL
             WHERE ${FREE} AND (resume_at IS NULL OR resume_at <= clock_timestamp())
           ) AS next ORDER BY turn, created_at LIMIT $3) AND ${FREE}
         RETURNING id, owner`,
        [newId('responder-'), this.settings.leaseMs, most],
        manager,
      );
    });
  }

  /** Returns the response, or null if the claim no longer holds. */
  async row({ id, owner }: Claim): Promise<StoredResponse | null> {
    const [row] = await this.database.query<StoredResponse>(
      `SELECT * FROM response WHERE ${MINE}`,
      [id, owner],
    );
    return row ?? null;
  }

  /** Renews the claim. Returns false if it no longer holds. */
  async renew({ id, owner }: Claim): Promise<boolean> {
    const rows = await this.database.query(
      `UPDATE response SET owner_until = clock_timestamp() + $3 * interval '1 millisecond'
       WHERE ${MINE} RETURNING id`,
      [id, owner, this.settings.leaseMs],
    );
    return rows.length > 0;
  }

  /** Releases the response, so that another process may generate it immediately. */
  async release({ id, owner }: Claim): Promise<void> {
    await this.database.query(
      `UPDATE response SET response = ${withStatus('queued')}, owner = NULL, owner_until = NULL WHERE ${MINE}`,
      [id, owner],
    );
  }

  /**
   * Releases the response until it can be tried again, after a delay that grows with its age, up to half a minute.
   * @param isLost whether its generation had started
   * @returns the delay in milliseconds, or null if it may not be tried again
   */
  async wait({ id, owner }: Claim, isLost: boolean): Promise<number | null> {
    const [row] = await this.database.query<{ pause: number }>(
      `UPDATE response SET response = ${withStatus('queued')}, owner = NULL, owner_until = NULL,
         losses = losses + $3::int, resume_at = clock_timestamp() + (0.5 + random())
           * LEAST(interval '20 s', GREATEST(interval '250 ms', (clock_timestamp() - created_at) / 4))
       WHERE ${MINE} AND losses + $3::int < ${MOST_LOSSES} AND created_at > clock_timestamp() - ${LONGEST_WAIT}
       RETURNING EXTRACT(EPOCH FROM resume_at - clock_timestamp())::float8 * 1000 AS pause`,
      [id, owner, isLost ? 1 : 0],
    );
    return row?.pause ?? null;
  }

  /** Stores a response that has ended, once. Returns false if the claim no longer holds. */
  async end({ id, owner }: Claim, response: ResponseObject): Promise<boolean> {
    const rows = await this.database.query(
      `UPDATE response SET response = $3::jsonb, request = NULL, owner = NULL, owner_until = NULL
       WHERE ${MINE} RETURNING id`,
      [id, owner, jsonbText(response)],
    );
    return rows.length > 0;
  }
}
