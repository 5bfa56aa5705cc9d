import { Injectable } from '@nestjs/common';
import { DomainError, type FileObject, type FileRecordObject, type Page } from '@graft/contracts';
import type { Request } from 'express';
import type { EntityManager } from 'typeorm';
import type { Readable } from 'node:stream';
import type { Principal } from '../auth/principal.js';
import { BlobStore } from '../blobs/blob-store.js';
import type { Columns } from '../catalog/plugins.js';
import { Database } from '../database/database.js';
import { File } from '../database/entities/storage.js';
import { pageQuery } from '../http/parse.js';
import { newId, unix } from '../ids.js';
import { readRecords } from './read-records.js';
import { receiveTrainingData, type Arrived } from './training-data.js';
import { readUpload, type UploadedParts } from './upload.js';

const TRAINING_PURPOSE = 'fine-tune';
export const RESULT_PURPOSE = 'fine-tune-results';

type Fields = Readonly<Record<string, string>>;

@Injectable()
export class FilesService {
  constructor(
    private readonly database: Database,
    private readonly blobs: BlobStore,
  ) {}

  async upload(caller: Principal, request: Request): Promise<FileObject> {
    const arriving: Promise<Arrived>[] = [];
    const gone = new AbortController();
    request.res?.once('close', () => gone.abort());
    try {
      let columns = '';
      const parts = await readUpload(request, (part, { filename, fields }) => {
        columns = JSON.stringify(columnsOf(fields));
        const arrived = receiveTrainingData(
          this.blobs,
          part,
          filename,
          columnsOf(fields),
          gone.signal,
        );
        arriving.push(arrived);
        return arrived;
      });
      if (JSON.stringify(columnsOf(parts.fields)) !== columns)
        throw new DomainError('invalid_value', 'send columns before the file', 'columns');
      return await this.keep(caller, parts);
    } finally {
      for (const arrived of await Promise.allSettled(arriving))
        if (arrived.status === 'fulfilled') await this.blobs.discard(arrived.value.blob);
    }
  }

  private async keep(
    caller: Principal,
    { filename, fields, content }: UploadedParts<Arrived>,
  ): Promise<FileObject> {
    const purpose = checkPurpose(fields);
    const { report, details } = content.checked;
    const seconds = lifetime(fields);
    const expires_at =
      seconds === null ? null : new Date((await this.database.now()).getTime() + seconds * 1000);
    const id = newId('file-');
    await this.blobs.keep(content.blob, async (manager, blob) => {
      // Written by an earlier run of the transaction, whose connection was lost before that was heard.
      if (await manager.getRepository(File).existsBy({ id })) return;
      const row = {
        id,
        project_id: caller.projectId,
        filename,
        purpose,
        ...blob,
        records: report.records,
        status: report.problems.length > 0 ? ('error' as const) : ('processed' as const),
        status_details: details,
        report,
        expires_at,
      };
      await this.insert(row, manager);
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

  async remove(
    caller: Principal,
    id: string,
  ): Promise<{ id: string; object: 'file'; deleted: true }> {
    const file = await this.row(caller, id);
    const user = await this.drop(file);
    if (user !== null)
      throw new DomainError(
        'conflict',
        `${id} is in use by ${user}; cancel that job first`,
        'file_id',
      );
    return { id, object: 'file', deleted: true };
  }

  /** Deletes a file and its bytes; answers with the job that keeps it, if one does. */
  async drop({ id, sha256 }: Pick<File, 'id' | 'sha256'>): Promise<string | null> {
    const user = await this.database.transaction(async (manager) => {
      // First the row's lock, which a job's creation takes too; then a look at the jobs that won.
      await this.database.query('SELECT 1 FROM file WHERE id = $1 FOR UPDATE', [id], manager);
      const [job] = await this.database.query<{ id: string }>(
        `SELECT id FROM job WHERE (training_file = $1 OR validation_file = $1)
           AND state IN ('validating_files', 'queued', 'running', 'paused') LIMIT 1`,
        [id],
        manager,
      );
      if (!job) await manager.getRepository(File).delete({ id });
      return job?.id ?? null;
    });
    if (user === null) await this.blobs.release(sha256);
    return user;
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
    return readRecords(this.blobs.read(file.sha256), query);
  }

  async content(caller: Principal, id: string): Promise<{ file: File; stream: Readable }> {
    const file = await this.row(caller, id);
    return { file, stream: this.blobs.read(file.sha256) };
  }
}

/** Of OpenAI's purposes only this one leads to anything here. */
function checkPurpose({ purpose }: Fields): string {
  if (!purpose)
    throw new DomainError('missing_required_parameter', 'purpose is required', 'purpose');
  if (purpose === TRAINING_PURPOSE) return purpose;
  throw new DomainError(
    'invalid_value',
    `purpose must be ${TRAINING_PURPOSE}, not ${purpose.slice(0, 40)}: Graft has no other use for files`,
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
      `expires_after.seconds must be from 3600 to 2592000, not ${seconds}`,
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
