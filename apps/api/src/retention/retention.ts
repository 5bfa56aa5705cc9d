import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { BlobStore } from '../blobs/blob-store.js';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import type { File } from '../database/entities/storage.js';
import { FilesService } from '../files/files.service.js';
import { log } from '../log.js';

/** Any number that no other user of this database locks. */
const ADVISORY_LOCK = 7_240_252;
const KEPT_CHECKPOINTS = 3;
/** Rows of a kind that one round takes at most; a full one is followed by another at once. */
const BATCH = 200;

/**
 * Deletes what nobody needs any more: files past `expires_after`, checkpoints but the last three and the
 * one with the lowest validation loss at its own step of each job, blobs that no row has named for an hour, data
 * reports of a month ago, what interrupted uploads left. The row that names bytes always goes before them. Safe if
 * two run; an advisory lock makes it one.
 */
@Injectable()
export class Retention implements OnModuleDestroy {
  private timer: NodeJS.Timeout | null = null;
  private round: Promise<void> | null = null;
  private closing = false;

  constructor(
    private readonly database: Database,
    private readonly blobs: BlobStore,
    private readonly files: FilesService,
    private readonly settings: Settings,
  ) {}

  start(): void {
    this.timer = setInterval(() => {
      this.round ??= this.run().finally(() => (this.round = null));
    }, this.settings.retentionMs);
  }

  private async run(): Promise<void> {
    try {
      await this.blobs.sweep();
      while (!this.closing && (await this.batch()));
    } catch (error) {
      log.warn({ err: error }, 'could not delete what has expired; trying again later');
    }
  }

  /** True if there may be more to do. */
  private async batch(): Promise<boolean> {
    const more = await this.database.alone(ADVISORY_LOCK, async () => {
      const files = await this.expiredFiles();
      const checkpoints = await this.oldCheckpoints();
      const artifacts = await this.leftArtifacts();
      const blobs = await this.unnamedBlobs();
      const reports = await this.oldReports();
      if (files + checkpoints + artifacts + blobs + reports > 0)
        log.info({ files, checkpoints, artifacts, blobs, reports }, 'deleted what nobody needs');
      return Math.max(files, checkpoints, artifacts, blobs, reports) >= BATCH;
    });
    return more ?? false;
  }

  /** A file that an open job uses stays until that has ended. */
  private async expiredFiles(): Promise<number> {
    const expired = await this.database.query<Pick<File, 'id' | 'sha256'>>(
      `SELECT id, sha256 FROM file WHERE expires_at < clock_timestamp() AND NOT EXISTS (
         SELECT 1 FROM job WHERE file.id IN (training_file, validation_file)
           AND state IN ('validating_files', 'queued', 'running', 'paused')) LIMIT $1`,
      [BATCH],
    );
    for (const file of expired) await this.files.drop(file);
    return expired.length;
  }

  /** Data reports are found again when they are asked for. */
  private async oldReports(): Promise<number> {
    const gone = await this.database.query(
      `DELETE FROM data_report WHERE key IN (
         SELECT key FROM data_report WHERE created_at < clock_timestamp() - interval '30 days' LIMIT $1)
       RETURNING key`,
      [BATCH],
    );
    return gone.length;
  }

  private async oldCheckpoints(): Promise<number> {
    const old = await this.database.query<{ job_id: string; ids: string[] }>(
      `WITH newest AS (
         SELECT DISTINCT ON (job_id, step) id, job_id, step, (
           SELECT loss FROM evaluation WHERE evaluation.job_id = checkpoint.job_id
             AND evaluation.step = checkpoint.step AND evaluation.epoch <= checkpoint.epoch
           ORDER BY evaluation.epoch DESC LIMIT 1) AS loss
         FROM checkpoint ORDER BY job_id, step, epoch DESC
       ), ranked AS (
         SELECT id, loss, row_number() OVER (PARTITION BY job_id ORDER BY step DESC) AS age,
           row_number() OVER (PARTITION BY job_id ORDER BY loss NULLS LAST, step DESC) AS place
         FROM newest
       )
       SELECT job_id, array_agg(id) AS ids FROM (
         SELECT job_id, id FROM checkpoint
         WHERE id NOT IN (SELECT id FROM ranked WHERE age <= $1 OR (place = 1 AND loss < 'Infinity'))
         LIMIT $2
       ) AS old GROUP BY job_id`,
      [KEPT_CHECKPOINTS, BATCH],
    );
    for (const { job_id, ids } of old)
      await this.database.transaction((manager) => this.dropCheckpoints(manager, job_id, ids));
    return old.reduce((sum, { ids }) => sum + ids.length, 0);
  }

  /** Under the job's lock, so that no checkpoint is being added. */
  private async dropCheckpoints(
    manager: EntityManager,
    jobId: string,
    ids: readonly string[],
  ): Promise<void> {
    await this.database.query('SELECT 1 FROM job WHERE id = $1 FOR UPDATE', [jobId], manager);
    // What was put again after its checkpoint belongs to another that is still on its way.
    await this.database.query(
      `DELETE FROM artifact USING checkpoint AS old
       WHERE artifact.job_id = $1 AND old.job_id = $1 AND old.id = ANY($2)
         AND (old.files || old.adapter) @> jsonb_build_array(jsonb_build_object('sha256', artifact.sha256))
         AND artifact.created_at <= old.created_at
         AND NOT EXISTS (SELECT 1 FROM ${NAMED_BY_CHECKPOINT} AND checkpoint.id <> ALL($2))`,
      [jobId, ids],
      manager,
    );
    await this.database.query(
      'DELETE FROM checkpoint WHERE job_id = $1 AND id = ANY($2)',
      [jobId, ids],
      manager,
    );
  }

  /** What attempts that are over have put for checkpoints that never came. */
  private async leftArtifacts(): Promise<number> {
    const rows = await this.database.query(
      `DELETE FROM artifact WHERE (job_id, epoch, sha256, name) IN (
         SELECT artifact.job_id, artifact.epoch, sha256, name FROM artifact JOIN job ON job.id = artifact.job_id
         WHERE artifact.created_at < now() - interval '1 hour'
           AND (job.state <> 'running' OR job.epoch <> artifact.epoch)
           AND NOT EXISTS (SELECT 1 FROM ${NAMED_BY_CHECKPOINT}) LIMIT $1
       ) RETURNING job_id`,
      [BATCH],
    );
    return rows.length;
  }

  private async unnamedBlobs(): Promise<number> {
    const names = await this.blobs.unnamed(BATCH);
    for (const name of names) await this.blobs.release(name);
    return names.length;
  }

  async onModuleDestroy(): Promise<void> {
    this.closing = true;
    if (this.timer) clearInterval(this.timer);
    await this.round;
  }
}

const NAMED_BY_CHECKPOINT = `checkpoint WHERE checkpoint.job_id = artifact.job_id
  AND (checkpoint.files || checkpoint.adapter) @> jsonb_build_array(jsonb_build_object('sha256', artifact.sha256))`;
