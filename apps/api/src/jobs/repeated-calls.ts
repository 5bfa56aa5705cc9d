import { Injectable } from '@nestjs/common';
import { DomainError } from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import type { Principal } from '../auth/principal.js';
import { Database } from '../database/database.js';
import { sha256 } from '../ids.js';

/** Marks of a repeated request (docs/guides/http-api.md). */
export interface RetryMarks {
  readonly idempotencyKey: string | null;
  readonly sdkRetry: boolean;
}

const SDK_RETRY_WINDOW = '2 minutes';
/** Prefix of the keys of jobs that SDK retries created; the job's id follows. */
const RETRY_KEY = 'sdk-retry ';

/**
 * SQL: the job that the call created was deleted. It is no longer a valid response, and its key is free.
 */
const IS_DELETED = `EXISTS (SELECT 1 FROM job WHERE job.id = idempotency.job_id AND job.deleted_at IS NOT NULL)`;

/** A create call. */
export interface Call {
  readonly project: string;
  /** Hash of the body. */
  readonly hash: string;
  readonly marks: RetryMarks;
  /** Time of arrival by the database's clock. */
  readonly arrived: Date;
}

/** @param body the part of the request that identifies repeated calls */
export const callOf = (caller: Principal, body: unknown, marks: RetryMarks): Call => ({
  project: caller.projectId,
  hash: sha256(JSON.stringify(body ?? null)),
  marks,
  arrived: caller.at,
});

/** Deduplicates create calls: repeated calls return the job of the first one. */
@Injectable()
export class RepeatedCalls {
  constructor(private readonly database: Database) {}

  /**
   * Returns the id of the job that an equal call created, if this call is marked as a possible repetition.
   */
  async createdJob(call: Call): Promise<string | null> {
    return isMarked(call.marks) ? this.earlier(call, this.database.manager) : null;
  }

  private async earlier(call: Call, manager: EntityManager): Promise<string | null> {
    const { sql, values } = earlierCall(call);
    const [row] = await this.database.query<Owner>(sql, values, manager);
    return ownerOf(row, call.hash);
  }

  /**
   * Returns the id of the job that an equal call created, or null if this transaction may create the job
   * with id `id`. Without an idempotency key, equal calls wait for each other here, because validation may
   * have taken longer than an SDK's timeout.
   */
  async claim(manager: EntityManager, call: Call, id: string): Promise<string | null> {
    const { project, hash, marks } = call;
    if (marks.idempotencyKey !== null)
      return this.claimKey(manager, call, marks.idempotencyKey, id, null);
    // A separate statement: the snapshot of the next one must include the commits of the previous lock
    // holders.
    await this.database.query(
      'SELECT pg_advisory_xact_lock(hashtextextended($1, 0))',
      [`create ${project} ${hash}`],
      manager,
    );
    const own = marks.sdkRetry ? `${RETRY_KEY}${id}` : id;
    return this.claimKey(manager, call, own, id, earlierCall(call));
  }

  /**
   * Returns the id of the job that owns the key or that an earlier call created, or null if this
   * transaction has claimed the key. The owner may be this job: an earlier run of the transaction may have
   * committed before its connection was lost.
   */
  private async claimKey(
    manager: EntityManager,
    { project, hash }: Call,
    key: string,
    id: string,
    earlier: ReturnType<typeof earlierCall> | null,
  ): Promise<string | null> {
    const known = earlier?.values ?? [project];
    const [k, h, j] = [1, 2, 3].map((n) => `$${known.length + n}`);
    const [row] = await this.database.query<Owner & { claimed: boolean }>(
      `WITH earlier AS (${earlier?.sql ?? 'SELECT job_id, request_hash FROM idempotency WHERE false'}),
       claimed AS (
         INSERT INTO idempotency (project_id, key, request_hash, job_id)
         SELECT $1, ${k}, ${h}, ${j} WHERE NOT EXISTS (SELECT 1 FROM earlier)
         ON CONFLICT (project_id, key) DO UPDATE
           SET request_hash = excluded.request_hash, job_id = excluded.job_id, created_at = now()
           WHERE idempotency.created_at <= now() - interval '24 hours' OR ${IS_DELETED}
         RETURNING job_id, request_hash
       )
       SELECT *, false AS claimed FROM earlier UNION ALL SELECT *, true FROM claimed`,
      [...known, key, hash, id],
      manager,
    );
    if (row?.claimed) return null;
    if (row) return ownerOf(row, hash);
    const [owner] = await this.database.query<Owner>(
      'SELECT job_id, request_hash FROM idempotency WHERE project_id = $1 AND key = $2',
      [project, key],
      manager,
    );
    return ownerOf(owner, hash);
  }
}

interface Owner {
  readonly job_id: string;
  readonly request_hash: string;
}

function ownerOf(owner: Owner | undefined, hash: string): string | null {
  if (owner && owner.request_hash !== hash) throw mismatch();
  return owner?.job_id ?? null;
}

/** Whether the call is marked as a possible repetition. No job can exist before the first call arrives. */
const isMarked = ({ idempotencyKey, sdkRetry }: RetryMarks): boolean =>
  idempotencyKey !== null || sdkRetry;

/** Query for the row of an equal call; its first parameter is the project. */
function earlierCall({ project, hash, marks, arrived }: Call): { sql: string; values: unknown[] } {
  const [where, values] =
    marks.idempotencyKey !== null
      ? [`key = $2 AND created_at > now() - interval '24 hours'`, [marks.idempotencyKey]]
      : marks.sdkRetry
        ? [`request_hash = $2 AND created_at > now() - interval '${SDK_RETRY_WINDOW}'`, [hash]]
        : // A first call that arrived before its retry but is processed after it.
          [`request_hash = $2 AND key LIKE '${RETRY_KEY}%' AND created_at > $3`, [hash, arrived]];
  return {
    sql: `SELECT job_id, request_hash FROM idempotency WHERE project_id = $1 AND ${where} AND NOT ${IS_DELETED}
       ORDER BY created_at DESC LIMIT 1`,
    values: [project, ...values],
  };
}

const mismatch = (): DomainError =>
  new DomainError(
    'idempotency_mismatch',
    'this Idempotency-Key was already used with a different request body; use a new key',
    'Idempotency-Key',
  );
