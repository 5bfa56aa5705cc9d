import { Injectable } from '@nestjs/common';
import { DomainError, type ModelObject, type Page, type Spec } from '@graft/contracts';
import { IsNull, type EntityManager } from 'typeorm';
import type { Principal } from '../auth/principal.js';
import { BlobStore } from '../blobs/blob-store.js';
import { Database } from '../database/database.js';
import { Job } from '../database/entities/job.js';
import { Model, type StoredFile } from '../database/entities/storage.js';
import { CheckpointsRepository, type NamedCheckpoint } from '../jobs/checkpoints.repository.js';
import { checkpointModel, modelObject } from './model-object.js';

/** What a model's name stands for: a base, and the files of an adapter on it (none for the base itself). */
export interface Resolved {
  readonly id: string;
  readonly base: Model;
  readonly adapter: readonly StoredFile[];
  readonly baseDtype: string | null;
}

@Injectable()
export class ModelsService {
  constructor(
    private readonly database: Database,
    private readonly blobs: BlobStore,
    private readonly checkpoints: CheckpointsRepository,
  ) {}

  private get models() {
    return this.database.manager.getRepository(Model);
  }

  async list(caller: Principal): Promise<Page<ModelObject>> {
    const rows = await this.models.find({
      where: [{ project_id: IsNull() }, { project_id: caller.projectId }],
      order: { created_at: 'DESC' },
    });
    return { object: 'list', data: rows.map(modelObject), has_more: false };
  }

  async get(caller: Principal, id: string): Promise<ModelObject> {
    if (!isCheckpoint(id)) return modelObject(await this.row(caller, id, 'model'));
    const found = await this.checkpoint(caller, id, 'model');
    return checkpointModel(found, await this.models.findOneBy({ id: found.job.base_id }));
  }

  async remove(
    caller: Principal,
    id: string,
  ): Promise<{ id: string; object: 'model'; deleted: true }> {
    if (isCheckpoint(id)) {
      await this.checkpoint(caller, id, 'model');
      throw new DomainError(
        'unsupported',
        'a checkpoint cannot be deleted: of each job the last three and the best are kept',
        'model',
      );
    }
    const model = await this.row(caller, id, 'model');
    if (model.project_id === null && !caller.scopes.includes('admin')) {
      throw new DomainError(
        'insufficient_scope',
        `${id} is a base model; only an admin key may delete it`,
        'model',
      );
    }
    await this.database.transaction(async (manager) => {
      // First the row's lock, which a job's creation takes too; then a look at the jobs that won.
      await this.database.query('SELECT 1 FROM model WHERE id = $1 FOR UPDATE', [id], manager);
      const [user] = await this.database.query<{ id: string }>(
        `SELECT id FROM job WHERE base_id = $1 AND state IN ('validating_files', 'queued', 'running', 'paused')
         UNION ALL SELECT id FROM model WHERE base_id = $1 LIMIT 1`,
        [id],
        manager,
      );
      if (user) throw new DomainError('conflict', `${id} is in use by ${user.id}`, 'model');
      await manager.getRepository(Model).delete({ id });
    });
    for (const file of model.files) await this.blobs.release(file.sha256);
    return { id, object: 'model', deleted: true };
  }

  /** Keeps a base from being deleted until the transaction has a job that uses it. */
  async hold(manager: EntityManager, id: string, parameter: string): Promise<void> {
    const rows = await this.database.query(
      'SELECT 1 FROM model WHERE id = $1 FOR KEY SHARE',
      [id],
      manager,
    );
    if (rows.length === 0) throw missing(id, parameter);
  }

  /** A ready base, fine-tuned model or checkpoint, as the caller may see it. */
  async resolve(caller: Principal, id: string, parameter: string): Promise<Resolved> {
    if (isCheckpoint(id)) {
      const { job, checkpoint } = await this.checkpoint(caller, id, parameter);
      return {
        id,
        base: await this.baseOf(job.base_id, parameter),
        adapter: checkpoint.adapter,
        baseDtype: job.spec.base_dtype,
      };
    }
    const model = await this.row(caller, id, parameter);
    if (model.status !== 'ready') {
      const why =
        model.status === 'importing'
          ? 'is still being imported'
          : `could not be imported: ${model.status_details}`;
      throw new DomainError('invalid_model', `${id} ${why}`, parameter);
    }
    if (model.kind !== 'adapter')
      return { id, base: model, adapter: [], baseDtype: model.base_dtype };
    return {
      id,
      base: await this.baseOf(model.base_id, parameter),
      adapter: model.files,
      baseDtype: model.base_dtype,
    };
  }

  /** How the job that made an adapter trained it. */
  async peftOf(caller: Principal, adapter: string, parameter: string): Promise<Spec['peft']> {
    if (isCheckpoint(adapter))
      return (await this.checkpoint(caller, adapter, parameter)).job.spec.peft;
    const { job_id } = await this.row(caller, adapter, parameter);
    const job = await this.database.manager
      .getRepository(Job)
      .findOneByOrFail({ id: job_id ?? '', project_id: caller.projectId });
    return job.spec.peft;
  }

  /** A checkpoint that can be used: after full fine-tuning it holds only what its job needs to go on. */
  async checkpoint(caller: Principal, id: string, parameter: string): Promise<NamedCheckpoint> {
    const found = await this.checkpoints.named(caller.projectId, id);
    if (!found) throw missing(id, parameter);
    if (found.checkpoint.adapter.length === 0)
      throw new DomainError(
        'invalid_model',
        `${id} holds no adapter, only what its job needs to go on: after full fine-tuning only the finished model can be used`,
        parameter,
      );
    return found;
  }

  private async baseOf(id: string | null, parameter: string): Promise<Model> {
    const base = id === null ? null : await this.models.findOneBy({ id });
    if (!base)
      throw new DomainError(
        'invalid_model',
        `its base ${id} is not here any more; import it again`,
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

/** Whether a name is that of a checkpoint; jobs' models end in the job's letters, bases have no colons. */
export const isCheckpoint = (id: string): boolean => /:ckpt-step-\d+$/.test(id);

const missing = (id: string, parameter: string): DomainError =>
  new DomainError(
    'model_not_found',
    `The model '${id.slice(0, 120)}' does not exist; GET /v1/models lists them, POST /v1/models imports one`,
    parameter,
  );
