import { Injectable } from '@nestjs/common';
import { CreateJob, DomainError, type JobObject } from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import { z } from 'zod';
import type { Principal } from '../auth/principal.js';
import { BlobStore } from '../blobs/blob-store.js';
import { peftFields, resolveSpec } from '../catalog/plugins.js';
import { Database } from '../database/database.js';
import { Job } from '../database/entities/job.js';
import type { File } from '../database/entities/storage.js';
import { Outbox } from '../dispatch/outbox.js';
import { History } from '../events/history.js';
import { FilesService } from '../files/files.service.js';
import { parseBody } from '../http/parse.js';
import { newId, sha256 } from '../ids.js';
import { ModelsService, type Resolved } from '../models/models.service.js';
import { JobsRepository } from './jobs.repository.js';

/** How the caller marks a repeated request (docs/api.md). */
export interface RetryMarks {
  readonly idempotencyKey: string | null;
  readonly sdkRetry: boolean;
}

const MAX_OPEN_JOBS = 10_000;
const SDK_RETRY_WINDOW = '2 minutes';
/** OpenAI's bound, checked here because it counts pairs, not characters. */
const Metadata = z.object({
  metadata: z
    .record(z.string(), z.string())
    .refine((pairs) => Object.keys(pairs).length <= 16, 'at most 16 pairs'),
});

@Injectable()
export class JobCreation {
  constructor(
    private readonly database: Database,
    private readonly blobs: BlobStore,
    private readonly files: FilesService,
    private readonly models: ModelsService,
    private readonly jobs: JobsRepository,
    private readonly outbox: Outbox,
    private readonly history: History,
  ) {}

  /** Checks everything first; then job, outbox row, first events and idempotency row commit together. */
  async create(caller: Principal, body: unknown, marks: RetryMarks): Promise<JobObject> {
    const hash = sha256(JSON.stringify(body ?? null));
    const earlier = await this.earlier(caller, hash, marks);
    if (earlier) return this.jobs.object(caller.projectId, earlier);

    const request = parseBody(CreateJob, body, peftFields);
    if (request.metadata) parseBody(Metadata, { metadata: request.metadata });
    const base = await this.models.resolve(caller, request.model, 'model');
    const start = await this.startingAdapter(caller, request, base);
    const training = await this.usable(caller, request.training_file, 'training_file');
    const validation = request.validation_file
      ? await this.usable(caller, request.validation_file, 'validation_file')
      : null;
    const spec = resolveSpec(
      { ...request, model: base.base.id },
      {
        trainingRecords: training.records,
        ...(base.base.family ? { modelType: base.base.family } : {}),
      },
    );

    const id = newId('ftjob-');
    const pool = request.graft?.pool ?? 'default';
    const inserted = await this.database.transaction(async (manager) => {
      const taken = await this.claimKey(manager, caller, marks.idempotencyKey ?? id, hash, id);
      if (taken !== null) return taken;
      await this.refuseWhenFull(manager, caller);
      await this.hold(manager, base, training, validation, start);
      await manager.getRepository(Job).insert({
        id,
        project_id: caller.projectId,
        state: 'queued',
        base_id: base.base.id,
        model: request.model,
        // TypeORM's deep-partial type cannot express an open record.
        request: request as never,
        spec: spec as never,
        init_adapter: [...(start?.adapter ?? [])],
        training_file: training.id,
        validation_file: validation?.id ?? null,
        suffix: request.suffix ?? null,
        metadata: request.metadata ?? null,
        pool,
        priority: request.graft?.priority ?? 100,
        phase_code: 'queued',
        phase_message: `Waiting for a worker of pool ${pool}`,
      });
      await this.outbox.write(manager, id);
      const files = `training file: ${training.id}${validation ? ` and validation file: ${validation.id}` : ''}`;
      await this.history.append(manager, id, [
        { message: `Created fine-tuning job: ${id}` },
        { message: `Validating ${files}` },
        { message: 'Files validated, moving job to queued state' },
      ]);
      return id;
    });
    this.outbox.nudge();
    return this.jobs.object(caller.projectId, inserted);
  }

  /** What the job needs stays until it is written: deletions look at the jobs that are there. */
  private async hold(
    manager: EntityManager,
    base: Resolved,
    training: File,
    validation: File | null,
    start: Resolved | null,
  ): Promise<void> {
    await this.models.hold(manager, base.base.id, 'model');
    await this.files.hold(manager, training.id, 'training_file');
    if (validation) await this.files.hold(manager, validation.id, 'validation_file');
    const adapter = (start?.adapter ?? []).map((file) => file.sha256);
    if (adapter.length > 0 && !(await this.blobs.hold(manager, adapter)))
      throw new DomainError(
        'invalid_adapter',
        `${start?.id} was just deleted`,
        'graft.init_adapter',
      );
  }

