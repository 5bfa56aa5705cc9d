import { Injectable } from '@nestjs/common';
import {
  DomainError,
  methodTitle,
  operationLabel,
  operationTitle,
  type DataReport,
} from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import type { AuditEntry } from '../auth/audit.js';
import type { Principal } from '../auth/principal.js';
import { JobIntegrations, type JobRun } from '../integrations/job-integrations.js';
import { BlobStore } from '../blobs/blob-store.js';
import { Database } from '../database/database.js';
import type { Job } from '../database/entities/job.js';
import { DefaultNames, fileStem, nameStem, type DefaultName } from '../lifecycle/default-names.js';
import type { NewEvent } from '../lifecycle/event-log.js';
import { JobTransitions, type NewJob, type Trial } from '../lifecycle/job-transitions.js';
import { Quotas } from '../lifecycle/lease/quotas.js';
import { FilesService } from '../files/files.service.js';
import { ModelsService } from '../models/models.service.js';
import { isOfPart } from '../preview/adapter-parts.js';
import { plannedTokens, type JobPlan } from '../preview/job-plans.js';
import { DEFAULT_POOL } from '../queue/pool.js';
import { TraceExports } from '../traces/trace-exports.js';
import type { TraceParent } from '../traces/trace-parent.js';
import type { OperationPlan } from './operation-plans.js';
import { QueueDepths } from './queue-depths.js';

/** A validated job that is not written yet, and the objects that must exist until it is. */
export interface Draft {
  readonly job: Omit<
    NewJob,
    'id' | 'project_id' | 'trial' | 'received_at' | keyof TraceParent | 'default_name'
  >;
  /** Default name of the job if it has no suffix and is no trial. */
  readonly defaultName: DefaultName;
  readonly files: readonly { readonly id: string; readonly param: string }[];
  readonly adapters: readonly {
    readonly id: string;
    readonly param: string;
    readonly blobs: readonly string[];
  }[];
  readonly integrations: readonly JobRun[];
  /** First events of the job, with the results of the validation. */
  readonly notes: readonly NewEvent[];
  /** Warning that no worker has ever joined the pool of the job; null if one has. */
  readonly neverJoined: string | null;
}

/** Parameters for writing a draft as a job. */
export interface DraftOptions {
  readonly id: string;
  /** `null` if the job is part of another audited action, such as a sweep. */
  readonly auditEntry: AuditEntry | null;
  readonly parent: TraceParent;
  readonly trial?: Trial;
}

/** Stores new jobs after their validation. */
@Injectable()
export class JobDrafts {
  constructor(
    private readonly database: Database,
    private readonly blobs: BlobStore,
    private readonly files: FilesService,
    private readonly models: ModelsService,
    private readonly quotas: Quotas,
    private readonly transitions: JobTransitions,
    private readonly depths: QueueDepths,
    private readonly integrations: JobIntegrations,
    private readonly traces: TraceExports,
    private readonly names: DefaultNames,
  ) {}

  /**
   * Writes job, outbox row, first events, integrations and trace export in the caller's transaction.
   * @throws DomainError if the project has reached a limit or a required object was deleted
   */
  async write(
    manager: EntityManager,
    caller: Principal,
    { job, defaultName, files, adapters, integrations, notes }: Draft,
    { id, auditEntry, parent, trial }: DraftOptions,
  ): Promise<Job> {
    await this.depths.admit(manager, caller.projectId);
    await this.quotas.admitJob(manager, caller.projectId);
    await this.lockObjects(manager, job.base_id, files, adapters);
    await this.integrations.write(manager, caller.projectId, id, integrations);
    await this.traces.write(manager, id, parent);
    const { projectId } = caller;
    if (job.suffix !== null && !trial) await this.names.reserve(manager, projectId, job.suffix);
    const name =
      trial?.name ?? job.suffix ?? (await this.names.next(manager, projectId, defaultName));
    return this.transitions.create(
      manager,
      {
        ...job,
        ...parent,
        id,
        project_id: caller.projectId,
        received_at: caller.at,
        default_name: name,
        trial: trial ?? null,
      },
      [
        { message: `Created ${job.spec.operation ? '' : 'fine-tuning '}job: ${id}` },
        ...notes,
        {
          message: `${job.spec.operation ? 'Adapters' : 'Files'} validated, moving job to queued state`,
        },
      ],
      auditEntry,
    );
  }

  /**
   * Locks the objects that the job requires until the job is written. Deletions check for existing jobs.
   */
  private async lockObjects(
    manager: EntityManager,
    base: string,
    files: Draft['files'],
    adapters: Draft['adapters'],
  ): Promise<void> {
    if (!(await this.lockInOneStatement(manager, base, files))) {
      await this.models.lock(manager, base, 'model');
      for (const { id, param } of files) await this.files.lock(manager, id, param);
    }
    for (const { id, param, blobs } of adapters)
      if (!(await this.blobs.protect(manager, blobs)))
        throw new DomainError('invalid_adapter', `${id} was just deleted`, param);
  }

