import { Injectable } from '@nestjs/common';
import { DomainError, type ModelObject } from '@graft/contracts';
import type { Request } from 'express';
import { requireActive } from '../../auth/active-project.js';
import { Audit } from '../../auth/audit.js';
import type { Principal } from '../../auth/principal.js';
import { BlobStore, type Received } from '../../blobs/blob-store.js';
import { StorageQuota } from '../../blobs/storage-quota.js';
import { Database } from '../../database/database.js';
import { Model } from '../../database/entities/storage.js';
import { readUploads } from '../../files/upload.js';
import { receivingSlots } from '../../files/upload-slots.js';
import { fineTunedName } from '../../history/history-objects.js';
import { newId } from '../../ids.js';
import { CONFIG, isZip, wantedName, WEIGHTS } from './adapter-files.js';
import { inspectAdapterFiles } from './inspect-files.js';
import { modelObject } from '../model-object.js';
import { ModelsService } from '../models.service.js';
import { unpack } from './unpack-adapter.js';

const SUFFIX = /^[^:]{1,64}$/;

/** Imports adapters that were trained elsewhere as models of a project. */
@Injectable()
export class AdapterUpload {
  constructor(
    private readonly database: Database,
    private readonly blobs: BlobStore,
    private readonly quota: StorageQuota,
    private readonly models: ModelsService,
    private readonly audit: Audit,
  ) {}

  /** @throws DomainError that names the part, or the field of the config, that is wrong */
  async take(caller: Principal, request: Request): Promise<ModelObject> {
    const announced = Number(request.headers['content-length'] ?? 0);
    const uploader = caller.projectId;
    const within = await this.quota.guard(uploader, announced);
    const arriving: Promise<Received>[] = [];
    const unpacked = new Map<string, Received>();
    const left = new AbortController();
    const gone = left.signal;
    request.res?.once('close', () => left.abort());
    const done = await receivingSlots.take(uploader, gone);
    try {
      const { fields, parts } = await readUploads(
        request,
        async (part, { filename }) => {
          // Rejects the file before a byte of it is stored.
          if (!isZip(filename)) wantedName(filename);
          const arrived = this.blobs.receive(part, { uploader, announced, within });
          arriving.push(arrived);
          return arrived;
        },
        'file',
        2,
      );
      // Inspections have their own slots, so this one is released.
      done();
      for (const { filename, content } of parts)
        if (isZip(filename))
          await unpack(this.blobs, content.temporary, { uploader, gone, within }, unpacked);
        else unpacked.set(wantedName(filename), content);
      return await this.storeModel(caller, fields, unpacked, gone);
    } finally {
      for (const arrived of await Promise.allSettled(arriving))
        if (arrived.status === 'fulfilled') await this.blobs.discard(arrived.value);
      for (const received of unpacked.values()) await this.blobs.discard(received);
      done();
    }
  }

  private async storeModel(
    caller: Principal,
    { model: name, suffix = '' }: Readonly<Record<string, string>>,
    files: ReadonlyMap<string, Received>,
    gone: AbortSignal,
  ): Promise<ModelObject> {
    if (!name) throw new DomainError('missing_required_parameter', 'model is required', 'model');
    if (suffix !== '' && !SUFFIX.test(suffix))
      throw new DomainError('invalid_value', 'suffix: at most 64 characters, no ":"', 'suffix');
    const [config, weights] = [needed(files, CONFIG), needed(files, WEIGHTS)];
    const { base, adapter } = await this.models.resolve(caller, name, 'model');
    if (adapter.length > 0)
      throw new DomainError('invalid_model', `${name} is an adapter, not a base`, 'model');
    if (!base.config)
      throw new DomainError(
        'invalid_model',
        `${name} has no config.json that Graft has read, so no adapter can be checked against it; delete it and import it again`,
        'model',
      );
    const found = await inspectAdapterFiles(this.blobs, { config, weights }, base.config, {
      uploader: caller.projectId,
      gone,
    });
    const names = { id: newId(''), base_id: base.id, project_id: caller.projectId };
    const id = fineTunedName({ ...names, suffix });
    for (const one of [config, weights]) await this.blobs.announce(one);
    const row = await this.database.transaction(async (manager) => {
      // The project may have been archived or deleted since the upload started.
      await requireActive(this.database, manager, caller.projectId);
      await this.models.lock(manager, base.id, 'model');
      const stored = async (file: string, received: Received) => ({
        name: file,
        ...(await this.blobs.storeIn(manager, received, () => Promise.resolve())),
      });
      const named = [await stored(CONFIG, config), await stored(WEIGHTS, weights)];
      await this.database.query(
        `INSERT INTO model (id, project_id, kind, base_id, family, status, parameters, bytes, files)
         VALUES ($1, $2, 'adapter', $3, $4, 'ready', $5, $6, $7)`,
        [
          id,
          caller.projectId,
          base.id,
          base.family,
          found.parameters,
          config.size + weights.size,
          JSON.stringify(named),
        ],
        manager,
      );
      await this.quota.enforce(manager, caller.projectId);
      await this.audit.write(manager, {
        caller,
        action: 'model.imported',
        target: id,
        detail: { base: base.id, peft_type: found.peft.peft_type },
        projectId: caller.projectId,
      });
      return manager.getRepository(Model).findOneByOrFail({ id });
    });
    return modelObject(row, caller);
  }
}

function needed(files: ReadonlyMap<string, Received>, name: string): Received {
  const found = files.get(name);
  if (found) return found;
  throw new DomainError(
    'invalid_adapter',
    `${name} is missing; upload ${CONFIG} and ${WEIGHTS}, or one .zip with both`,
    'file',
  );
}