  private async startingAdapter(
    caller: Principal,
    request: CreateJob,
    base: Resolved,
  ): Promise<Resolved | null> {
    const named = request.graft?.init_adapter;
    if (!named) return base.adapter.length > 0 ? base : null;
    const start = await this.models.resolve(caller, named, 'graft.init_adapter');
    if (start.adapter.length === 0) {
      throw new DomainError(
        'invalid_adapter',
        `${named} is a base model, not an adapter`,
        'graft.init_adapter',
      );
    }
    if (start.base.id !== base.base.id) {
      throw new DomainError(
        'invalid_adapter',
        `${named} was trained on ${start.base.id}, not on ${base.base.id}`,
        'graft.init_adapter',
      );
    }
    return start;
  }

  private async usable(caller: Principal, id: string, parameter: string): Promise<File> {
    const file = await this.files.row(caller, id, parameter);
    if (file.purpose !== 'fine-tune') {
      throw new DomainError(
        'invalid_training_file',
        `${id} has purpose ${file.purpose}; upload it with purpose fine-tune`,
        parameter,
      );
    }
    if (file.status !== 'processed') {
      throw new DomainError(
        'invalid_training_file',
        `${file.filename} (${id}) cannot be used: ${file.status_details ?? file.status}`,
        parameter,
      );
    }
    return file;
  }

  private async earlier(
    caller: Principal,
    hash: string,
    marks: RetryMarks,
  ): Promise<string | null> {
    const byKey = marks.idempotencyKey !== null;
    if (!byKey && !marks.sdkRetry) return null;
    const [row] = await this.database.query<{ job_id: string; request_hash: string }>(
      byKey
        ? `SELECT job_id, request_hash FROM idempotency WHERE project_id = $1 AND key = $2 AND created_at > now() - interval '24 hours'`
        : `SELECT job_id, request_hash FROM idempotency WHERE project_id = $1 AND request_hash = $2
             AND created_at > now() - interval '${SDK_RETRY_WINDOW}' ORDER BY created_at DESC LIMIT 1`,
      [caller.projectId, marks.idempotencyKey ?? hash],
    );
    if (row && row.request_hash !== hash) throw mismatch();
    return row?.job_id ?? null;
  }

  /**
   * The id of the job that owns the key already, or null: the key is this transaction's now. The job may be this
   * very one, where an earlier run of the transaction was committed and its connection lost before that was heard.
   */
  private async claimKey(
    manager: EntityManager,
    caller: Principal,
    key: string,
    hash: string,
    id: string,
  ): Promise<string | null> {
    const [claimed] = await this.database.query(
      `INSERT INTO idempotency (project_id, key, request_hash, job_id) VALUES ($1, $2, $3, $4)
       ON CONFLICT (project_id, key) DO UPDATE
         SET request_hash = excluded.request_hash, job_id = excluded.job_id, created_at = now()
         WHERE idempotency.created_at <= now() - interval '24 hours' RETURNING job_id`,
      [caller.projectId, key, hash, id],
      manager,
    );
    if (claimed) return null;
    const [row] = await this.database.query<{ job_id: string; request_hash: string }>(
      'SELECT job_id, request_hash FROM idempotency WHERE project_id = $1 AND key = $2',
      [caller.projectId, key],
      manager,
    );
    if (row && row.request_hash !== hash) throw mismatch();
    return row?.job_id ?? null;
  }

  private async refuseWhenFull(manager: EntityManager, caller: Principal): Promise<void> {
    const [row] = await this.database.query<{ open: number }>(
      `SELECT count(*)::int AS open FROM job WHERE project_id = $1 AND state = 'queued'`,
      [caller.projectId],
      manager,
    );
    if ((row?.open ?? 0) >= MAX_OPEN_JOBS) {
      throw new DomainError(
        'queue_full',
        `${MAX_OPEN_JOBS} jobs are waiting already; wait until some have started`,
        null,
        60,
      );
    }
  }
}

const mismatch = (): DomainError =>
  new DomainError(
    'idempotency_mismatch',
    'this Idempotency-Key was used with another body; take a new key',
    'Idempotency-Key',
  );
