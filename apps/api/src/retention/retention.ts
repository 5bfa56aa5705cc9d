import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { BlobStore } from '../blobs/blob-store.js';
import { StorageQuota } from '../blobs/storage-quota.js';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import { IS_OPEN } from '../database/entities/job.js';
import type { File } from '../database/entities/storage.js';
import { DeletedTexts } from '../evals/deleted-texts.js';
import { FilesService, OPEN_USERS } from '../files/files.service.js';
import { UploadsService } from '../files/uploads.service.js';
import { log } from '../log.js';
import { DeletedJobs } from './deleted-jobs.js';
import { DeletedProjects } from './deleted-projects.js';
import { OldCheckpoints } from './old-checkpoints.js';

/** Id of the advisory lock. Any number that no other user of this database locks. */
const ADVISORY_LOCK = 7_240_252;
/** Maximum number of rows of each kind per round. Another round follows a full one immediately. */
const BATCH = 200;

interface Batch {
  readonly deleted: number;
  /** Whether another round should follow immediately. */
  readonly more: boolean;
}

const batchOf = (deleted: number): Batch => ({ deleted, more: deleted >= BATCH });

/**
 * Deletes data that is no longer needed:
 *
 * - files past `expires_after`
 * - checkpoints of each job, except those that OldCheckpoints keeps
 * - deleted jobs and projects that can no longer be restored
 * - texts of eval runs whose file or job was deleted
 * - blobs that no row has referenced for an hour, and what interrupted uploads left behind
 * - data reports older than 30 days, and old webhook deliveries, responses and audit entries
 *
 * A row is always deleted before the bytes that it references. An advisory lock ensures that one process does
 * this at a time; several would be safe too.
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
    private readonly checkpoints: OldCheckpoints,
    private readonly deletedJobs: DeletedJobs,
    private readonly deletedProjects: DeletedProjects,
    private readonly texts: DeletedTexts,
    private readonly uploads: UploadsService,
    private readonly quota: StorageQuota,
    private readonly settings: Settings,
  ) {}

  start(): void {
    this.timer = setInterval(() => {
      this.round ??= this.run().finally(() => (this.round = null));
    }, this.settings.retentionMs);
  }

  private async run(): Promise<void> {
    try {
      await this.logErrors('interrupted', () => this.blobs.sweep());
      await this.logErrors('storage', () => this.quota.sumChanges(BATCH));
      while (!this.closing && (await this.batch()));
    } catch (error) {
      log.warn({ err: error }, 'could not delete expired data; retrying later');
    }
  }

  /** Returns true if there may be more to delete. */
  private async batch(): Promise<boolean> {
    const kinds: Readonly<Record<string, () => Promise<Batch>>> = {
      files: async () => batchOf(await this.expiredFiles()),
      jobs: () => this.deletedJobs.batch(),
      projects: () => this.deletedProjects.batch(),
      texts: () => this.texts.batch(),
      checkpoints: () => this.checkpoints.batch(),
      artifacts: async () => batchOf(await this.orphanedArtifacts()),
      blobs: async () => batchOf(await this.unreferencedBlobs()),
      reports: async () => batchOf(await this.oldReports()),
      uploads: async () => batchOf(await this.uploads.expire(BATCH)),
      webhooks: async () => batchOf(await this.oldWebhooks()),
      responses: async () => batchOf(await this.oldResponses()),
      audit: async () => batchOf(await this.oldAudit()),
    };
    const more = await this.database.runExclusively(ADVISORY_LOCK, async () => {
      const gone: Record<string, number> = {};
      let full = false;
      for (const [kind, batch] of Object.entries(kinds)) {
        const done = (await this.logErrors(kind, batch)) ?? batchOf(0);
        gone[kind] = done.deleted;
        full ||= done.more;
      }
      if (Object.values(gone).some((count) => count > 0))
        log.info(gone, 'deleted data that is no longer needed');
      return full;
    });
    return more ?? false;
  }

  /** Logs errors, so that a failure with one kind of data does not stop the others. */
  private async logErrors<T>(kind: string, work: () => Promise<T>): Promise<T | null> {
    try {
      return await work();
    } catch (error) {
      log.warn({ err: error, kind }, 'could not delete expired data; retrying later');
      return null;
    }
  }

  /** Deletes expired files, except those that an open job or batch uses. */
  private async expiredFiles(): Promise<number> {
    const expired = await this.database.query<Pick<File, 'id' | 'sha256'>>(
      `SELECT id, sha256 FROM file WHERE expires_at < clock_timestamp() AND NOT EXISTS (
         SELECT 1 FROM (${OPEN_USERS}) AS used WHERE used.file = file.id) LIMIT $1`,
      [BATCH],
    );
    for (const file of expired) await this.files.drop(file);
    return expired.length;
  }

  /** Deletes old data reports. They are computed again on request. */
  private async oldReports(): Promise<number> {
    const gone = await this.database.query(
      `DELETE FROM data_report WHERE key IN (
         SELECT key FROM data_report WHERE created_at < clock_timestamp() - interval '30 days' LIMIT $1)
       RETURNING key`,
      [BATCH],
    );
    return gone.length;
  }

  /** Deletes old deliveries, long after their last retry. */
  private oldWebhooks(): Promise<number> {
    return this.deleteOlder('webhook_delivery', 'number', this.settings.deliveryDays);
  }

  private async oldResponses(): Promise<number> {
    const days = this.settings.responseDays;
    if (days === null) return 0;
    const gone = await this.database.query(
      `DELETE FROM response WHERE id IN (SELECT id FROM response
         WHERE created_at < clock_timestamp() - $2 * interval '1 day' ORDER BY created_at LIMIT $1)
       RETURNING id`,
      [BATCH, days],
    );
    return gone.length;
  }

  private oldAudit(): Promise<number> {
    return this.deleteOlder('audit', 'id', this.settings.auditDays);
  }

  /** Deletes those of the oldest rows of a table that are older than `days`; none if `days` is null. */
  private async deleteOlder(table: string, key: string, days: number | null): Promise<number> {
    if (days === null) return 0;
    const gone = await this.database.query(
      `DELETE FROM ${table} WHERE ${key} IN (
         SELECT ${key} FROM (SELECT ${key}, created_at FROM ${table} ORDER BY ${key} LIMIT $1) AS oldest
         WHERE created_at < clock_timestamp() - $2 * interval '1 day')
       RETURNING ${key}`,
      [BATCH, days],
    );
    return gone.length;
  }

  /**
   * Deletes artifacts of ended attempts whose checkpoints were never reported, and all artifacts of ended
   * jobs.
   */
  private async orphanedArtifacts(): Promise<number> {
    const rows = await this.database.query(
      `DELETE FROM artifact WHERE (job_id, attempt, sha256, name) IN (
         SELECT artifact.job_id, artifact.attempt, artifact.sha256, artifact.name FROM artifact JOIN job ON job.id = artifact.job_id
         WHERE artifact.created_at < now() - interval '1 hour' AND (NOT ${IS_OPEN} OR
           (state <> 'running' OR job.attempt <> artifact.attempt) AND NOT EXISTS (
             SELECT 1 FROM blob_ref JOIN checkpoint ON checkpoint.id = owner_id
             WHERE blob_ref.sha256 = artifact.sha256 AND kind = 'checkpoint' AND checkpoint.job_id = artifact.job_id))
         LIMIT $1
       ) RETURNING job_id`,
      [BATCH],
    );
    return rows.length;
  }

  private async unreferencedBlobs(): Promise<number> {
    const names = await this.blobs.unreferenced(BATCH);
    for (const name of names) await this.blobs.release(name);
    return names.length;
  }

  async onModuleDestroy(): Promise<void> {
    this.closing = true;
    if (this.timer) clearInterval(this.timer);
    await this.round;
  }
}
