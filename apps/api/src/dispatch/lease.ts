import { Injectable } from '@nestjs/common';
import { DomainError, MAX_ORDER_BYTES } from '@graft/contracts';
import type { Assignment, BlobRef, Lease } from '@graft/contracts/grpc';
import { BlobStore } from '../blobs/blob-store.js';
import { Settings } from '../config.js';
import { WorkerDatabase } from '../database/database.js';
import type { Checkpoint } from '../database/entities/job.js';
import type { StoredFile } from '../database/entities/storage.js';
import { JOB_CHANNEL } from '../events/history.js';
import { log } from '../log.js';
import type { Connection } from '../gateway/connections.js';
import { fitWorker } from '../gateway/workers.js';
import { nameOrPath } from '../models/sources.js';
import type { Hint } from './hint-queue.js';

/** More than are ever kept of a job. */
const MOST_CHECKPOINTS = 20;

export interface Taken {
  readonly id: string;
  readonly epoch: number;
  readonly spec: unknown;
  readonly base_id: string;
  readonly training_file: string;
  readonly validation_file: string | null;
  readonly init_adapter: readonly StoredFile[];
}

export interface Renewal {
  readonly held: readonly Lease[];
  readonly lost: readonly Lease[];
  /** Held runs that are wanted to pause. */
  readonly pausing: readonly Lease[];
}

/** Ownership of attempts. All times are the database's; every statement carries the epoch it relies on. */
@Injectable()
export class Leases {
  constructor(
    private readonly database: WorkerDatabase,
    private readonly settings: Settings,
    private readonly blobs: BlobStore,
  ) {}

  /** The base a hint's job needs, or null when the hint is stale. */
  async baseOf(hint: Hint): Promise<string | null> {
    const [row] = await this.database.query<{ base_id: string }>(
      `SELECT base_id FROM job WHERE id = $1 AND epoch = $2 AND state = 'queued'`,
      [hint.jobId, hint.epoch],
    );
    return row?.base_id ?? null;
  }

  /**
   * Takes the lease: one statement raises the epoch, opens the attempt and announces it, or does nothing
   * because the hint is stale or the worker is not fit to be given anything.
   */
  async take(
    hint: Hint,
    worker: Pick<Connection, 'workerId' | 'sessionId' | 'name'>,
  ): Promise<Taken | 'stale' | 'unfit'> {
    const [row] = await this.database.query<(Taken | { id: null }) & { fit: boolean }>(
      `WITH fit AS (${fitWorker('$3', '$6', '$5')}), taken AS (
         UPDATE job SET epoch = epoch + 1, state = 'running', lease_owner = $3,
           lease_until = clock_timestamp() + $5 * interval '1 millisecond',
           updated_at = clock_timestamp(), started_at = COALESCE(started_at, clock_timestamp()),
           phase_code = 'assigned', phase_message = 'Assigned to worker ' || $4
         WHERE id = $1 AND epoch = $2 AND state = 'queued' AND desired_state = 'run'
           AND (not_before IS NULL OR not_before <= clock_timestamp()) AND EXISTS (SELECT 1 FROM fit)
         RETURNING id, project_id, epoch, spec, base_id, training_file, validation_file, init_adapter
       ), opened AS (
         INSERT INTO attempt (job_id, epoch, worker_id, worker_name) SELECT id, epoch, $3, $4 FROM taken
       ), told AS (
         SELECT pg_notify('${JOB_CHANNEL}', id || ' ' || project_id) FROM taken
       )
       SELECT EXISTS (SELECT 1 FROM fit) AS fit, taken.*
       FROM (SELECT 1) AS one LEFT JOIN taken ON true LEFT JOIN told ON true`,
      [
        hint.jobId,
        hint.epoch,
        worker.workerId,
        worker.name,
        this.settings.leaseMs,
        worker.sessionId,
      ],
    );
    if (row && row.id !== null) return row;
    return row?.fit ? 'stale' : 'unfit';
  }

