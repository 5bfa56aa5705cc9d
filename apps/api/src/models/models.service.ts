import { Injectable } from '@nestjs/common';
import {
  DomainError,
  type Deleted,
  type ModelObject,
  type Page,
  type Spec,
} from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import { Audit } from '../auth/audit.js';
import { isAdmin, type Principal } from '../auth/principal.js';
import {
  adapterConfig,
  isMarkedInFile,
  charactersIn,
  loraRank,
  operationsOf,
  trainedOptions,
  type Operand,
} from '../catalog/plugins.js';
import { BlobStore } from '../blobs/blob-store.js';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import { Job } from '../database/entities/job.js';
import { Model, type StoredFile } from '../database/entities/storage.js';
import { CheckpointsRepository, type NamedCheckpoint } from '../history/checkpoints.repository.js';
import { operationObject } from '../history/job-object.js';
import type { PageQuery } from '../http/parse.js';
import {
  checkpointModel,
  modelObject,
  withOperable,
  type JobFields,
  type Operable,
} from './model-object.js';
import { modelUsers } from './model-users.js';
import { smallText } from './downloads/small-file.js';

const ADAPTER_CONFIG = 'adapter_config.json';
const VOCABULARY = 'vocab.json';

/** Model name, resolved to a base and the files of an adapter on it (none for the base itself). */
export interface Resolved {
  readonly id: string;
  readonly base: Model;
  readonly adapter: readonly StoredFile[];
  /** Dtype of the base when the adapter was trained; null if unknown. */
  readonly baseDtype: string | null;
  readonly quantization: string | null;
  /** Task and options that the model was trained for; null for a base. */
  readonly task: { readonly name: string; readonly options: Spec['task_options'] } | null;
}

@Injectable()
export class ModelsService {
  constructor(
    private readonly database: Database,
    private readonly blobs: BlobStore,
    private readonly checkpoints: CheckpointsRepository,
    private readonly audit: Audit,
    private readonly settings: Settings,
  ) {}

  private get models() {
    return this.database.manager.getRepository(Model);
  }

  async list(caller: Principal, { limit, after }: PageQuery): Promise<Page<ModelObject>> {
    const rows = await this.models
      .createQueryBuilder('model')
      .where('(project_id IS NULL OR project_id = :project)', { project: caller.projectId })
      .andWhere(
        after === null
          ? 'true'
          : '(created_at, id) < (SELECT created_at, id FROM model WHERE id = :after)',
        { after },
      )
      .orderBy('model.created_at', 'DESC')
      .addOrderBy('model.id', 'DESC')
      .take(limit + 1)
      .getMany();
    const page = rows.slice(0, limit);
    const specs = await this.specsOf(page);
    const data = page.map((row) => modelObject(row, caller, specs.get(row.job_id ?? '') ?? null));
    return { object: 'list', data, has_more: rows.length > limit };
  }

  async get(caller: Principal, id: string): Promise<ModelObject> {
    const operable = await this.operable(caller, id);
    if (!isCheckpoint(id)) {
      const row = await this.row(caller, id, 'model');
      const specs = await this.specsOf([row]);
      const model = modelObject(row, caller, specs.get(row.job_id ?? '') ?? null);
      return withOperable(model, operable);
    }
    const found = await this.checkpoint(caller, id, 'model');
    const base = await this.models.findOneBy({ id: found.job.base_id });
    return withOperable(checkpointModel(found, base), operable);
  }

  /** Operations that the model supports. None if it is not ready, or if its files or base no longer exist. */
  private async operable(caller: Principal, id: string): Promise<Operable> {
    try {
      const operand = await this.operand(await this.resolve(caller, id, 'model'), 'model');
      return { operations: operationsOf(operand), lora_rank: loraRank(operand) };
    } catch (error) {
      if (error instanceof DomainError && error.code !== 'model_not_found')
        return { operations: [], lora_rank: null };
      throw error;
    }
  }

