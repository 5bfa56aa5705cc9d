import { createHash } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import {
  DomainError,
  parseBody,
  UnknownColumns,
  type UploadObject,
  type UploadPartObject,
} from '@graft/contracts';
import type { Request } from 'express';
import type { EntityManager } from 'typeorm';
import { z } from 'zod';
import { Audit } from '../auth/audit.js';
import type { Principal } from '../auth/principal.js';
import { BlobStore } from '../blobs/blob-store.js';
import { StorageQuota } from '../blobs/storage-quota.js';
import { checkColumns } from '../catalog/plugins.js';
import { Database } from '../database/database.js';
import { Upload, UploadPart } from '../database/entities/storage.js';
import { newId, unix } from '../ids.js';
import { FilesService, MOST_FRAMING_BYTES, TRAINING_PURPOSE } from './files.service.js';
import { PartMd5s } from './part-md5s.js';
import { readUpload } from './upload.js';
import { completingSlots } from './upload-slots.js';

/** As OpenAI's. */
const MAX_PART_BYTES = 64 * 1024 * 1024;
const MAX_PARTS = 10_000;
/** Of the announced bytes: each part may have been sent twice, and one more of any size may be under way. */
const SENT_AGAIN = 2;
/** Since the last part; OpenAI's are gone an hour after they began. */
const LIFETIME = `interval '24 hours'`;

/** By fields of a record, which `checkColumns` knows. */
const Columns = z.record(z.string().min(1).max(64), z.string().min(1).max(200));
const CreateUpload = z.strictObject({
  bytes: z.int().min(1),
  filename: z.string().min(1).max(255),
  mime_type: z.string().max(255),
  purpose: z.literal(TRAINING_PURPOSE),
  expires_after: z
    .strictObject({
      anchor: z.literal('created_at'),
      seconds: z.int().min(3600).max(2_592_000),
    })
    .optional(),
  graft: z.strictObject({ columns: Columns.optional() }).optional(),
});
const CompleteUpload = z.strictObject({
  part_ids: z.array(z.string()).min(1).max(MAX_PARTS),
  md5: z
    .string()
    .regex(/^[0-9a-f]{32}$/i, 'expected 32 hex digits')
    .optional(),
  graft: z
    .strictObject({
      columns: Columns.optional(),
      /** Plain texts beside what looks like their labels are refused. */
      ask_columns: z.boolean().optional(),
    })
    .optional(),
});

/** Training data in parts, each of which may be sent again: OpenAI's Uploads. */
@Injectable()
export class UploadsService {
  private readonly md5s = new PartMd5s();

  constructor(
    private readonly database: Database,
    private readonly blobs: BlobStore,
    private readonly files: FilesService,
    private readonly quota: StorageQuota,
    private readonly audit: Audit,
  ) {}

  async create(caller: Principal, body: unknown): Promise<UploadObject> {
    const { bytes, filename, purpose, expires_after, graft } = parseBody(CreateUpload, body);
    checkGraftColumns(graft?.columns ?? {});
    await this.quota.guard(caller.projectId, bytes);
    const id = newId('upload_');
    await this.database.transaction(async (manager) => {
      await this.database.query(
        `INSERT INTO upload (id, project_id, filename, purpose, bytes, columns, lifetime_seconds, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, clock_timestamp() + ${LIFETIME}) ON CONFLICT DO NOTHING`,
        [
          id,
          caller.projectId,
          filename,
          purpose,
          bytes,
          graft?.columns ?? {},
          expires_after?.seconds ?? null,
        ],
        manager,
      );
      await this.audit.write(manager, { caller, action: 'upload.created', target: id });
    });
    return this.get(caller, id);
  }

  /** With its parts, so that whoever was interrupted can go on. */
  async get(caller: Principal, id: string): Promise<UploadObject> {
    const upload = await this.row(caller, id);
    const parts = await this.database.manager
      .getRepository(UploadPart)
      .find({ where: { upload_id: id }, order: { created_at: 'ASC', id: 'ASC' } });
    const file = upload.file_id
      ? await this.files.get(caller, upload.file_id).catch(() => null)
      : null;
    return {
      id,
      object: 'upload',
      bytes: upload.bytes,
      created_at: unix(upload.created_at),
      expires_at: unix(upload.expires_at),
      filename: upload.filename,
      purpose: upload.purpose,
      status: upload.status,
      file,
      graft: {
        parts: parts.map((part) => ({ id: part.id, bytes: part.size, sha256: part.sha256 })),
      },
    };
  }

