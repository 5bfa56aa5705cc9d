import { INTEGRATION_NAMES, type IntegrationType } from '@graft/contracts';
import { Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import { IS_OPEN } from '../database/entities/job.js';
import type { IntegrationRun } from '../database/entities/integrations.js';
import { newId } from '../ids.js';
import { EventLog } from '../lifecycle/event-log.js';
import type { Connection, Remote, TrackedJob, TrackerRefusal } from './tracker.js';

/** A tracker that this process sends to: what it writes names the claim, and so changes nothing once it is another's. */
export interface TrackerClaim {
  readonly project_id: string;
  readonly type: IntegrationType;
  readonly owner: string;
}

/** A run that something is to be sent of, with its job as it was at one moment. */
export type DueRun = Connection &
  TrackedJob &
  Pick<IntegrationRun, 'type' | 'cursor' | 'remote' | 'status' | 'project_id'> & {
    /** All events up to this one are there to be read. */
    readonly event_counter: number;
    readonly is_open: boolean;
  };

/** What came of a turn with a run. */
export interface Sent {
  readonly remote: Remote | null;
  readonly cursor: number;
  readonly isDone: boolean;
  /** There is more to send, at once. */
  readonly isMore: boolean;
  /** The tracker was asked something, and did it. */
  readonly isHeard: boolean;
}

/** Of one request, from finding the address to the end of the answer. */
export const DEADLINE_MS = 15_000;
/** Renewed before each request. */
const CLAIM_MS = 3 * DEADLINE_MS;
const PACE_MS = 5_000;
/** W&B calls a run crashed of which it has heard nothing for minutes. */
const BEAT_MS = 30_000;
const FIRST_PAUSE_MS = 5_000;
const LONGEST_PAUSE_MS = 5 * 60_000;
/** How long after its job has ended a run is offered to a tracker that refuses it. */
const GIVE_UP = `interval '3 days'`;

const after = (milliseconds: string): string =>
  `clock_timestamp() + ${milliseconds}::float8 * interval '1 millisecond'`;

/** SQL: until the next try, four times as long after each failure. */
const pause = (failures: string): string =>
  after(
    `LEAST(${FIRST_PAUSE_MS} * 4 ^ LEAST(${failures}, 6), ${LONGEST_PAUSE_MS}) * (0.75 + random() / 2)`,
  );

/** SQL: a run that has begun to train, or is over, and of which there is something new. */
const IS_DUE = `run.status = 'open' AND run.next_at <= clock_timestamp() AND (job.started_at IS NOT NULL OR NOT ${IS_OPEN})
  AND (job.event_counter > run.cursor OR NOT ${IS_OPEN} OR run.type = 'wandb'
    AND run.sent_at < clock_timestamp() - ${BEAT_MS} * interval '1 millisecond')`;

/** Which process sends to which tracker, and how much of each run is there. All times are the database's. */
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

  /** Takes trackers for which a run is due, and that nobody sends to: first those left longest ago. */
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

  /** What is due longest, while the tracker is the claim's, which is renewed. */
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

  /** False: the tracker is another's now, and nothing more may be sent to it. */
  async renew({ project_id, type, owner }: TrackerClaim): Promise<boolean> {
    const rows = await this.database.query(
      `UPDATE integration SET owner_until = ${after('$4')}
       WHERE project_id = $1 AND type = $2 AND owner = $3 RETURNING type`,
      [project_id, type, owner, CLAIM_MS],
    );
    return rows.length > 0;
  }

  /** Another process may go on at once. */
  async leave({ project_id, type, owner }: TrackerClaim): Promise<void> {
    await this.database.query(
      `UPDATE integration SET owner = NULL, owner_until = clock_timestamp()
       WHERE project_id = $1 AND type = $2 AND owner = $3`,
      [project_id, type, owner],
    );
  }

  /** A run was made, or found: its address is the job's from now on. */
  async opened(claim: TrackerClaim, due: DueRun, remote: Remote, url: string): Promise<boolean> {
    return this.database.transaction(async (manager) => {
      if (!(await this.isMine(manager, claim))) return false;
      const changed = await this.database.query(
        `UPDATE integration_run SET remote = $3, url = $4 WHERE job_id = $1 AND type = $2 AND remote IS NULL
         RETURNING job_id`,
        [due.id, due.type, JSON.stringify(remote), url],
        manager,
      );
      // A run of this transaction whose COMMIT was done but not heard has told it already.
      if (changed.length > 0)
        await this.events.append(manager, due.id, [
          { message: `${INTEGRATION_NAMES[due.type]} run: ${url}` },
        ]);
      return true;
    });
  }

  /**
   * False: the tracker is not the claim's any more, and whoever has it sends the same again. A score that has come since
   * the job was read keeps a run open; one that is just being written holds the job, and is waited for.
   */
  async sent(claim: TrackerClaim, due: DueRun, sent: Sent): Promise<boolean> {
    return this.database.transaction(async (manager) => {
      if (!(await this.isMine(manager, claim))) return false;
      if (sent.isHeard)
        await this.database.query(
          `UPDATE integration SET failures = 0, failing_since = NULL, last_error = NULL, sent_at = clock_timestamp()
           WHERE project_id = $1 AND type = $2`,
          [claim.project_id, claim.type],
          manager,
        );
      // A statement of its own: the next one sees what was written meanwhile.
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
          sent.isMore ? 0 : this.paceMs,
        ],
        manager,
      );
      return true;
    });
  }

  /** The tracker is left alone for a while; nothing is lost meanwhile. */
  async failed(claim: TrackerClaim, due: DueRun, { message }: TrackerRefusal): Promise<void> {
    await this.database.transaction(async (manager) => {
      if (!(await this.isMine(manager, claim))) return;
      await this.database.query(
        `UPDATE integration SET next_at = ${pause('failures')}, failures = failures + 1, last_error = $3,
           failing_since = COALESCE(failing_since, clock_timestamp()) WHERE project_id = $1 AND type = $2`,
        [claim.project_id, claim.type, message],
        manager,
      );
      // Of equals another one is tried next.
      await this.database.query(
        `UPDATE integration_run SET next_at = clock_timestamp(), error = $3 WHERE job_id = $1 AND type = $2`,
        [due.id, due.type, message],
        manager,
      );
    });
  }

  /**
   * The run itself was refused: others go on. What was there and is refused now is given up, as is what is refused for
   * days. Where rights are lacking nobody can tell whether those of the key are, so the tracker counts as failing until
   * it takes something.
   */
  async refused(claim: TrackerClaim, due: DueRun, refusal: TrackerRefusal): Promise<void> {
    const { message, isForbidden } = refusal;
    await this.database.transaction(async (manager) => {
      if (!(await this.isMine(manager, claim))) return;
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

  private async isMine(manager: EntityManager, claim: TrackerClaim): Promise<boolean> {
    const rows = await this.database.query(
      'SELECT 1 FROM integration WHERE project_id = $1 AND type = $2 AND owner = $3 FOR UPDATE',
      [claim.project_id, claim.type, claim.owner],
      manager,
    );
    return rows.length > 0;
  }
}
