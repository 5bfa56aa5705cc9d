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
import { FilesService, MOST_FRAMING_BYTES } from './files.service.js';
import { PartMd5s } from './part-md5s.js';
import { readUpload } from './upload.js';
import { UPLOAD_PURPOSES } from './upload-fields.js';
import { completingSlots } from './upload-slots.js';

/** Maximum size of a part, as at OpenAI. */
const MAX_PART_BYTES = 64 * 1024 * 1024;
const MAX_PARTS = 10_000;
/**
 * Maximum bytes of all parts, as a multiple of the announced size: each part may have been sent twice. One more part
 * of any size may be in progress.
 */
const SENT_AGAIN = 2;
/** Lifetime after the last part. OpenAI's uploads expire an hour after they are created. */
const LIFETIME = `interval '24 hours'`;

/** Columns by record field; `checkColumns` validates the fields. */
const Columns = z.record(z.string().min(1).max(64), z.string().min(1).max(200));
const CreateUpload = z.strictObject({
  bytes: z.int().min(1),
  filename: z.string().min(1).max(255),
  mime_type: z.string().max(255),
  purpose: z.enum(UPLOAD_PURPOSES),
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
      /** Whether to reject plain texts next to a column that looks like their labels. */
      ask_columns: z.boolean().optional(),
    })
    .optional(),
});

/** Uploads of training data in parts, each of which may be sent again (OpenAI's Uploads API). */
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

  /** Returns an upload with its parts, so that an interrupted client can resume. */
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
        `data: expected a part of at most ${MAX_PART_BYTES} bytes, got ${announced}`,
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
            // The upload's row is locked, so no other part is added between counting and writing.
            await this.rejectTooLarge(upload, blob.size, manager);
            await this.database.query(
              `INSERT INTO upload_part (id, upload_id, sha256, size) VALUES ($1, $2, $3, $4)
               ON CONFLICT (id) DO UPDATE SET size = excluded.size`,
              [partId, id, blob.sha256, blob.size],
              manager,
            );
            await this.quota.enforce(manager, upload.project_id);
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

  /** Limits the total size of the parts, including repeated ones. */
  private async rejectTooLarge(
    upload: Upload,
    more: number,
    manager: EntityManager,
  ): Promise<void> {
    const [sent] = await this.database.query<{ bytes: string }>(
      'SELECT COALESCE(sum(size), 0) AS bytes FROM upload_part WHERE upload_id = $1',
      [upload.id],
      manager,
    );
    const bytes = Number(sent?.bytes) + more;
    if (bytes <= SENT_AGAIN * upload.bytes + MAX_PART_BYTES) return;
    throw new DomainError(
      'file_too_large',
      `the parts of ${upload.id} have ${bytes} bytes including repeated ones, but it was created for ${upload.bytes}`,
      'data',
    );
  }

  /**
   * Creates a file from the parts and checks it like a whole upload. Repeated calls return the same file. If a table
   * was rejected because its columns are unclear, the client may complete the upload again with `graft.columns`; the
   * parts are kept.
   */
  async complete(caller: Principal, id: string, body: unknown): Promise<UploadObject> {
    const { columns, status } = await this.row(caller, id);
    const requested = parseBody(CompleteUpload, body);
    checkGraftColumns(requested.graft?.columns ?? columns);
    if (status === 'completed') return this.get(caller, id);
    const done = await completingSlots.take(caller.projectId, new AbortController().signal);
    try {
      // Another request may have completed it while this one waited.
      const upload = await this.row(caller, id);
      if (upload.status !== 'completed') await this.makeFile(caller, upload, requested);
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
        requiresLabelColumns: graft?.ask_columns ?? false,
        upload: id,
        completes: (manager, fileId) => this.linkFile(manager, id, fileId),
      });
    } catch (error) {
      // Another API process may have completed it: clients repeat a request without a response.
      if ((await this.row(caller, id)).status !== 'completed') throw underGraft(error);
    }
    for (const part of found) await this.blobs.release(part.sha256);
  }

  /**
   * Joins the parts.
   * @throws DomainError if their MD5 is not that of the client: after the last byte, or immediately if it is known
   */
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

  private async linkFile(manager: EntityManager, id: string, fileId: string): Promise<void> {
    // The bytes of the parts are counted for the file from now on.
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

  /** Expires up to `limit` uploads without recent parts. */
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

/** Renames the param of an error about `columns` to `graft.columns`, its name in these requests. */
function underGraft(error: unknown): unknown {
  if (error instanceof UnknownColumns) return error.underGraft();
  if (error instanceof DomainError && /^columns(?:[.]|$)/.test(error.param ?? ''))
    return new DomainError(error.code, error.message, `graft.${error.param}`);
  return error;
}

const notPending = (id: string): DomainError =>
  new DomainError('invalid_state', `${id} is already completed, cancelled or expired`, 'upload_id');

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
      `part_ids: ${partId.slice(0, 60)} is not a part of this upload`,
      'part_ids',
    );
  });
  const bytes = parts.reduce((sum, part) => sum + part.size, 0);
  if (bytes === announced) return parts;
  throw new DomainError(
    'invalid_value',
    `the parts have ${bytes} bytes in total, but the upload was created for ${announced}`,
    'part_ids',
  );
}

function checkMd5(came: string, md5: string | undefined): void {
  if (md5 === undefined || md5.toLowerCase() === came) return;
  throw new DomainError(
    'invalid_value',
    `md5: expected ${md5}, but the parts in this order have ${came}`,
    'md5',
  );
}