  async remove(caller: Principal, id: string): Promise<Deleted<'model'>> {
    if (isCheckpoint(id)) {
      await this.checkpoint(caller, id, 'model');
      throw new DomainError(
        'unsupported',
        'checkpoints cannot be deleted: the last three and the best of each job are kept',
        'model',
      );
    }
    const model = await this.row(caller, id, 'model');
    if (model.project_id === null && !isAdmin(caller)) {
      throw new DomainError(
        'insufficient_scope',
        `${id} is a base model; only an admin key may delete it`,
        'model',
      );
    }
    await this.database.transaction(async (manager) => {
      // Creating a job or a run locks this row too. Locking it first shows those that committed before.
      const rows = await this.database.query(
        'SELECT 1 FROM model WHERE id = $1 FOR UPDATE',
        [id],
        manager,
      );
      const { restoreDays } = this.settings;
      const users = await modelUsers(this.database, id, restoreDays, manager);
      if (users) throw new DomainError('conflict', `${id} is in use by ${users}`, 'model');
      await manager.getRepository(Model).delete({ id });
      if (model.project_id !== null) await this.dropSamples(manager, id);
      if (rows.length > 0)
        await this.audit.write(manager, {
          caller,
          action: 'model.deleted',
          target: id,
          projectId: model.project_id,
        });
    });
    for (const file of model.files) await this.blobs.release(file.sha256);
    return { id, object: 'model', deleted: true };
  }

  /** Deletes the model's answers in evals. Their scores remain. */
  private async dropSamples(manager: EntityManager, id: string): Promise<void> {
    await this.database.query(
      `UPDATE eval_run SET samples_deleted_at = clock_timestamp(), to_erase = true
       WHERE model COLLATE "C" = $1 AND samples_deleted_at IS NULL`,
      [id],
      manager,
    );
  }

  /** Prevents the deletion of a model until the transaction has written the job or run that uses it. */
  async lock(manager: EntityManager, id: string, parameter: string): Promise<void> {
    const rows = await this.database.query(
      'SELECT 1 FROM model WHERE id = $1 AND deleted_at IS NULL FOR KEY SHARE',
      [id],
      manager,
    );
    if (rows.length === 0) throw missing(id, parameter);
  }

  /** Resolves a ready base, fine-tuned model or checkpoint that the caller may see. */
  async resolve(caller: Principal, id: string, parameter: string): Promise<Resolved> {
    if (isCheckpoint(id)) {
      const { job, checkpoint } = await this.checkpoint(caller, id, parameter);
      return {
        id,
        base: await this.baseOf(job.base_id, parameter),
        adapter: checkpoint.adapter,
        baseDtype: job.spec.base_dtype,
        quantization: job.spec.quantization,
        task: await this.taskIn(job.spec, checkpoint.adapter, parameter),
      };
    }
    const model = await this.row(caller, id, parameter);
    if (model.status !== 'ready') {
      const why =
        model.status === 'importing'
          ? 'is still being imported'
          : `could not be imported: ${modelObject(model, caller).graft?.status_details}`;
      throw new DomainError('invalid_model', `${id} ${why}`, parameter);
    }
    if (model.kind === 'export')
      throw new DomainError(
        'invalid_model',
        `${id} is an export for other programs: it can only be downloaded`,
        parameter,
      );
    const { base_dtype: baseDtype, quantization } = model;
    const spec = (await this.specsOf([model])).get(model.job_id ?? '');
    const task = await this.taskIn(spec, model.files, parameter);
    const held = { id, baseDtype, quantization, task };
    if (model.kind !== 'adapter') return { ...held, base: model, adapter: [] };
    return { ...held, base: await this.baseOf(model.base_id, parameter), adapter: model.files };
  }

  /** Specs of the jobs that made these models, by job ID. */
  private async specsOf(
    models: readonly Model[],
  ): Promise<ReadonlyMap<string, JobTask & JobFields>> {
    const ids = [...new Set(models.flatMap(({ job_id: id }) => id ?? []))];
    if (ids.length === 0) return new Map();
    const rows = await this.database.query<
      JobTask & Omit<JobFields, 'operation'> & Pick<Job, 'id' | 'spec' | 'request'>
    >(
      `SELECT id, spec->>'task' AS task, spec->'task_options' AS task_options, published_step,
         jsonb_build_object('operation', spec->'operation') AS spec,
         CASE WHEN spec->'operation' IS NOT NULL THEN request END AS request
       FROM job WHERE id = ANY($1)`,
      [ids],
    );
    return new Map(rows.map((row) => [row.id, { ...row, operation: operationObject(row) }]));
  }

