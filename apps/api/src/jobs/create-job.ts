import { Injectable } from '@nestjs/common';
import { DomainError, type JobObject } from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import type { Principal } from '../auth/principal.js';
import { BlobStore } from '../blobs/blob-store.js';
import { Database } from '../database/database.js';
import { Job } from '../database/entities/job.js';
import type { File } from '../database/entities/storage.js';
import { Outbox } from '../dispatch/outbox.js';
import { History } from '../events/history.js';
import { FilesService } from '../files/files.service.js';
import { newId, sha256 } from '../ids.js';
import { ModelsService, type Resolved } from '../models/models.service.js';
import { JobPlans, type JobPlan } from '../preview/job-plans.js';
import { JobsRepository } from './jobs.repository.js';
import { DEFAULT_POOL } from './pool.js';

/** How the caller marks a repeated request (docs/api.md). */
export interface RetryMarks {
  readonly idempotencyKey: string | null;
  readonly sdkRetry: boolean;
}

const MAX_OPEN_JOBS = 10_000;
const SDK_RETRY_WINDOW = '2 minutes';
/** Keys of the jobs that an SDK's retries made, before the job's id. */
const RETRY_KEY = 'sdk-retry ';

/** A create call, as it came. */
interface Call {
  readonly project: string;
  /** Of the body. */
  readonly hash: string;
  readonly marks: RetryMarks;
  /** By the database's clock. */
  readonly arrived: Date;
}

@Injectable()
export class JobCreation {
  constructor(
    private readonly database: Database,
    private readonly blobs: BlobStore,
    private readonly files: FilesService,
    private readonly models: ModelsService,
    private readonly plans: JobPlans,
    private readonly jobs: JobsRepository,
    private readonly outbox: Outbox,
    private readonly history: History,
  ) {}

  /** Checks everything first; then job, outbox row, first events and idempotency row commit together. */
  async create(caller: Principal, body: unknown, marks: RetryMarks): Promise<JobObject> {
    const call: Call = {
      project: caller.projectId,
      hash: sha256(JSON.stringify(body ?? null)),
      marks,
      arrived: await this.database.now(),
    };
    const earlier = await this.earlier(call, this.database.manager);
    if (earlier) return this.jobs.object(caller.projectId, earlier);

    const plan = await this.plans.of(caller, body);
    const { request, base, start, training, validation, spec } = plan;
    const id = newId('ftjob-');
    const pool = request.graft?.pool ?? DEFAULT_POOL;
    const inserted = await this.database.transaction(async (manager) => {
      const taken = await this.claim(manager, call, id);
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
        data: (plan.data?.training ?? null) as never,
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
        ...dataWarnings(plan).map((message) => ({ level: 'warn' as const, message })),
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

  /** The job that an equal call made. */
  private async earlier(
    { project, hash, marks, arrived }: Call,
    manager: EntityManager,
  ): Promise<string | null> {
    const [where, values] =
      marks.idempotencyKey !== null
        ? [`key = $2 AND created_at > now() - interval '24 hours'`, [marks.idempotencyKey]]
        : marks.sdkRetry
          ? [`request_hash = $2 AND created_at > now() - interval '${SDK_RETRY_WINDOW}'`, [hash]]
          : // A first call whose retry was faster.
            [`request_hash = $2 AND key LIKE '${RETRY_KEY}%' AND created_at > $3`, [hash, arrived]];
    const [row] = await this.database.query<{ job_id: string; request_hash: string }>(
      `SELECT job_id, request_hash FROM idempotency WHERE project_id = $1 AND ${where}
       ORDER BY created_at DESC LIMIT 1`,
      [project, ...values],
      manager,
    );
    if (row && row.request_hash !== hash) throw mismatch();
    return row?.job_id ?? null;
  }

  /**
   * The id of the job that an equal call made, or null: the job is this transaction's to make. Without a key of the
   * caller's, equal calls wait for each other here: reading data before may have taken longer than an SDK waits.
   */
  private async claim(manager: EntityManager, call: Call, id: string): Promise<string | null> {
    const { project, hash, marks } = call;
    if (marks.idempotencyKey === null) {
      await this.database.query(
        'SELECT pg_advisory_xact_lock(hashtextextended($1, 0))',
        [`create ${project} ${hash}`],
        manager,
      );
      const earlier = await this.earlier(call, manager);
      if (earlier !== null) return earlier;
    }
    const own = marks.sdkRetry ? `${RETRY_KEY}${id}` : id;
    return this.claimKey(manager, project, marks.idempotencyKey ?? own, hash, id);
  }

  /**
   * The id of the job that owns the key already, or null: the key is this transaction's now. The job may be this
   * very one, where an earlier run of the transaction was committed and its connection lost before that was heard.
   */
  private async claimKey(
    manager: EntityManager,
    project: string,
    key: string,
    hash: string,
    id: string,
  ): Promise<string | null> {
    const [claimed] = await this.database.query(
      `INSERT INTO idempotency (project_id, key, request_hash, job_id) VALUES ($1, $2, $3, $4)
       ON CONFLICT (project_id, key) DO UPDATE
         SET request_hash = excluded.request_hash, job_id = excluded.job_id, created_at = now()
         WHERE idempotency.created_at <= now() - interval '24 hours' RETURNING job_id`,
      [project, key, hash, id],
      manager,
    );
    if (claimed) return null;
    const [row] = await this.database.query<{ job_id: string; request_hash: string }>(
      'SELECT job_id, request_hash FROM idempotency WHERE project_id = $1 AND key = $2',
      [project, key],
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

function dataWarnings({ data, unread }: JobPlan): string[] {
  if (data) return [...data.training.warnings, ...(data.validation?.warnings ?? [])];
  return [`The data could not be looked at before training, which will check them: ${unread}`];
}

const mismatch = (): DomainError =>
  new DomainError(
    'idempotency_mismatch',
    'this Idempotency-Key was used with another body; take a new key',
    'Idempotency-Key',
  );
