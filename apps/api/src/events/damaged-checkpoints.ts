import { Injectable } from '@nestjs/common';
import { BlobStore } from '../blobs/blob-store.js';
import { WorkerDatabase } from '../database/database.js';
import type { Checkpoint } from '../database/entities/job.js';
import { EventLog } from '../lifecycle/event-log.js';
import { log } from '../log.js';
import { Counters } from '../metrics/counters.js';
import type { ReadEvent } from './reported.js';

const CODE = 'damaged_checkpoint';

/**
 * Checkpoints that cannot be resumed from. When a worker reports one, the control plane checks its stored bytes: if
 * they are damaged, the checkpoint is skipped from then on; otherwise the worker's disk or network is to blame.
 */
@Injectable()
export class DamagedCheckpoints {
  constructor(
    private readonly database: WorkerDatabase,
    private readonly blobs: BlobStore,
    private readonly events: EventLog,
    private readonly counters: Counters,
  ) {}

  /**
   * Checks a report of a damaged checkpoint and returns the event to store. It reads whole files, so it runs before
   * the job's row is locked, and only for the worker that holds the lease.
   */
  async verified(reported: ReadEvent): Promise<ReadEvent> {
    const { jobId, event } = reported;
    if (event?.kind !== 'failed' || event.payload.code !== CODE) return reported;
    const { payload } = event;
    if (await this.markDamaged(jobId, payload.damaged_step ?? 0)) return reported;
    const message = `${payload.message} (the stored checkpoint is whole: the worker's disk or network is not)`;
    return {
      ...reported,
      event: { kind: 'failed', payload: { ...payload, code: 'io_error', message } },
    };
  }

  /**
   * Whether files of the checkpoint are missing, which it records. It only checks sizes, because every resume calls
   * it.
   */
  async isMissing(
    jobId: string,
    checkpoint: Pick<Checkpoint, 'id' | 'step' | 'files'>,
  ): Promise<boolean> {
    for (const file of checkpoint.files)
      if (!(await this.blobs.haveAll([file]))) {
        await this.note(jobId, checkpoint, `${file.name} is missing`);
        return true;
      }
    return false;
  }

  /** Whether the job's checkpoint at this step is damaged, which it records. */
  private async markDamaged(jobId: string, step: number): Promise<boolean> {
    const [checkpoint] = await this.database.query<Checkpoint>(
      'SELECT * FROM checkpoint WHERE job_id = $1 AND step = $2 ORDER BY damaged_at NULLS FIRST, attempt DESC LIMIT 1',
      [jobId, step],
    );
    if (!checkpoint || checkpoint.damaged_at) return checkpoint !== undefined;
    const bad = await this.firstDamaged(checkpoint);
    if (bad === null) return false;
    await this.note(jobId, checkpoint, bad);
    return true;
  }

  private async note(
    jobId: string,
    { id, step }: Pick<Checkpoint, 'id' | 'step'>,
    what: string,
  ): Promise<void> {
    await this.database.transaction(async (manager) => {
      await this.database.query('SELECT 1 FROM job WHERE id = $1 FOR UPDATE', [jobId], manager);
      const marked = await this.database.query(
        'UPDATE checkpoint SET damaged_at = clock_timestamp() WHERE id = $1 AND damaged_at IS NULL RETURNING id',
        [id],
        manager,
      );
      if (marked.length === 0) return;
      await this.events.append(manager, jobId, [
        {
          level: 'error',
          message: `The checkpoint at step ${step} is damaged (${what}); the one before is used`,
          data: { step },
        },
      ]);
    });
    log.error({ job: jobId, step, what }, 'a checkpoint is damaged on disk');
    this.counters.checkpointsDamaged.inc();
  }

  private async firstDamaged({ files, adapter }: Checkpoint): Promise<string | null> {
    const all = new Map([...files, ...adapter].map((file) => [file.sha256, file]));
    for (const file of all.values()) if (!(await this.blobs.isIntact(file))) return file.name;
    return null;
  }
}
