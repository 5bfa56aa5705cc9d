import { Injectable } from '@nestjs/common';
import { DomainError, MAX_ORDER_BYTES } from '@graft/contracts';
import type { Assignment, BlobRef } from '@graft/contracts/grpc';
import { BlobStore } from '../blobs/blob-store.js';
import { sharedCheck } from '../blobs/shared-check.js';
import { WorkerDatabase } from '../database/database.js';
import type { Checkpoint } from '../database/entities/job.js';
import type { Model } from '../database/entities/storage.js';
import { DamagedCheckpoints } from '../events/damaged-checkpoints.js';
import { runsAlone } from '../lifecycle/blame.js';
import type { LeasedJob } from '../lifecycle/lease/lease.js';
import { baseRef, blobRefs } from '../models/base-ref.js';

/** Upper bound of the checkpoints kept for a job. */
const MOST_CHECKPOINTS = 20;

/** Time for which a check of the blob storage is valid. */
const PROVED_MS = 1000;

/** Builds the assignments that are sent to workers with a lease. */
@Injectable()
export class Assignments {
  private readonly checkStorage: () => Promise<void>;

  constructor(
    private readonly database: WorkerDatabase,
    blobs: BlobStore,
    private readonly damaged: DamagedCheckpoints,
  ) {
    this.checkStorage = sharedCheck(() => blobs.checkStorage(), PROVED_MS);
  }

  /**
   * Builds everything that a worker needs to start a job or to resume it from the newest committed checkpoint.
   * @throws DomainError if it is too large to send; errors of unavailable dependencies are passed on
   */
  async of(taken: LeasedJob): Promise<Assignment> {
    // The worker will read the base model, the data and the adapter. Checking the storage once is cheaper than
    // checking each file.
    await this.checkStorage();
    const [base] = await this.database.query<Pick<Model, 'files' | 'source' | 'config'>>(
      'SELECT files, source, config FROM model WHERE id = $1',
      [taken.base_id],
    );
    const checkpoint = await this.newestComplete(taken.id);
    const specJson = JSON.stringify(taken.spec);
    const bytes = Buffer.byteLength(specJson);
    if (bytes > MAX_ORDER_BYTES)
      throw new DomainError(
        'request_too_large',
        `the job's settings are ${bytes} bytes as JSON; the limit is ${MAX_ORDER_BYTES}`,
      );
    return {
      jobId: taken.id,
      attempt: taken.attempt,
      specJson,
      base: baseRef(
        { files: [], source: null, config: null, ...base, id: taken.base_id },
        { dtype: taken.spec.base_dtype, quantization: taken.spec.quantization },
      ),
      trainingFile: taken.training_file ? await this.fileRef(taken.training_file) : undefined,
      validationFile: taken.validation_file ? await this.fileRef(taken.validation_file) : undefined,
      initAdapter: blobRefs(taken.init_adapter),
      checkpoint: blobRefs(checkpoint?.files ?? []),
      checkpointStep: checkpoint?.step ?? 0,
      ...(runsAlone(taken) ? { alone: true } : {}),
    };
  }

  /** Returns the newest checkpoint whose files all exist. Those reduced to their adapter have none. */
  private async newestComplete(jobId: string): Promise<Pick<Checkpoint, 'step' | 'files'> | null> {
    const checkpoints = await this.database.query<Pick<Checkpoint, 'id' | 'step' | 'files'>>(
      `SELECT id, step, files FROM checkpoint
       WHERE job_id = $1 AND damaged_at IS NULL AND files <> '[]' ORDER BY step DESC, attempt DESC LIMIT $2`,
      [jobId, MOST_CHECKPOINTS],
    );
    for (const checkpoint of checkpoints)
      if (!(await this.damaged.isMissing(jobId, checkpoint))) return checkpoint;
    return null;
  }

  private async fileRef(id: string): Promise<BlobRef | undefined> {
    const [file] = await this.database.query<{ filename: string; sha256: string; bytes: string }>(
      'SELECT filename, sha256, bytes FROM file WHERE id = $1',
      [id],
    );
    // The user's file name is replaced by one that is valid in any file system.
    return file && { name: `${id}.jsonl`, sha256: file.sha256, size: Number(file.bytes) };
  }
}
