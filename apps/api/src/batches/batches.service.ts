import { Injectable } from '@nestjs/common';
import { DomainError, parseBody, type BatchObject, type Page } from '@graft/contracts';
import { requireActive } from '../auth/active-project.js';
import { Audit } from '../auth/audit.js';
import type { Principal } from '../auth/principal.js';
import { Database } from '../database/database.js';
import { Batch, IS_OPEN_BATCH } from '../database/entities/batches.js';
import { jsonbText } from '../database/jsonb.js';
import { BATCH_PURPOSE, FilesService } from '../files/files.service.js';
import { pageOf, pageQuery } from '../http/parse.js';
import { newId } from '../ids.js';
import { CreateBatchBody, windowSeconds } from './batch-body.js';
import { setStatus } from './batch-claims.js';
import { batchObject } from './batch-object.js';
import { BatchRunner } from './batch-runner.js';

/** Maximum number of batches of a project that have not ended. */
const MOST_OPEN = 100;

/** OpenAI's batches. */
@Injectable()
export class BatchesService {
  constructor(
    private readonly database: Database,
    private readonly files: FilesService,
    private readonly audit: Audit,
    private readonly runner: BatchRunner,
  ) {}

  async create(caller: Principal, given: unknown): Promise<BatchObject> {
    const body = parseBody(CreateBatchBody, given);
    const file = await this.files.row(caller, body.input_file_id, 'input_file_id');
    if (file.purpose !== BATCH_PURPOSE)
      throw new DomainError(
        'invalid_value',
        `${file.id} has purpose ${file.purpose}; upload it with purpose ${BATCH_PURPOSE}`,
        'input_file_id',
      );
    const id = newId('batch_');
    await this.database.transaction(async (manager) => {
      await requireActive(this.database, manager, caller.projectId);
      await this.files.lock(manager, file.id, 'input_file_id');
      await this.database.query(
        'SELECT pg_advisory_xact_lock(hashtextextended($1, 0))',
        [`batches ${caller.projectId}`],
        manager,
      );
      const [open] = await this.database.query<{ count: number }>(
        `SELECT count(*)::int AS count FROM batch WHERE project_id = $1 AND ${IS_OPEN_BATCH}`,
        [caller.projectId],
        manager,
      );
      if ((open?.count ?? 0) >= MOST_OPEN)
        throw new DomainError(
          'insufficient_quota',
          `the project has ${MOST_OPEN} batches that have not ended; wait for one, or cancel it`,
        );
      await this.database.query(
        `INSERT INTO batch (id, project_id, key_id, endpoint, input_file, completion_window, output_seconds, metadata,
           expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8::jsonb, clock_timestamp() + $9 * interval '1 second')
         ON CONFLICT DO NOTHING`,
        [
          id,
          caller.projectId,
          caller.keyId,
          body.endpoint,
          file.id,
          body.completion_window,
          body.output_expires_after?.seconds ?? null,
          body.metadata ? jsonbText(body.metadata) : null,
          windowSeconds(body.completion_window),
        ],
        manager,
      );
      const detail = { file: file.id, endpoint: body.endpoint };
      await this.audit.write(manager, { caller, action: 'batch.created', target: id, detail });
    });
    this.runner.scan();
    return this.get(caller, id);
  }

  async list(caller: Principal, query: Record<string, unknown>): Promise<Page<BatchObject>> {
    const { limit, after } = pageQuery(query, 20, 100);
    if (after) await this.row(caller, after, 'after');
    const rows = await this.database.manager
      .getRepository(Batch)
      .createQueryBuilder('batch')
      .where('batch.project_id = :project', { project: caller.projectId })
      .andWhere(
        after
          ? '(batch.created_at, batch.id) < (SELECT created_at, id FROM batch WHERE id = :after)'
          : 'true',
        { after },
      )
      .orderBy('batch.created_at', 'DESC')
      .addOrderBy('batch.id', 'DESC')
      .limit(limit + 1)
      .getMany();
    return pageOf(rows, limit, batchObject);
  }

  async get(caller: Principal, id: string): Promise<BatchObject> {
    return batchObject(await this.row(caller, id));
  }

  /**
   * Cancels a batch. Answers so far are kept. A batch that was cancelled is returned as it is.
   * @throws DomainError if it has ended, or its results are being written
   */
  async cancel(caller: Principal, id: string): Promise<BatchObject> {
    await this.row(caller, id);
    const isCancelled = await this.database.transaction(async (manager) => {
      const changed = await this.database.query(
        `UPDATE batch SET ${setStatus('cancelling')}, owner = NULL, owner_until = NULL, resume_at = NULL
         WHERE id = $1 AND status IN ('validating', 'in_progress') RETURNING id`,
        [id],
        manager,
      );
      if (changed.length > 0)
        await this.audit.write(manager, { caller, action: 'batch.cancelled', target: id });
      return changed.length > 0;
    });
    const { status } = await this.row(caller, id);
    if (!isCancelled && status !== 'cancelling' && status !== 'cancelled')
      throw new DomainError(
        'invalid_value',
        `Cannot cancel a batch with status '${status}'`,
        'batch_id',
      );
    this.runner.stop(id);
    this.runner.scan();
    return this.get(caller, id);
  }

  /** Returns the row of a batch. Batches of other projects are not found. */
  private async row({ projectId }: Principal, id: string, param = 'batch_id'): Promise<Batch> {
    const found = await this.database.manager
      .getRepository(Batch)
      .findOneBy({ id, project_id: projectId });
    if (found) return found;
    throw new DomainError('not_found', `No such Batch: ${id.slice(0, 60)}`, param);
  }
}
