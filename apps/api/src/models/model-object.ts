import type { ModelObject, ModelOperation, ModelUse, OperationObject } from '@graft/contracts';
import { isAdmin, type Principal } from '../auth/principal.js';
import { usesOfBase, usesOfTask } from '../catalog/plugins.js';
import type { Model } from '../database/entities/storage.js';
import { unix } from '../ids.js';
import type { NamedCheckpoint } from '../history/checkpoints.repository.js';
import { checkpointName } from '../history/history-objects.js';

/** Source that is a folder on the server. Only administrators see it and the errors of its import. */
const FOLDER = /^dir:/;

/** Fields of a model object that come from the job that made the model. */
export interface JobFields {
  readonly task: string;
  readonly published_step: number | null;
  readonly operation: OperationObject | null;
}

export function modelObject(
  model: Model,
  caller: Principal,
  madeBy: JobFields | null = null,
): ModelObject {
  const { task = null, published_step: step = null, operation = null } = madeBy ?? {};
  const shown = isAdmin(caller) || !FOLDER.test(model.source ?? '');
  return {
    id: model.id,
    object: 'model',
    created: unix(model.created_at),
    owned_by: model.project_id ?? 'graft',
    graft: {
      kind: model.kind,
      family: model.family,
      base: model.base_id,
      job: model.job_id,
      task,
      step,
      operation,
      uses: model.kind === 'export' ? [] : usesOf(model.family, task),
      status: model.status,
      status_details: shown ? model.status_details : model.status_details && HIDDEN_REASON,
      progress: model.status === 'importing' ? (model.progress ?? 0) : null,
      parameters: model.parameters,
      bytes: model.bytes,
      source: shown ? model.source : null,
      files: model.files.map(({ name, size, sha256 }) => ({ name, size, sha256 })),
    },
  };
}

/** Fields of a model object that are read from the model's files. Lists omit them. */
export interface Operable {
  readonly operations: readonly ModelOperation[];
  readonly lora_rank: number | null;
}

export const withOperable = (
  { graft, ...model }: ModelObject,
  operable: Operable,
): ModelObject => ({ ...model, ...(graft && { graft: { ...graft, ...operable } }) });

/** @param task the task of the job that made the model; null for a base, or if it is unknown */
export const usesOf = (family: string | null, task: string | null): readonly ModelUse[] =>
  task === null ? (family === null ? [] : usesOfBase(family)) : usesOfTask(task);

/** Replaces the reason why an import failed if the reason would name a folder. */
export const HIDDEN_REASON = 'only administrators can see the reason';

/** Returns the model object of a checkpoint. @param base null if the base model was deleted */
export function checkpointModel(
  { job, checkpoint }: NamedCheckpoint,
  base: Model | null,
): ModelObject {
  return {
    id: checkpointName(job, checkpoint.step),
    object: 'model',
    created: unix(checkpoint.created_at),
    owned_by: job.project_id,
    graft: {
      kind: 'adapter',
      family: base?.family ?? null,
      base: job.base_id,
      job: job.id,
      task: job.spec.task,
      step: checkpoint.step,
      operation: null,
      uses: usesOfTask(job.spec.task),
      status: 'ready',
      status_details: null,
      progress: null,
      parameters: job.trainable_parameters,
      bytes: checkpoint.adapter.reduce((sum, file) => sum + file.size, 0),
      source: null,
      files: checkpoint.adapter.map(({ name, size, sha256 }) => ({ name, size, sha256 })),
    },
  };
}