  async addPart(caller: Principal, id: string, request: Request): Promise<UploadPartObject> {
    const upload = await this.pending(caller, id);
    const announced = Number(request.headers['content-length'] ?? 0);
    const least = Math.max(0, announced - MOST_FRAMING_BYTES);
    if (least > MAX_PART_BYTES)
      throw new DomainError(
        'file_too_large',
        `data: a part has at most ${MAX_PART_BYTES} bytes, and this request announces ${announced}`,
        'data',
      );
    const within = await this.quota.guard(upload.project_id, least);
    const partId = newId('part_');
    const { content } = await readUpload(
      request,
      (part) =>
        this.blobs.put(
          part,
          async (manager, blob) => {
            const rows = await this.database.query(
              `UPDATE upload SET expires_at = clock_timestamp() + ${LIFETIME} WHERE id = $1 AND status = 'pending' RETURNING id`,
              [id],
              manager,
            );
            if (rows.length === 0) throw notPending(id);
            // The upload's row is locked: no other part comes between counting and writing.
            await this.refuseTooMuch(upload, blob.size, manager);
            await this.database.query(
              `INSERT INTO upload_part (id, upload_id, sha256, size) VALUES ($1, $2, $3, $4)
               ON CONFLICT (id) DO UPDATE SET size = excluded.size`,
              [partId, id, blob.sha256, blob.size],
              manager,
            );
            await this.quota.settle(manager, upload.project_id);
            await this.audit.write(manager, { caller, action: 'upload.continued', target: id });
          },
          { uploader: upload.project_id, limit: MAX_PART_BYTES, announced, within },
        ),
      { wanted: 'data' },
    );
    return {
      id: partId,
      object: 'upload.part',
      created_at: unix(new Date()),
      upload_id: id,
      graft: { sha256: content.sha256 },
    };
  }

  /** Else one upload could bring parts without end. */
  private async refuseTooMuch(upload: Upload, more: number, manager: EntityManager): Promise<void> {
    const [sent] = await this.database.query<{ bytes: string }>(
      'SELECT COALESCE(sum(size), 0) AS bytes FROM upload_part WHERE upload_id = $1',
      [upload.id],
      manager,
    );
    const bytes = Number(sent?.bytes) + more;
    if (bytes <= SENT_AGAIN * upload.bytes + MAX_PART_BYTES) return;
    throw new DomainError(
      'file_too_large',
      `the parts of ${upload.id} are ${bytes} bytes, sent again included; it announced bytes: ${upload.bytes}`,
      'data',
    );
  }

  /**
   * Makes the parts a file, checked like one that arrives whole. Again after that: the same answer. A table that was
   * refused until somebody says which column is what is completed again with `graft.columns`: its parts are kept.
   */
  async complete(caller: Principal, id: string, body: unknown): Promise<UploadObject> {
    const { columns, status } = await this.row(caller, id);
    const asked = parseBody(CompleteUpload, body);
    checkGraftColumns(asked.graft?.columns ?? columns);
    if (status === 'completed') return this.get(caller, id);
    const done = await completingSlots.take(caller.projectId, new AbortController().signal);
    try {
      // Another call may have completed it while this one waited.
      const upload = await this.row(caller, id);
      if (upload.status !== 'completed') await this.makeFile(caller, upload, asked);
    } finally {
      done();
    }
    return this.get(caller, id);
  }

  private async makeFile(
    caller: Principal,
    upload: Upload,
    { part_ids: ids, md5, graft }: z.infer<typeof CompleteUpload>,
  ): Promise<void> {
    const { id } = upload;
    if (upload.status !== 'pending') throw notPending(id);
    const found = await this.database.manager.getRepository(UploadPart).findBy({ upload_id: id });
    const parts = partsOf(upload, ids, found);
    try {
      await this.files.store(caller, this.contentOf(parts, md5), {
        ...upload,
        columns: graft?.columns ?? upload.columns,
        asks: graft?.ask_columns ?? false,
        upload: id,
        completes: (manager, fileId) => this.becomes(manager, id, fileId),
      });
    } catch (error) {
      // Another API process may have been faster: a client that was not answered asks again.
      if ((await this.row(caller, id)).status !== 'completed') throw underGraft(error);
    }
    for (const part of found) await this.blobs.release(part.sha256);
  }

