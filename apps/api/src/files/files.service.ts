import { Injectable } from '@nestjs/common';
import {
  DomainError,
  type Deleted,
  type FileObject,
  type FileReport,
  type FileRecordObject,
  type Page,
} from '@graft/contracts';
import type { Request } from 'express';
import type { EntityManager } from 'typeorm';
import type { Readable } from 'node:stream';
import { requireActive } from '../auth/active-project.js';
import { Audit } from '../auth/audit.js';
import type { Principal } from '../auth/principal.js';
import { BlobStore } from '../blobs/blob-store.js';
import { StorageQuota } from '../blobs/storage-quota.js';
import type { Columns } from '../catalog/plugins.js';
import { Database } from '../database/database.js';
import { IS_OPEN } from '../database/entities/job.js';
import { IS_OPEN_BATCH } from '../database/entities/batches.js';
import { File } from '../database/entities/storage.js';
import { pageQuery } from '../http/parse.js';
import { newId, unix } from '../ids.js';
import { lineSlots } from './line-slots.js';
import { readRecords } from './read-records.js';
import type { ReceivedFile, ReceiveContext } from './received-file.js';
import { receiveTrainingData } from './training-data.js';
import { readUpload, type UploadedParts } from './upload.js';
import { checkPurpose, columnsOf, lifetime, TRAINING_PURPOSE } from './upload-fields.js';
import { receivingSlots } from './upload-slots.js';

export {
  BATCH_OUTPUT_PURPOSE,
  BATCH_PURPOSE,
  EVALS_PURPOSE,
  RESULT_PURPOSE,
  TRAINING_PURPOSE,
} from './upload-fields.js';

/** Maximum bytes of a multipart body in addition to the file. */
export const MOST_FRAMING_BYTES = 16 * 1024;

/** Properties of a new file, and other changes in the transaction that creates it. */
interface NewFile {
  readonly filename: string;
  readonly purpose: string;
  readonly lifetime_seconds: number | null;
  /** Id of the upload whose parts became the file. */
  readonly upload?: string;
  readonly completes?: (manager: EntityManager, id: string) => Promise<void>;
  /** Origin of a file that revises another. */
  readonly revises?: FileReport['revises'];
  /** Throws if a file with this report must not be stored. */
  readonly accepts?: (report: FileReport) => void;
}

/** SQL for the open jobs and batches that use files. */
export const OPEN_USERS = `SELECT id, training_file AS file FROM job WHERE ${IS_OPEN}
  UNION ALL SELECT id, validation_file FROM job WHERE ${IS_OPEN}
  UNION ALL SELECT id, input_file FROM batch WHERE ${IS_OPEN_BATCH}`;

/** Options for reading training data that is already stored. */
interface StoredAs extends Pick<ReceiveContext, 'requiresLabelColumns'> {
  readonly bytes: number;
  readonly columns: Columns;
}

@Injectable()
export class FilesService {
  constructor(
    private readonly database: Database,
    private readonly blobs: BlobStore,
    private readonly audit: Audit,
    private readonly quota: StorageQuota,
  ) {}

  async upload(caller: Principal, request: Request): Promise<FileObject> {
    const arriving: Promise<ReceivedFile>[] = [];
    const gone = new AbortController();
    const announced = Number(request.headers['content-length'] ?? 0);
    const least = Math.max(0, announced - MOST_FRAMING_BYTES);
    const within = await this.quota.guard(caller.projectId, least);
    request.res?.once('close', () => gone.abort());
    const done = await receivingSlots.take(caller.projectId, gone.signal);
    try {
      let columns = '';
      const parts = await readUpload(
        request,
        (part, { filename, fields }) => {
          columns = JSON.stringify(columnsOf(fields));
          const arrived = receiveTrainingData(this.blobs, part, filename, columnsOf(fields), {
            uploader: caller.projectId,
            gone: gone.signal,
            announced,
            within,
            // Conversions have their own slots and may wait for hours.
            received: done,
          });
          arriving.push(arrived);
          return arrived;
        },
        { otherPart: 'purpose' },
      );
      if (JSON.stringify(columnsOf(parts.fields)) !== columns)
        throw new DomainError(
          'invalid_value',
          'the columns fields must precede the file in the form',
          'columns',
        );
      return await this.storePart(caller, parts);
    } finally {
      for (const arrived of await Promise.allSettled(arriving))
        if (arrived.status === 'fulfilled') await this.blobs.discard(arrived.value.blob);
      done();
    }
  }

