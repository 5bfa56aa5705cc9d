import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import { IS_OPEN, type Job } from '../database/entities/job.js';
import { randomText } from '../ids.js';
import { log } from '../log.js';
import { AttemptTransitions } from './attempt-transitions.js';
import { Outbox } from './outbox.js';

/** Larger than the number of attempts of any job, so that no lost attempt number is assigned again. */
const JUMP = 1000;

/** Position of a database: its server, its timeline, and a mark that only grows. */
interface Position {
  readonly system: string;
  readonly timeline: number;
  readonly mark: number;
}

interface Found extends Position {
  /** Server and timeline of the last use of this database, as `system/timeline`. */
  readonly known: string | null;
}

/**
 * Protects against a restored database, or a standby that took over without the last commits. Such a
 * database does not contain attempts that workers still hold, and would assign their numbers again. If the
 * server or timeline has changed, or the mark is lower than the last known one, `check` raises the attempt
 * number of every unfinished job by 1,000. Each check raises the mark and stores it outside of the
 * database, in GRAFT_HOME.
 */
@Injectable()
export class RestoreGuard {
  private readonly file: string;

  constructor(
    private readonly database: Database,
    private readonly transitions: AttemptTransitions,
    private readonly outbox: Outbox,
    settings: Settings,
  ) {
    this.file = join(settings.home, 'database-position.json');
  }

  /**
   * Checks the position before the API serves requests, and periodically after that: a standby may take
   * over while this process runs.
   */
  async check(): Promise<void> {
    const seen = this.readPosition();
    const now = await this.found();
    const here = `${now.system}/${now.timeline}`;
    const isBehind =
      seen !== null && `${seen.system}/${seen.timeline}` === here && now.mark < seen.mark;
    if (isBehind) await this.advance(now, seen.mark, 'it is behind its last recorded position');
    else if (now.known !== null && now.known !== here)
      await this.advance(now, now.mark, 'its server or timeline has changed');
    const mark = await this.settle(now, Math.max(now.mark, isBehind ? seen.mark : 0) + 1);
    this.writePosition({ ...now, mark });
  }

  private async found(): Promise<Found> {
    const [now] = await this.database.query<Omit<Found, 'mark'> & { mark: string }>(
      `SELECT system_identifier::text AS system,
         ('x' || left(pg_walfile_name(pg_current_wal_flush_lsn()), 8))::bit(32)::int AS timeline,
         (SELECT system_identifier || '/' || timeline FROM installation) AS known,
         COALESCE((SELECT mark FROM installation), 0) AS mark
       FROM pg_control_system()`,
    );
    if (!now) throw new Error('the database returned no position');
    return { ...now, mark: Number(now.mark) };
  }

  /** Stores the position of the database and raises its mark to at least `mark`. Returns the new mark. */
  private async settle(
    { system, timeline }: Position,
    mark: number,
    manager?: EntityManager,
  ): Promise<number> {
    const [row] = await this.database.query<{ mark: string }>(
      `INSERT INTO installation (id, system_identifier, timeline, mark) VALUES (1, $1, $2, $3)
       ON CONFLICT (id) DO UPDATE SET system_identifier = excluded.system_identifier, timeline = excluded.timeline,
         mark = GREATEST(installation.mark, excluded.mark) RETURNING mark`,
      [system, timeline, mark],
      manager,
    );
    return Number(row?.mark ?? mark);
  }

  private async advance(now: Found, mark: number, why: string): Promise<void> {
    const counts = await this.database.transaction(async (manager) => {
      // Another process may have handled it already.
      const [known] = await this.database.query<{ place: string; mark: string }>(
        `SELECT system_identifier || '/' || timeline AS place, mark FROM installation FOR UPDATE`,
        [],
        manager,
      );
      if (
        (known?.place ?? null) !== now.known ||
        Number(known?.mark) >= Math.max(mark, now.mark + 1)
      )
        return null;
      await this.settle(now, mark, manager);
      return this.raiseAttempts(manager);
    });
    if (counts)
      log.warn(
        { why, ...counts },
        'the database was restored: raised the attempt numbers of unfinished jobs',
      );
  }

  private async raiseAttempts(manager: EntityManager): Promise<{ open: number; running: number }> {
    const running = await this.database.query<Job>(
      `SELECT * FROM job WHERE state = 'running' FOR UPDATE`,
      [],
      manager,
    );
    for (const job of running)
      await this.transitions.requeue(manager, job, {
        outcome: 'database_restored',
        count: 'none',
        delayMs: 0,
        message: 'The database was restored; resuming from the last checkpoint in it',
        level: 'warn',
      });
    const open = await this.database.query<{ id: string; state: string }>(
      `UPDATE job SET attempt = attempt + $1 WHERE ${IS_OPEN} RETURNING id, state`,
      [JUMP],
      manager,
    );
    await this.database.query('DELETE FROM outbox WHERE sent_at IS NULL', [], manager);
    for (const { id, state } of open) if (state === 'queued') await this.outbox.write(manager, id);
    return { open: open.length, running: running.length };
  }

  private readPosition(): Position | null {
    try {
      return JSON.parse(readFileSync(this.file, 'utf8')) as Position;
    } catch {
      // First start, or a different GRAFT_HOME: there is no position to compare with.
      return null;
    }
  }

  private writePosition({ system, timeline, mark }: Position): void {
    try {
      // A unique name: another API process may share the directory.
      const temporary = `${this.file}.${randomText(8)}.tmp`;
      writeFileSync(temporary, JSON.stringify({ system, timeline, mark }));
      renameSync(temporary, this.file);
    } catch (error) {
      // The disk may be full. The previous position stays valid; it only gets older.
      log.warn({ err: error }, 'could not store the position of the database');
    }
  }
}
