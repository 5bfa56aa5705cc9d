import { INTEGRATION_NAMES, type IntegrationType } from '@graft/contracts';
import { Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import { IS_OPEN } from '../database/entities/job.js';
import type { IntegrationRun } from '../database/entities/integrations.js';
import { newId } from '../ids.js';
import { EventLog } from '../lifecycle/event-log.js';
import type { Connection, RemoteRun, TrackedJob, TrackerError } from './tracker.js';

/** Claim on a tracker. Writes name the claim, so they have no effect once another process owns it. */
export interface TrackerClaim {
  readonly project_id: string;
  readonly type: IntegrationType;
  readonly owner: string;
}

/** Run with something to send, and its job, read at the same time. */
export type DueRun = Connection &
  TrackedJob &
  Pick<IntegrationRun, 'type' | 'cursor' | 'remote' | 'status' | 'project_id'> & {
    /** All events up to this number can be read. */
    readonly event_counter: number;
    readonly is_open: boolean;
  };

/** Result of sending a run. */
export interface SendResult {
  readonly remote: RemoteRun | null;
  readonly cursor: number;
  readonly isDone: boolean;
  /** Whether there is more to send immediately. */
  readonly hasMore: boolean;
  /** Whether the tracker accepted at least one request. */
  readonly isAccepted: boolean;
}

/** Limit of one request, from the DNS lookup to the end of the response. */
export const DEADLINE_MS = 15_000;
/** Lease of a claim. Renewed before each request. */
const CLAIM_MS = 3 * DEADLINE_MS;
const PACE_MS = 5_000;
/** Interval of heartbeats. W&B marks a run as crashed after some minutes without data. */
const BEAT_MS = 30_000;
const FIRST_PAUSE_MS = 5_000;
const LONGEST_PAUSE_MS = 5 * 60_000;
/** Time after the job's end during which a rejected run is retried. */
const GIVE_UP = `interval '3 days'`;

const after = (milliseconds: string): string =>
  `clock_timestamp() + ${milliseconds}::float8 * interval '1 millisecond'`;

/** SQL: time of the next attempt. Each failure makes the pause four times as long. */
const pause = (failures: string): string =>
  after(
    `LEAST(${FIRST_PAUSE_MS} * 4 ^ LEAST(${failures}, 6), ${LONGEST_PAUSE_MS}) * (0.75 + random() / 2)`,
  );

/** SQL: a run whose job has started or ended, with something new to send. */
const IS_DUE = `run.status = 'open' AND run.next_at <= clock_timestamp() AND (job.started_at IS NOT NULL OR NOT ${IS_OPEN})
  AND (job.event_counter > run.cursor OR NOT ${IS_OPEN} OR run.type = 'wandb'
    AND run.sent_at < clock_timestamp() - ${BEAT_MS} * interval '1 millisecond')`;

/** Claims of processes on trackers, and the progress of each run. All times are the database's. */
@Injectable()
export class RunClaims {
  private readonly paceMs: number;

  constructor(
    private readonly database: Database,
    private readonly events: EventLog,
    settings: Settings,
  ) {
    this.paceMs = Math.min(PACE_MS, settings.leaseMs / 3);
  }

  /** Claims trackers that have a due run and no owner, longest unowned first. */
  async take(most: number): Promise<TrackerClaim[]> {
    if (most <= 0) return [];
    return this.database.query<TrackerClaim>(
      `UPDATE integration SET owner = $1, owner_until = ${after('$2')}
       WHERE (project_id, type) IN (
         SELECT project_id, type FROM integration AS one
         WHERE (owner IS NULL OR owner_until < clock_timestamp()) AND next_at <= clock_timestamp() AND EXISTS (
           SELECT 1 FROM integration_run AS run JOIN job ON job.id = run.job_id
           WHERE run.project_id = one.project_id AND run.type = one.type AND ${IS_DUE})
         ORDER BY owner_until NULLS FIRST LIMIT $3 FOR UPDATE SKIP LOCKED)
       RETURNING project_id, type, owner`,
      [newId('integrations-'), CLAIM_MS, most],
    );
  }

  /**
   * Renews the claim and returns the run that has been due longest; null if none is, or the claim is lost.
   */
  async next(claim: TrackerClaim): Promise<DueRun | null> {
    const [due] = await this.database.query<DueRun>(
      `WITH mine AS (
         UPDATE integration SET owner_until = ${after('$4')}
         WHERE project_id = $1 AND type = $2 AND owner = $3 AND next_at <= clock_timestamp()
         RETURNING project_id, type, url, username, secret
       )
       SELECT mine.url, username, secret, run.type, run.project_id, cursor, remote, status, settings, job.id, job.state,
         model, spec, suffix, training_file, validation_file, fine_tuned_model, started_at, finished_at, event_counter,
         ${IS_OPEN} AS is_open
       FROM mine JOIN integration_run AS run ON run.project_id = mine.project_id AND run.type = mine.type
         JOIN job ON job.id = run.job_id
       WHERE ${IS_DUE} ORDER BY run.next_at LIMIT 1`,
      [claim.project_id, claim.type, claim.owner, CLAIM_MS],
    );
    return due ?? null;
  }

  /** Renews the claim. Returns false if another process owns the tracker: then nothing more may be sent. */
  async renew({ project_id, type, owner }: TrackerClaim): Promise<boolean> {
    const rows = await this.database.query(
      `UPDATE integration SET owner_until = ${after('$4')}
       WHERE project_id = $1 AND type = $2 AND owner = $3 RETURNING type`,
      [project_id, type, owner, CLAIM_MS],
    );
    return rows.length > 0;
  }

  /** Releases the claim, so that another process can continue immediately. */
  async release({ project_id, type, owner }: TrackerClaim): Promise<void> {
    await this.database.query(
      `UPDATE integration SET owner = NULL, owner_until = clock_timestamp()
       WHERE project_id = $1 AND type = $2 AND owner = $3`,
      [project_id, type, owner],
    );
  }

  /** Stores the run that was created or found, and adds its address to the job's events. */
  async opened(claim: TrackerClaim, due: DueRun, remote: RemoteRun, url: string): Promise<boolean> {
    return this.database.transaction(async (manager) => {
      if (!(await this.isOwned(manager, claim))) return false;
      const changed = await this.database.query(
        `UPDATE integration_run SET remote = $3, url = $4 WHERE job_id = $1 AND type = $2 AND remote IS NULL
         RETURNING job_id`,
        [due.id, due.type, JSON.stringify(remote), url],
        manager,
      );
      // The row is already set if an earlier try of this transaction committed without confirmation.
      if (changed.length > 0)
        await this.events.append(manager, due.id, [
          { message: `${INTEGRATION_NAMES[due.type]} run: ${url}` },
        ]);
      return true;
    });
  }

  /**
   * Stores what was sent. Returns false if the claim is lost: the new owner sends the same again. A score
   * that arrived since the job was read keeps the run open. One that is being written holds the job's lock,
   * so this waits for it.
   */
  async sent(claim: TrackerClaim, due: DueRun, sent: SendResult): Promise<boolean> {
    return this.database.transaction(async (manager) => {
      if (!(await this.isOwned(manager, claim))) return false;
      if (sent.isAccepted)
        await this.database.query(
          `UPDATE integration SET failures = 0, failing_since = NULL, last_error = NULL, sent_at = clock_timestamp()
           WHERE project_id = $1 AND type = $2`,
          [claim.project_id, claim.type],
          manager,
        );
      // A separate statement, so that the next one sees what was written meanwhile.
      if (sent.isDone)
        await this.database.query('SELECT 1 FROM job WHERE id = $1 FOR SHARE', [due.id], manager);
      await this.database.query(
        `UPDATE integration_run SET remote = $3, cursor = $4, next_at = ${after('$6')},
           failures = 0, error = NULL, sent_at = clock_timestamp(), status = CASE WHEN $5 AND NOT EXISTS (
             SELECT 1 FROM event WHERE event.job_id = $1 AND number > $4 AND event.type = 'metrics') THEN 'done' ELSE 'open' END
         WHERE job_id = $1 AND type = $2 AND status = 'open'`,
        [
          due.id,
          due.type,
          sent.remote && JSON.stringify(sent.remote),
          sent.cursor,
          sent.isDone,
          sent.hasMore ? 0 : this.paceMs,
        ],
        manager,
      );
      return true;
    });
  }

  /** Pauses the tracker after an error. Nothing is lost meanwhile. */
  async failed(claim: TrackerClaim, due: DueRun, { message }: TrackerError): Promise<void> {
    await this.database.transaction(async (manager) => {
      if (!(await this.isOwned(manager, claim))) return;
      await this.database.query(
        `UPDATE integration SET next_at = ${pause('failures')}, failures = failures + 1, last_error = $3,
           failing_since = COALESCE(failing_since, clock_timestamp()) WHERE project_id = $1 AND type = $2`,
        [claim.project_id, claim.type, message],
        manager,
      );
      // Moves this run behind the other due runs.
      await this.database.query(
        `UPDATE integration_run SET next_at = clock_timestamp(), error = $3 WHERE job_id = $1 AND type = $2`,
        [due.id, due.type, message],
        manager,
      );
    });
  }

  /**
   * Handles an error of this run only; other runs continue. The run is given up if the tracker rejects one
   * that it had, or if it is still rejected days after the job's end. With 403, the key may lack rights to
   * this run or to all, so the tracker counts as failing until it accepts something.
   */
  async rejected(claim: TrackerClaim, due: DueRun, refusal: TrackerError): Promise<void> {
    const { message, isForbidden } = refusal;
    await this.database.transaction(async (manager) => {
      if (!(await this.isOwned(manager, claim))) return;
      if (isForbidden)
        await this.database.query(
          `UPDATE integration SET last_error = $3, failing_since = COALESCE(failing_since, clock_timestamp())
           WHERE project_id = $1 AND type = $2`,
          [claim.project_id, claim.type, message],
          manager,
        );
      const [changed] = await this.database.query<{ status: string }>(
        `UPDATE integration_run AS run SET error = $3, failures = run.failures + 1, next_at = ${pause('run.failures')},
           status = CASE WHEN remote IS NOT NULL AND NOT $4 OR job.finished_at < clock_timestamp() - ${GIVE_UP}
             THEN 'failed' ELSE 'open' END
         FROM job WHERE job.id = run.job_id AND job_id = $1 AND type = $2 AND status = 'open' RETURNING run.status`,
        [due.id, due.type, message, isForbidden],
        manager,
      );
      if (changed?.status !== 'failed') return;
      await this.events.append(manager, due.id, [
        {
          level: 'warn',
          message: `${INTEGRATION_NAMES[due.type]} rejected this job's run; nothing more is sent to it: ${message}`,
        },
      ]);
    });
  }

  private async isOwned(manager: EntityManager, claim: TrackerClaim): Promise<boolean> {
    const rows = await this.database.query(
      'SELECT 1 FROM integration WHERE project_id = $1 AND type = $2 AND owner = $3 FOR UPDATE',
      [claim.project_id, claim.type, claim.owner],
      manager,
    );
    return rows.length > 0;
  }
}