  /**
   * Task that a job trained its model for. A vocabulary that was unknown at the job's creation is read from
   * the model's files.
   */
  private async taskIn(
    spec: JobTask | undefined,
    files: readonly StoredFile[],
    parameter: string,
  ): Promise<Resolved['task']> {
    if (!spec) return null;
    // Jobs of the first builds have none.
    const options = spec.task_options as { readonly letters?: unknown } | null;
    const file =
      options?.letters === null ? files.find(({ name }) => name === VOCABULARY) : undefined;
    const text = file && (await smallText(this.blobs, file, parameter));
    const stored = (): readonly string[] | null =>
      text === undefined
        ? null
        : charactersIn({ vocabulary: JSON.parse(text), tokenizerConfig: {} });
    return { name: spec.task, options: trainedOptions(spec, stored) };
  }

  /** PEFT config of an adapter: from its job, or from its own file if no job trained it. */
  async peftOf(caller: Principal, adapter: string, parameter: string): Promise<Spec['peft']> {
    if (isCheckpoint(adapter)) {
      const { job, checkpoint } = await this.checkpoint(caller, adapter, parameter);
      const { peft } = job.spec;
      return isMarkedInFile(peft) ? this.configIn(checkpoint.adapter, parameter) : peft;
    }
    const { job_id: id, files } = await this.row(caller, adapter, parameter);
    const jobs = this.database.manager.getRepository(Job);
    const job = id === null ? null : await jobs.findOneBy({ id, project_id: caller.projectId });
    const isInSpec = job && !job.spec.operation && !isMarkedInFile(job.spec.peft);
    return isInSpec ? job.spec.peft : this.configIn(files, parameter);
  }

  /** Input of an operation, with the config from the adapter's own file, which workers read. */
  async operand({ base, adapter, task }: Resolved, parameter: string): Promise<Operand> {
    return {
      peft: adapter.length > 0 ? await this.configIn(adapter, parameter) : null,
      task: task && { task: task.name, task_options: task.options },
      base: base.config,
      family: base.family,
    };
  }

  /** Reads an adapter's config from its own file. */
  async configIn(files: readonly StoredFile[], parameter: string): Promise<Spec['peft']> {
    const config = files.find(({ name }) => name === ADAPTER_CONFIG);
    if (!config) throw new DomainError('invalid_adapter', `it has no ${ADAPTER_CONFIG}`, parameter);
    const text = await smallText(this.blobs, config, parameter);
    return adapterConfig(text, ADAPTER_CONFIG);
  }

  /** Returns a checkpoint that can be used as a model. Those of full fine-tuning cannot. */
  async checkpoint(caller: Principal, id: string, parameter: string): Promise<NamedCheckpoint> {
    const found = await this.checkpoints.named(caller.projectId, id);
    if (!found) throw missing(id, parameter);
    if (found.checkpoint.adapter.length === 0)
      throw new DomainError(
        'invalid_model',
        `${id} contains no adapter, only what its job needs to resume: after full fine-tuning, only the finished model can be used`,
        parameter,
      );
    return found;
  }

  private async baseOf(id: string | null, parameter: string): Promise<Model> {
    const base = id === null ? null : await this.models.findOneBy({ id });
    if (!base)
      throw new DomainError(
        'invalid_model',
        `its base ${id} no longer exists; import it again`,
        parameter,
      );
    return base;
  }

  async row(caller: Principal, id: string, parameter: string): Promise<Model> {
    const found = await this.models.findOneBy({ id });
    if (!found || (found.project_id !== null && found.project_id !== caller.projectId))
      throw missing(id, parameter);
    return found;
  }
}

type JobTask = Pick<Spec, 'task' | 'task_options'>;

/** Whether a name is that of a checkpoint. Other fine-tuned models end in an ID; bases have no colons. */
export const isCheckpoint = (id: string): boolean => /:ckpt-step-\d+$/.test(id);

const missing = (id: string, parameter: string): DomainError =>
  new DomainError(
    'model_not_found',
    `The model '${id.slice(0, 120)}' does not exist; GET /v1/models lists them, POST /v1/models imports one`,
    parameter,
  );
