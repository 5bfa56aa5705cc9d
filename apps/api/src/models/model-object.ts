import type { ModelObject } from '@graft/contracts';
import type { Model } from '../database/entities/storage.js';
import { unix } from '../ids.js';
import type { NamedCheckpoint } from '../jobs/checkpoints.repository.js';
import { checkpointName } from '../jobs/history-objects.js';

export function modelObject(model: Model): ModelObject {
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
      status: model.status,
      status_details: model.status_details,
      progress: model.status === 'importing' ? (model.progress ?? 0) : null,
      parameters: model.parameters,
      bytes: model.bytes,
      source: model.source,
      files: model.files.map(({ name, size, sha256 }) => ({ name, size, sha256 })),
    },
  };
}

/** A checkpoint under its model name. `base`: null where that is deleted. */
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