  /** @throws DomainError where they have another MD5 than the client says: after the last byte, or at once where it is known */
  private async *contentOf(
    parts: readonly UploadPart[],
    md5: string | undefined,
  ): AsyncGenerator<Buffer> {
    const known = this.md5s.of(parts);
    if (known !== null) checkMd5(known, md5);
    const hash = createHash('md5');
    for (const part of parts)
      for await (const chunk of this.blobs.read(part.sha256) as AsyncIterable<Buffer>) {
        hash.update(chunk);
        yield chunk;
      }
    const came = hash.digest('hex');
    this.md5s.keep(parts, came);
    checkMd5(came, md5);
  }

  private async becomes(manager: EntityManager, id: string, fileId: string): Promise<void> {
    // The parts' room is the file's from now on.
    await this.dropParts(id, manager);
    const rows = await this.database.query(
      `UPDATE upload SET status = 'completed', file_id = $2 WHERE id = $1 AND status = 'pending' RETURNING id`,
      [id, fileId],
      manager,
    );
    if (rows.length === 0) throw notPending(id);
  }

  async cancel(caller: Principal, id: string): Promise<UploadObject> {
    await this.pending(caller, id);
    await this.end(id, 'cancelled', caller);
    return this.get(caller, id);
  }

  /** Gives up uploads that nobody went on with; at most so many. */
  async expire(limit: number): Promise<number> {
    const rows = await this.database.query<{ id: string }>(
      `SELECT id FROM upload WHERE status = 'pending' AND expires_at < clock_timestamp() LIMIT $1`,
      [limit],
    );
    for (const { id } of rows) await this.end(id, 'expired', null);
    return rows.length;
  }

  private async end(
    id: string,
    status: 'cancelled' | 'expired',
    caller: Principal | null,
  ): Promise<void> {
    const parts = await this.database.manager.getRepository(UploadPart).findBy({ upload_id: id });
    await this.database.transaction(async (manager) => {
      const rows = await this.database.query(
        `UPDATE upload SET status = $2 WHERE id = $1 AND status = 'pending' RETURNING id`,
        [id, status],
        manager,
      );
      if (rows.length === 0) return;
      await this.dropParts(id, manager);
      if (caller)
        await this.audit.write(manager, { caller, action: 'upload.cancelled', target: id });
    });
    for (const part of parts) await this.blobs.release(part.sha256);
  }

  private dropParts(id: string, manager: Parameters<Database['query']>[2]): Promise<unknown> {
    return this.database.query('DELETE FROM upload_part WHERE upload_id = $1', [id], manager);
  }

  private async pending(caller: Principal, id: string): Promise<Upload> {
    const upload = await this.row(caller, id);
    if (upload.status !== 'pending') throw notPending(id);
    return upload;
  }

  private async row({ projectId }: Principal, id: string): Promise<Upload> {
    const upload = await this.database.manager
      .getRepository(Upload)
      .findOneBy({ id, project_id: projectId });
    if (!upload)
      throw new DomainError('not_found', `No such Upload object: ${id.slice(0, 60)}`, 'upload_id');
    return upload;
  }
}

function checkGraftColumns(columns: z.infer<typeof Columns>): void {
  try {
    checkColumns(columns);
  } catch (error) {
    throw underGraft(error);
  }
}

/** What is wrong with `columns` of a form is wrong with `graft.columns` of these requests. */
function underGraft(error: unknown): unknown {
  if (error instanceof UnknownColumns) return error.underGraft();
  if (error instanceof DomainError && /^columns(?:[.]|$)/.test(error.param ?? ''))
    return new DomainError(error.code, error.message, `graft.${error.param}`);
  return error;
}

const notPending = (id: string): DomainError =>
  new DomainError('invalid_state', `${id} is complete, cancelled or expired`, 'upload_id');

function partsOf(
  { bytes: announced }: Upload,
  ids: readonly string[],
  found: readonly UploadPart[],
): UploadPart[] {
  const known = new Map(found.map((part) => [part.id, part]));
  const parts = ids.map((partId) => {
    const part = known.get(partId);
    if (part) return part;
    throw new DomainError(
      'invalid_value',
      `part_ids: ${partId.slice(0, 60)} is no part of this upload`,
      'part_ids',
    );
  });
  const bytes = parts.reduce((sum, part) => sum + part.size, 0);
  if (bytes === announced) return parts;
  throw new DomainError(
    'invalid_value',
    `the parts have ${bytes} bytes together; the upload was created for ${announced}`,
    'part_ids',
  );
}

function checkMd5(came: string, md5: string | undefined): void {
  if (md5 === undefined || md5.toLowerCase() === came) return;
  throw new DomainError(
    'invalid_value',
    `md5: the parts in this order have ${came}, not ${md5}`,
    'md5',
  );
}
