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
import { File } from '../database/entities/storage.js';
import { pageQuery } from '../http/parse.js';
import { newId, unix } from '../ids.js';
import { lineSlots } from './line-slots.js';
import { readRecords } from './read-records.js';
import { receiveTrainingData, type Arrived, type Circumstances } from './training-data.js';
import { readUpload, type UploadedParts } from './upload.js';
import { receivingSlots } from './upload-slots.js';

export const TRAINING_PURPOSE = 'fine-tune';
export const EVALS_PURPOSE = 'evals';
export const RESULT_PURPOSE = 'fine-tune-results';

/** Of a multipart body, what is not the file. */
export const MOST_FRAMING_BYTES = 16 * 1024;

type Fields = Readonly<Record<string, string>>;

/** What a file is to be called, and what else happens in the transaction that names it. */
interface FileToBe {
  readonly filename: string;
  readonly purpose: string;
  readonly lifetime_seconds: number | null;
  /** Id of the upload that brought its parts. */
  readonly upload?: string;
  readonly completes?: (manager: EntityManager, id: string) => Promise<void>;
}

/** How training data that lies here already is read. */
interface StoredAs extends Pick<Circumstances, 'asks'> {
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
    const arriving: Promise<Arrived>[] = [];
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
            // Conversions have slots of their own, and wait for hours.
            received: done,
          });
          arriving.push(arrived);
          return arrived;
        },
        { beside: 'purpose' },
      );
      if (JSON.stringify(columnsOf(parts.fields)) !== columns)
        throw new DomainError(
          'invalid_value',
          'send the columns fields before the file',
          'columns',
        );
      return await this.keep(caller, parts);
    } finally {
      for (const arrived of await Promise.allSettled(arriving))
        if (arrived.status === 'fulfilled') await this.blobs.discard(arrived.value.blob);
      done();
    }
  }

  private keep(
    caller: Principal,
    { filename, fields, content }: UploadedParts<Arrived>,
  ): Promise<FileObject> {
    const purpose = checkPurpose(fields);
    return this.name(caller, content, { filename, purpose, lifetime_seconds: lifetime(fields) });
  }

  /** Training data that did not come as one upload. */
  async store(
    caller: Principal,
    content: AsyncIterable<Buffer>,
    { columns, asks, ...as }: FileToBe & StoredAs,
  ): Promise<FileObject> {
    const arrived = await receiveTrainingData(this.blobs, content, as.filename, columns, {
      uploader: caller.projectId,
      gone: new AbortController().signal,
      announced: as.bytes,
      asks,
    });
    try {
      return await this.name(caller, arrived, as);
    } finally {
      await this.blobs.discard(arrived.blob);
    }
  }

  private async name(
    caller: Principal,
    { blob: received, checked: { report, details } }: Arrived,
    { filename, purpose, lifetime_seconds: seconds, completes, upload }: FileToBe,
  ): Promise<FileObject> {
    const expires_at =
      seconds === null ? null : new Date((await this.database.now()).getTime() + seconds * 1000);
    const id = newId('file-');
    await this.blobs.keep(received, async (manager, blob) => {
      // Written by an earlier run of the transaction, whose connection was lost before that was heard.
      if (await manager.getRepository(File).existsBy({ id })) return;
      // The upload may have begun before the project was archived or deleted.
      await requireActive(this.database, manager, caller.projectId);
      const row = {
        id,
        project_id: caller.projectId,
        filename,
        purpose,
        ...blob,
        ...(purpose === EVALS_PURPOSE ? UNCHECKED : checkedAs(report, details)),
        expires_at,
      };
      await completes?.(manager, id);
      await this.insert(row, manager);
      await this.quota.settle(manager, caller.projectId);
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
      // Compared inside the database: a Date would lose the microseconds.
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

  /** The file's row, if it is the caller's: another project's file does not exist for him. */
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
      throw new DomainError(
        'conflict',
        `${id} is in use by ${user}; cancel that job first`,
        'file_id',
      );
    return { id, object: 'file', deleted: true };
  }

  /** Deletes a file with its bytes and what evals have of it, and tells in the same transaction; answers with the job that keeps it, if one does. */
  async drop(
    { id, sha256 }: Pick<File, 'id' | 'sha256'>,
    told?: (manager: EntityManager) => Promise<void>,
  ): Promise<string | null> {
    const user = await this.database.transaction(async (manager) => {
      // First the row's lock, which a job's creation takes too; then a look at the jobs that won.
      const rows = await this.database.query(
        'SELECT 1 FROM file WHERE id = $1 FOR UPDATE',
        [id],
        manager,
      );
      const [job] = await this.database.query<{ id: string }>(
        `SELECT id FROM job WHERE (training_file = $1 OR validation_file = $1)
           AND ${IS_OPEN} LIMIT 1`,
        [id],
        manager,
      );
      if (!job) {
        await manager.getRepository(File).delete({ id });
        await this.dropTexts(manager, id);
        // The upload's row has the file's name.
        await this.database.query('DELETE FROM upload WHERE file_id = $1', [id], manager);
      }
      if (!job && rows.length > 0) await told?.(manager);
      return job?.id ?? null;
    });
    if (user === null) await this.blobs.release(sha256);
    return user;
  }

  /** Runs of evals lose the items that they have of the file, and what was answered to them. */
  private async dropTexts(manager: EntityManager, id: string): Promise<void> {
    await this.database.query(
      `UPDATE eval_run SET items_deleted_at = clock_timestamp(), to_erase = true,
         samples_deleted_at = COALESCE(samples_deleted_at, clock_timestamp())
       WHERE source_file = $1 AND items_deleted_at IS NULL`,
      [id],
      manager,
    );
  }

  /** Keeps files from being deleted until the transaction has a job that uses them. */
  async hold(manager: EntityManager, id: string, parameter: string): Promise<void> {
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
        `${id} has purpose ${file.purpose}: only training data has records`,
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
    // Once an answer has begun it can only be broken off.
    if (!(await this.blobs.has(file.sha256)))
      throw new DomainError('internal_error', `the bytes of ${id} are lost`);
    return { file, stream: this.blobs.read(file.sha256) };
  }
}

/** An eval's run looks at its items. */
const UNCHECKED = { status: 'processed', status_details: null, records: 0, report: null } as const;

const checkedAs = (report: FileReport, details: string | null) => ({
  status: report.problems.length > 0 ? ('error' as const) : ('processed' as const),
  status_details: details,
  records: report.records,
  report,
});

/** Of OpenAI's purposes only these lead to anything here. */
function checkPurpose({ purpose }: Fields): string {
  if (!purpose)
    throw new DomainError('missing_required_parameter', 'purpose is required', 'purpose');
  if (purpose === TRAINING_PURPOSE || purpose === EVALS_PURPOSE) return purpose;
  throw new DomainError(
    'invalid_value',
    `purpose must be ${TRAINING_PURPOSE} or ${EVALS_PURPOSE} (got ${purpose.slice(0, 40)}): Graft uses files for nothing else`,
    'purpose',
  );
}

/** `columns[prompt]=question` and so on. */
function columnsOf(fields: Fields): Columns {
  const columns: Record<string, string> = {};
  for (const [field, name] of Object.entries(fields)) {
    const part = /^columns\[(.*)\]$/.exec(field)?.[1];
    if (part !== undefined) columns[part] = name;
  }
  return columns;
}

/** Seconds from now. */
function lifetime(fields: Fields): number | null {
  const seconds = fields['expires_after[seconds]'];
  if (seconds === undefined) return null;
  const value = Number(seconds);
  if (!Number.isInteger(value) || value < 3600 || value > 2_592_000) {
    throw new DomainError(
      'invalid_value',
      `expires_after.seconds must be an integer from 3600 to 2592000 (got ${seconds})`,
      'expires_after.seconds',
    );
  }
  return value;
}

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
