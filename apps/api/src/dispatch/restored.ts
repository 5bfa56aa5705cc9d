import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import type { Job } from '../database/entities/job.js';
import { log } from '../log.js';
import { Endings } from './endings.js';
import { Outbox } from './outbox.js';

/** More than any job has attempts: no epoch that was handed out and forgotten comes again. */
const JUMP = 1000;

/** A server, a history of it, and a place in that. */
interface Position {
  readonly system: string;
  readonly timeline: number;
  readonly lsn: string;
}

interface Found extends Position {
  /** Behind what was seen of the same server and timeline. */
  readonly behind: boolean;
  /** The server and timeline that this database was last used on. */
  readonly known: string | null;
}

/**
 * A database that was restored, or a standby that took over without the last commits, has forgotten
 * epochs that workers still hold, and would hand them out again. When the server, its timeline or the
 * place in it is not what was seen last, every open epoch goes up by 1,000. The place is remembered
 * outside of the database, in GRAFT_HOME.
 */
@Injectable()
export class Restored {
  private readonly file: string;

  constructor(
    private readonly database: Database,
    private readonly endings: Endings,
    private readonly outbox: Outbox,
    settings: Settings,
  ) {
    this.file = join(settings.home, 'database-position.json');
  }

  /** Before anything is served, and now and then: a standby may take over while this process runs. */
  async check(): Promise<void> {
    const seen = this.remembered();
    const now = await this.position(seen);
    if (now.known === null) await this.settle(now, this.database.manager);
    else if (now.behind) await this.jump(now, 'it is behind what was seen of it');
    else if (now.known !== `${now.system}/${now.timeline}`)
      await this.jump(now, 'its server or its timeline is another');
    this.remember(now);
  }

  private async position(seen: Position | null): Promise<Found> {
    const [now] = await this.database.query<Found>(
      `SELECT at.*, COALESCE(at.system = $1 AND at.timeline = $2 AND at.lsn::pg_lsn < $3::pg_lsn, false) AS behind,
         (SELECT system_identifier || '/' || timeline FROM installation) AS known FROM (
         SELECT system_identifier::text AS system, pg_current_wal_flush_lsn()::text AS lsn,
           ('x' || left(pg_walfile_name(pg_current_wal_flush_lsn()), 8))::bit(32)::int AS timeline
         FROM pg_control_system()
       ) AS at`,
      [seen?.system ?? null, seen?.timeline ?? null, seen?.lsn ?? null],
    );
    if (!now) throw new Error('the database does not say where it is');
    return now;
  }

  private async settle({ system, timeline }: Position, manager: EntityManager): Promise<void> {
    await this.database.query(
      `INSERT INTO installation (id, system_identifier, timeline) VALUES (1, $1, $2)
       ON CONFLICT (id) DO UPDATE SET system_identifier = excluded.system_identifier, timeline = excluded.timeline`,
      [system, timeline],
      manager,
    );
  }

  private async jump(now: Found, why: string): Promise<void> {
    const counts = await this.database.transaction(async (manager) => {
      // Another process may have been here first.
      const [known] = await this.database.query<{ place: string }>(
        `SELECT system_identifier || '/' || timeline AS place FROM installation FOR UPDATE`,
        [],
        manager,
      );
      if (!now.behind && known?.place !== now.known) return null;
      await this.settle(now, manager);
      return this.raiseEpochs(manager);
    });
    if (counts) log.warn({ why, ...counts }, 'the database was restored: open epochs went up');
  }

  private async raiseEpochs(manager: EntityManager): Promise<{ open: number; running: number }> {
    const running = await this.database.query<Job>(
      `SELECT * FROM job WHERE state = 'running' FOR UPDATE`,
      [],
      manager,
    );
    for (const job of running)
      await this.endings.requeue(manager, job, {
        outcome: 'database_restored',
        count: 'none',
        delayMs: 0,
        message: 'The database was restored; going on from the last checkpoint in it',
        level: 'warn',
      });
    const open = await this.database.query<{ id: string; state: string }>(
      `UPDATE job SET epoch = epoch + $1 WHERE state NOT IN ('succeeded', 'failed', 'cancelled') RETURNING id, state`,
      [JUMP],
      manager,
    );
    await this.database.query('DELETE FROM outbox WHERE sent_at IS NULL', [], manager);
    for (const { id, state } of open) if (state === 'queued') await this.outbox.write(manager, id);
    return { open: open.length, running: running.length };
  }

  private remembered(): Position | null {
    try {
      return JSON.parse(readFileSync(this.file, 'utf8')) as Position;
    } catch {
      // The first start, or somebody else's home: there is nothing to compare with.
      return null;
    }
  }

  private remember({ system, timeline, lsn }: Position): void {
    try {
      writeFileSync(`${this.file}.tmp`, JSON.stringify({ system, timeline, lsn }));
      renameSync(`${this.file}.tmp`, this.file);
    } catch (error) {
      // A full disk: what was written last still stands, and only falls further behind.
      log.warn({ err: error }, 'cannot note where the database is');
    }
  }
}