  private storePart(
    caller: Principal,
    { filename, fields, content }: UploadedParts<ReceivedFile>,
  ): Promise<FileObject> {
    const purpose = checkPurpose(fields);
    return this.createFile(caller, content, {
      filename,
      purpose,
      lifetime_seconds: lifetime(fields),
    });
  }

  /** Stores training data that did not arrive as one upload. */
  async store(
    caller: Principal,
    content: AsyncIterable<Buffer>,
    { columns, requiresLabelColumns, ...as }: NewFile & StoredAs,
  ): Promise<FileObject> {
    const arrived = await receiveTrainingData(this.blobs, content, as.filename, columns, {
      uploader: caller.projectId,
      gone: new AbortController().signal,
      announced: as.bytes,
      requiresLabelColumns,
    });
    try {
      return await this.createFile(caller, arrived, as);
    } finally {
      await this.blobs.discard(arrived.blob);
    }
  }

  private async createFile(
    caller: Principal,
    { blob: received, checked: { report, details } }: ReceivedFile,
    { filename, purpose, lifetime_seconds: seconds, completes, upload, revises, accepts }: NewFile,
  ): Promise<FileObject> {
    accepts?.(report);
    const expires_at =
      seconds === null ? null : new Date((await this.database.now()).getTime() + seconds * 1000);
    const id = newId('file-');
    await this.blobs.keep(received, async (manager, blob) => {
      // An earlier run of the transaction wrote the row and lost its connection.
      if (await manager.getRepository(File).existsBy({ id })) return;
      // The project may have been archived or deleted since the upload started.
      await requireActive(this.database, manager, caller.projectId);
      const row = {
        id,
        project_id: caller.projectId,
        filename,
        purpose,
        ...blob,
        ...(purpose !== TRAINING_PURPOSE
          ? UNCHECKED
          : checkedAs({ ...report, ...(revises && { revises }) }, details)),
        expires_at,
      };
      await completes?.(manager, id);
      await this.insert(row, manager);
      await this.quota.enforce(manager, caller.projectId);
      await this.audit.write(manager, {
        caller,
        action: upload === undefined ? 'file.created' : 'upload.completed',
        target: upload ?? id,
        detail: { bytes: blob.size, ...(upload === undefined ? {} : { file: id }) },
      });
    });
    return this.get(caller, id);
  }

  async insert(
    file: Pick<File, 'project_id' | 'filename' | 'purpose' | 'sha256' | 'status'> & {
      size: number;
    } & Partial<File>,
    manager: EntityManager = this.database.manager,
  ): Promise<FileObject> {
    const { size, ...columns } = file;
    const id = columns.id ?? newId('file-');
    await manager.getRepository(File).insert({ ...columns, id, bytes: size });
    return fileObject(await manager.getRepository(File).findOneByOrFail({ id }));
  }

  async list(caller: Principal, query: Record<string, unknown>): Promise<Page<FileObject>> {
    const { limit, after } = pageQuery(query, 10_000, 10_000);
    const ascending = query['order'] === 'asc';
    if (after) await this.row(caller, after, 'after');
    const rows = await this.database.manager
      .getRepository(File)
      .createQueryBuilder('file')
      .where('file.project_id = :project', { project: caller.projectId })
      .andWhere(query['purpose'] ? 'file.purpose = :purpose' : 'true', {
        purpose: query['purpose'],
      })
      .andWhere(query['sha256'] === undefined ? 'true' : 'file.sha256 = :sha256', {
        sha256: String(query['sha256']),
      })
      // Compared in the database, since a Date would lose the microseconds.
      .andWhere(
        after
          ? `(file.created_at, file.id) ${ascending ? '>' : '<'} (SELECT created_at, id FROM file WHERE id = :after)`
          : 'true',
        { after },
      )
      .orderBy('file.created_at', ascending ? 'ASC' : 'DESC')
      .addOrderBy('file.id', ascending ? 'ASC' : 'DESC')
      .limit(limit + 1)
      .getMany();
    const data = rows.slice(0, limit).map(fileObject);
    return {
      object: 'list',
      data,
      first_id: data[0]?.id ?? null,
      last_id: data.at(-1)?.id ?? null,
      has_more: rows.length > limit,
    };
  }

  async get(caller: Principal, id: string): Promise<FileObject> {
    return fileObject(await this.row(caller, id));
  }

  /**
   * Returns the row of a file.
   * @throws DomainError if it does not exist or belongs to another project
   */
  async row(caller: Principal, id: string, parameter = 'file_id'): Promise<File> {
    const found = await this.database.manager
      .getRepository(File)
      .createQueryBuilder('file')
      .where('file.id = :id AND file.project_id = :project', { id, project: caller.projectId })
      .andWhere('(file.expires_at IS NULL OR file.expires_at > clock_timestamp())')
      .getOne();
    if (!found) {
      throw new DomainError('file_not_found', `No such File object: ${id.slice(0, 60)}`, parameter);
    }
    return found;
  }

