import { Injectable } from '@nestjs/common';
import { DomainError, lossText } from '@graft/contracts';
import type { Principal } from '../../auth/principal.js';
import { BlobStore } from '../../blobs/blob-store.js';
import { Database } from '../../database/database.js';
import type { StoredFile } from '../../database/entities/storage.js';
import { RESULT_PURPOSE } from '../../files/files.service.js';
import { resultOrder } from '../../files/result-order.js';
import type { NamedCheckpoint } from '../../history/checkpoints.repository.js';
import { finite } from '../../history/job-object.js';
import { isCheckpoint, ModelsService } from '../models.service.js';
import { MOST_SMALL_BYTES, smallText } from './small-file.js';

/** Entry of an archive: a stored file, or a generated text. */
export type Content =
  | { readonly name: string; readonly path: string; readonly size: number }
  | { readonly name: string; readonly text: Buffer };

export interface Archive {
  /** Name of the archive and of the only folder in it. */
  readonly folder: string;
  readonly contents: readonly Content[];
  readonly modifiedAt: Date;
}

/** Contents of downloads of fine-tuned models and checkpoints. */
@Injectable()
export class Archives {
  constructor(
    private readonly database: Database,
    private readonly blobs: BlobStore,
    private readonly models: ModelsService,
  ) {}

  async of(caller: Principal, id: string): Promise<Archive> {
    return isCheckpoint(id) ? this.ofCheckpoint(caller, id) : this.ofModel(caller, id);
  }

  private async ofModel(caller: Principal, id: string): Promise<Archive> {
    const model = await this.models.row(caller, id, 'model');
    if (model.kind === 'base')
      throw new DomainError(
        'invalid_model',
        `${id} is a base model; only fine-tuned models and checkpoints can be downloaded`,
        'model',
      );
    const metrics = await this.database.query<StoredFile>(
      `SELECT filename AS name, sha256, bytes::float8 AS size FROM file
       WHERE job_id = $1 AND project_id = $2 AND purpose = $3 AND filename = 'metrics.csv'`,
      [model.job_id, caller.projectId, RESULT_PURPOSE],
    );
    return {
      folder: folderName(id),
      contents: await Promise.all(
        [...resultOrder(model.files), ...metrics].map((file) => this.stored(file)),
      ),
      modifiedAt: model.created_at,
    };
  }

  private async ofCheckpoint(caller: Principal, id: string): Promise<Archive> {
    const found = await this.models.checkpoint(caller, id, 'model');
    const contents = await Promise.all(
      resultOrder(found.checkpoint.adapter).map(async (file): Promise<Content> => {
        if (file.name !== 'README.md' || file.size > MOST_SMALL_BYTES) return this.stored(file);
        const card = await smallText(this.blobs, file, 'model');
        return { name: file.name, text: Buffer.from(`${card}\n${provenance(found)}`) };
      }),
    );
    return { folder: folderName(id), contents, modifiedAt: found.checkpoint.created_at };
  }

  private async stored(file: StoredFile): Promise<Content> {
    return {
      name: file.name.split('/').map(safe).join('/'),
      path: await this.blobs.file(file),
      size: file.size,
    };
  }
}

/** Makes a name valid on any system. Names come from workers and users. */
const safe = (name: string): string => name.replaceAll(/[^\w.-]+/g, '-').replace(/^\.+/, '_');

/**
 * `ft:base:org:suffix:abcd1234:ckpt-step-7` → `suffix-abcd1234-step-7`; without a suffix, the base's name.
 */
function folderName(id: string): string {
  const [, base = '', , suffix, tail = '', checkpoint = ''] = id.split(':');
  return safe([suffix || base, tail, checkpoint.replace('ckpt-', '')].filter(Boolean).join('-'));
}

/** Last section of the model card, which states that this is a checkpoint and not the finished model. */
function provenance({ job, checkpoint }: NamedCheckpoint): string {
  const loss = finite(checkpoint.valid_loss);
  const of = job.total_steps === null ? '' : ` of ${job.total_steps}`;
  return [
    '### Checkpoint',
    '',
    `This is the checkpoint after step ${checkpoint.step}${of} of the job ${job.id}, not its finished model.`,
    ...(loss === null ? [] : [`Its validation loss was ${lossText(loss)}.`]),
    '',
  ].join('\n');
}