  /**
   * Everything the worker needs to begin, or to go on from the newest committed checkpoint.
   * @throws DomainError where it is more than can be sent
   */
  async assignment(taken: Taken): Promise<Assignment> {
    const [base] = await this.database.query<{ files: StoredFile[]; source: string | null }>(
      'SELECT files, source FROM model WHERE id = $1',
      [taken.base_id],
    );
    const checkpoint = await this.newestWhole(taken.id);
    const specJson = JSON.stringify(taken.spec);
    const bytes = Buffer.byteLength(specJson);
    if (bytes > MAX_ORDER_BYTES)
      throw new DomainError(
        'request_too_large',
        `the job's settings take ${bytes} bytes as JSON; a worker can be sent at most ${MAX_ORDER_BYTES}`,
      );
    return {
      jobId: taken.id,
      epoch: taken.epoch,
      specJson,
      base: {
        id: taken.base_id,
        files: blobRefs(base?.files ?? []),
        nameOrPath: nameOrPath({ id: taken.base_id, source: base?.source ?? null }),
      },
      trainingFile: await this.fileRef(taken.training_file),
      validationFile: taken.validation_file ? await this.fileRef(taken.validation_file) : undefined,
      initAdapter: blobRefs(taken.init_adapter),
      checkpoint: blobRefs(checkpoint?.files ?? []),
      checkpointStep: checkpoint?.step ?? 0,
    };
  }

  /** A checkpoint whose bytes are lost is passed over for the one before. */
  private async newestWhole(jobId: string): Promise<Pick<Checkpoint, 'step' | 'files'> | null> {
    const checkpoints = await this.database.query<Pick<Checkpoint, 'step' | 'files'>>(
      'SELECT step, files FROM checkpoint WHERE job_id = $1 ORDER BY step DESC, epoch DESC LIMIT $2',
      [jobId, MOST_CHECKPOINTS],
    );
    for (const checkpoint of checkpoints) {
      if (await this.blobs.haveAll(checkpoint.files)) return checkpoint;
      log.error(
        { job: jobId, step: checkpoint.step },
        'bytes of a checkpoint are lost: taking the one before',
      );
    }
    return null;
  }

  private async fileRef(id: string): Promise<BlobRef | undefined> {
    const [file] = await this.database.query<{ filename: string; sha256: string; bytes: string }>(
      'SELECT filename, sha256, bytes FROM file WHERE id = $1',
      [id],
    );
    // The user's name stays here: a worker gets one that is safe in any file system.
    return file && { name: `${id}.jsonl`, sha256: file.sha256, size: Number(file.bytes) };
  }

  /** Renews what the worker still owns, in one statement; what it does not own any more is lost. */
  async renew(workerId: string, leases: readonly Lease[]): Promise<Renewal> {
    if (leases.length === 0) return { held: [], lost: [], pausing: [] };
    const rows = await this.database.query<{ id: string; epoch: number; desired_state: string }>(
      `UPDATE job SET lease_until = clock_timestamp() + $4 * interval '1 millisecond'
       FROM unnest($1::text[], $2::int[]) AS held(job_id, epoch)
       WHERE job.id = held.job_id AND job.epoch = held.epoch AND job.lease_owner = $3 AND job.state = 'running'
       RETURNING job.id, job.epoch, job.desired_state`,
      [
        leases.map((lease) => lease.jobId),
        leases.map((lease) => lease.epoch),
        workerId,
        this.settings.leaseMs,
      ],
    );
    const row = (lease: Lease) =>
      rows.find(({ id, epoch }) => id === lease.jobId && epoch === lease.epoch);
    const held = leases.filter((lease) => row(lease));
    return {
      held,
      lost: leases.filter((lease) => !row(lease)),
      pausing: held.filter((lease) => row(lease)?.desired_state === 'pause'),
    };
  }

  /** Whether (job, epoch) is this worker's current lease. */
  async owns(workerId: string, jobId: string, epoch: number): Promise<boolean> {
    const rows = await this.database.query(
      `SELECT 1 FROM job WHERE id = $1 AND epoch = $2 AND lease_owner = $3 AND state = 'running'`,
      [jobId, epoch, workerId],
    );
    return rows.length > 0;
  }
}

export const blobRefs = (files: readonly StoredFile[]): BlobRef[] =>
  files.map(({ name, sha256, size }) => ({ name, sha256, size }));