  async remove(caller: Principal, id: string): Promise<Deleted<'file'>> {
    const file = await this.row(caller, id);
    const user = await this.drop(file, (manager) =>
      this.audit.write(manager, { caller, action: 'file.deleted', target: id }),
    );
    if (user !== null)
      throw new DomainError('conflict', `${id} is in use by ${user}; cancel it first`, 'file_id');
    return { id, object: 'file', deleted: true };
  }

  /**
   * Deletes a file with its bytes and the copies in eval runs.
   * @param deleted called in the same transaction
   * @returns id of an open job or batch that uses the file, which is then kept; otherwise null
   */
  async drop(
    { id, sha256 }: Pick<File, 'id' | 'sha256'>,
    deleted?: (manager: EntityManager) => Promise<void>,
  ): Promise<string | null> {
    const usedBy = await this.database.transaction(async (manager) => {
      // Creating a job locks the same row, so that jobs that were created before are visible now.
      const rows = await this.database.query(
        'SELECT 1 FROM file WHERE id = $1 FOR UPDATE',
        [id],
        manager,
      );
      const [user] = await this.database.query<{ id: string }>(
        `SELECT id FROM (${OPEN_USERS}) AS used WHERE used.file = $1 LIMIT 1`,
        [id],
        manager,
      );
      if (!user) {
        await manager.getRepository(File).delete({ id });
        await this.dropTexts(manager, id);
        // The upload's row contains the file's name.
        await this.database.query('DELETE FROM upload WHERE file_id = $1', [id], manager);
      }
      if (!user && rows.length > 0) await deleted?.(manager);
      return user?.id ?? null;
    });
    if (usedBy === null) await this.blobs.release(sha256);
    return usedBy;
  }

  /** Marks the items and answers in eval runs of the file for erasure. */
  private async dropTexts(manager: EntityManager, id: string): Promise<void> {
    await this.database.query(
      `UPDATE eval_run SET items_deleted_at = clock_timestamp(), to_erase = true,
         samples_deleted_at = COALESCE(samples_deleted_at, clock_timestamp())
       WHERE source_file = $1 AND items_deleted_at IS NULL`,
      [id],
      manager,
    );
  }

  /** Locks a file against deletion until the transaction has created a job that uses it. */
  async lock(manager: EntityManager, id: string, parameter: string): Promise<void> {
    const rows = await this.database.query(
      'SELECT 1 FROM file WHERE id = $1 FOR KEY SHARE',
      [id],
      manager,
    );
    if (rows.length === 0)
      throw new DomainError('file_not_found', `No such File object: ${id}`, parameter);
  }

  async records(
    caller: Principal,
    id: string,
    query: Record<string, unknown>,
  ): Promise<Page<FileRecordObject>> {
    const file = await this.row(caller, id);
    if (file.purpose !== TRAINING_PURPOSE)
      throw new DomainError(
        'invalid_value',
        `${id} has purpose ${file.purpose}; only files with purpose fine-tune have records`,
        'file_id',
      );
    const done = await lineSlots.take(file.project_id, new AbortController().signal);
    try {
      return await readRecords(this.blobs.read(file.sha256), query, file.report?.checked_as);
    } finally {
      done();
    }
  }

  async content(caller: Principal, id: string): Promise<{ file: File; stream: Readable }> {
    const file = await this.row(caller, id);
    // Checked before the response starts, as an error after that could only abort it.
    if (!(await this.blobs.has(file.sha256)))
      throw new DomainError('internal_error', `the bytes of ${id} are lost`);
    return { file, stream: this.blobs.read(file.sha256) };
  }
}

/** Files for evals and batches are not checked here; the run checks its items, and the batch its requests. */
const UNCHECKED = { status: 'processed', status_details: null, records: 0, report: null } as const;

const checkedAs = (report: FileReport, details: string | null) => ({
  status: report.problems.length > 0 ? ('error' as const) : ('processed' as const),
  status_details: details,
  records: report.records,
  report,
});

export function fileObject(file: File): FileObject {
  return {
    id: file.id,
    object: 'file',
    bytes: file.bytes,
    created_at: unix(file.created_at),
    filename: file.filename,
    purpose: file.purpose,
    status: file.status,
    status_details: file.status_details,
    ...(file.expires_at ? { expires_at: unix(file.expires_at) } : {}),
    ...(file.report ? { graft: file.report } : {}),
  };
}