  /**
   * Locks base and files in one statement. Returns false if one of them is missing; the caller then locks
   * them one by one to report which.
   */
  private async lockInOneStatement(
    manager: EntityManager,
    base: string,
    named: Draft['files'],
  ): Promise<boolean> {
    const files = [...new Set(named.map(({ id }) => id))];
    const rows = await this.database.query(
      `WITH base AS (SELECT id FROM model WHERE id = $1 AND deleted_at IS NULL FOR KEY SHARE),
       data AS (SELECT id FROM file WHERE id = ANY($2) FOR KEY SHARE)
       SELECT id FROM base UNION ALL SELECT id FROM data`,
      [base, files],
      manager,
    );
    return rows.length === 1 + files.length;
  }
}

export function draftOf(plan: JobPlan): Draft {
  const { request, base, start, parts, training, validation, spec, priority, data } = plan;
  const { neverJoined } = plan;
  const adapterFiles = (start?.adapter ?? []).filter((file) => !isOfPart(file));
  const named = [
    ...(start ? [{ id: start.id, param: 'graft.init_adapter', files: adapterFiles }] : []),
    ...parts,
  ];
  const method = methodTitle({
    peft: spec.peft,
    graft: { operation: null, quantization: spec.quantization },
  }).replaceAll(/[()]/g, ''); // (IA)³ becomes "ia3", not "ia-3".
  return {
    defaultName: { stem: `${fileStem(training.filename)}-${nameStem(method, 'job')}` },
    job: {
      base_id: base.base.id,
      model: request.model,
      // Set for every job: a job without integrations requires no query for its runs.
      request: { ...request, integrations: plan.integrations.map(({ type }) => type) },
      spec,
      init_adapter: named.flatMap((one) => one.files),
      data: data && reportOf(data),
      estimated_tokens: data && plannedTokens(spec, data.training).tokens,
      training_file: training.id,
      validation_file: validation?.id ?? null,
      suffix: request.suffix ?? null,
      metadata: request.metadata ?? null,
      pool: request.graft?.pool ?? DEFAULT_POOL,
      priority,
      warnings: [...plan.warnings],
    },
    files: [
      { id: training.id, param: 'training_file' },
      ...(validation ? [{ id: validation.id, param: 'validation_file' }] : []),
    ],
    adapters: named
      .filter((one) => one.files.length > 0)
      .map((one) => ({ ...one, blobs: one.files.map(({ sha256 }) => sha256) })),
    integrations: plan.integrations,
    notes: [
      { message: `Validated ${describeFiles(plan)}` },
      ...plan.warnings.map(({ message }) => ({ level: 'warn' as const, message })),
      ...dataWarnings(plan).map((message) => ({ level: 'warn' as const, message })),
    ],
    neverJoined,
  };
}

/**
 * Data report that is stored with the job: that of the training data, with the number of validation
 * examples.
 */
const reportOf = ({ training, validation }: NonNullable<JobPlan['data']>): DataReport => ({
  ...training,
  ...(validation && { validation_examples: validation.examples }),
});

function describeFiles({ training, validation, data, spec }: JobPlan): string {
  const files = `training file: ${training.id}${validation ? ` and validation file: ${validation.id}` : ''}`;
  if (spec.validation_split === null || !data?.validation) return files;
  const [held, all] = [data.validation.examples, training.records];
  return `${files}; held out for validation: ${held} of its ${all} examples`;
}

export function operationDraft({
  request,
  adapters,
  base,
  files,
  spec,
  neverJoined,
  ...plan
}: OperationPlan): Draft {
  const { suffix = null, metadata = null } = request;
  const names = adapters.map(({ id }) => id);
  const operation = spec.operation && { ...spec.operation, adapters: names };
  if (!operation) throw new Error('the spec of an operation names none');
  return {
    defaultName: { models: names as [string, ...string[]], label: operationLabel(operation) },
    job: {
      base_id: base.id,
      model: request.type === 'combine' ? base.id : request.model,
      request: request as Record<string, unknown>,
      spec,
      init_adapter: [...files],
      data: null,
      estimated_tokens: null,
      training_file: null,
      validation_file: null,
      suffix,
      metadata,
      warnings: [],
      ...plan,
    },
    files: [],
    adapters: adapters.map(({ id, adapter }, i) => ({
      id,
      param: request.type === 'combine' ? `adapters[${i}]` : 'model',
      blobs: adapter.map(({ sha256 }) => sha256),
    })),
    integrations: [],
    notes: [{ message: `${operationTitle(operation)} of ${names.join(', ')}` }],
    neverJoined,
  };
}

function dataWarnings({ data, unread }: JobPlan): string[] {
  if (data) return [...data.training.warnings, ...(data.validation?.warnings ?? [])];
  return [`The data could not be checked before training; the trainer will check it: ${unread}`];
}
