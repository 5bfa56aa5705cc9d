import type { ServerReadableStream, ServerWritableStream } from '@grpc/grpc-js';
import { Injectable } from '@nestjs/common';
import { DomainError, MAX_BLOB_NAMES } from '@graft/contracts';
import type {
  FetchBlobRequest,
  FetchBlobResponse,
  FindDeletedBlobsRequest,
  FindDeletedBlobsResponse,
  PutBlobHeader,
  PutBlobRequest,
  PutBlobResponse,
  PutBlobStateResponse,
} from '@graft/contracts/grpc';
import { once } from 'node:events';
import { poolAllowed } from '../auth/pools.js';
import { InterruptedUpload } from '../blobs/blob-receiver.js';
import { BlobStore, type WriteRow } from '../blobs/blob-store.js';
import { StorageQuota } from '../blobs/storage-quota.js';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import { Leases } from '../lifecycle/lease/lease.js';

/** Pattern of a plain file name: no folder, not hidden. */
const NAME = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,199}$/;

/** Transfers blobs to and from workers. */
@Injectable()
export class BlobTransfer {
  constructor(
    private readonly blobs: BlobStore,
    private readonly database: Database,
    private readonly leases: Leases,
    private readonly quota: StorageQuota,
    private readonly settings: Settings,
  ) {}

  /**
   * Sends a blob that this worker needs. Any other blob is reported as not found.
   * @throws DomainError "unavailable" while the blob storage is not available; the worker then retries
   */
  async fetch(
    workerId: string,
    call: ServerWritableStream<FetchBlobRequest, FetchBlobResponse>,
  ): Promise<void> {
    const { sha256, offset } = call.request;
    if (!(await this.wanted(workerId, sha256)) || !(await this.blobs.has(sha256))) {
      throw new DomainError(
        'not_found',
        `no such blob, or none that this worker may read: ${sha256.slice(0, 64)}`,
      );
    }
    const url = await this.blobs.url(sha256);
    if (url !== null) {
      call.write({ data: Buffer.alloc(0), url });
      call.end();
      return;
    }
    for await (const chunk of this.blobs.read(sha256, offset)) {
      if (call.cancelled) return;
      if (!call.write({ data: chunk as Buffer })) await drained(call);
    }
    call.end();
  }

  /**
   * Whether the worker may read the blob: it belongs to an imported base model, to a job that the worker has
   * leased, or to an answer that it generates.
   */
  private async wanted(workerId: string, sha256: string): Promise<boolean> {
    if (!/^[0-9a-f]{64}$/.test(sha256)) return false;
    const rows = await this.database.query(
      `WITH mine AS (SELECT * FROM job WHERE lease_owner = $2 AND state = 'running'),
         named AS (SELECT kind AS of, owner_id FROM blob_ref WHERE sha256 = $1)
       SELECT 1 FROM named JOIN model ON named.of = 'model' AND model.id = owner_id
         WHERE project_id IS NULL OR model.id IN (SELECT base_id FROM mine)
       UNION ALL SELECT 1 FROM named JOIN mine ON named.of = 'file' AND owner_id IN (training_file, validation_file)
       UNION ALL SELECT 1 FROM named JOIN mine ON named.of = 'job' AND owner_id = mine.id
       UNION ALL SELECT 1 FROM named JOIN checkpoint ON named.of = 'checkpoint' AND checkpoint.id = owner_id
         JOIN mine ON mine.id = checkpoint.job_id
       UNION ALL SELECT 1 FROM answer WHERE worker_id = $2 AND until > clock_timestamp() AND blobs @> jsonb_build_array($1::text)
       LIMIT 1`,
      [sha256, workerId],
    );
    return rows.length > 0;
  }

  /**
   * Stores a blob for the attempt in the header.
   * @throws DomainError unless this worker has the lease of that attempt
   */
  async put(
    workerId: string,
    call: ServerReadableStream<PutBlobRequest, PutBlobResponse>,
  ): Promise<PutBlobResponse> {
    const messages = call[Symbol.asyncIterator]() as AsyncIterator<PutBlobRequest>;
    const first = await messages.next();
    const header =
      first.done || first.value.body?.$case !== 'header' ? null : first.value.body.value;
    if (!header?.blob)
      throw new DomainError(
        'invalid_value',
        'the first message must be a header that names the blob',
      );
    const { name, sha256, size } = header.blob;
    if (!NAME.test(name))
      throw new DomainError(
        'invalid_value',
        `${JSON.stringify(name.slice(0, 80))} is not a plain file name`,
      );
    if (!(await this.leases.owns(workerId, header.jobId, header.attempt))) throw notCurrent(header);
    const projectId = await this.projectOf(header);
    if (!(await this.has(projectId, sha256))) await this.quota.guard(projectId, size);
    const asArtifact: WriteRow = async (manager) => {
      const rows = await this.database.query(
        `INSERT INTO artifact (job_id, attempt, sha256, name, size)
         SELECT id, attempt, $3, $4, $5 FROM job
         WHERE id = $1 AND attempt = $2 AND lease_owner = $6 AND state = 'running'
         ON CONFLICT (job_id, attempt, sha256, name) DO UPDATE SET size = excluded.size, created_at = now() RETURNING job_id`,
        [header.jobId, header.attempt, sha256, name, size, workerId],
        manager,
      );
      if (rows.length === 0) throw notCurrent(header);
      await this.quota.enforce(manager, projectId);
    };
    return this.blobs.put(content(call, messages, this.settings.bodyStandsMs), asArtifact, {
      limit: size,
      expect: { sha256, size },
      resume: { key: keyOf(header), offset: header.offset },
    });
  }

  private async projectOf({ jobId }: PutBlobHeader): Promise<string> {
    const [job] = await this.database.query<{ project_id: string }>(
      'SELECT project_id FROM job WHERE id = $1',
      [jobId],
    );
    return job?.project_id ?? '';
  }

  /** Whether the project already stores the same content, which then takes no additional storage. */
  private async has(projectId: string, sha256: string): Promise<boolean> {
    const rows = await this.database.query(
      'SELECT 1 FROM blob_ref WHERE project_id = $1 AND sha256 = $2 LIMIT 1',
      [projectId, sha256],
    );
    return rows.length > 0;
  }

  /**
   * Returns those of the given blobs that are not referenced by any project that may use the worker's pool.
   * The worker removes them from its cache.
   */
  async deleted(
    workerId: string,
    { sha256s }: FindDeletedBlobsRequest,
  ): Promise<FindDeletedBlobsResponse> {
    if (sha256s.length > MAX_BLOB_NAMES)
      throw new DomainError('invalid_value', `sha256s: at most ${MAX_BLOB_NAMES} names`);
    const rows = await this.database.query<{ sha256: string }>(
      `SELECT held.sha256 FROM unnest($1::text[]) AS held(sha256) WHERE NOT EXISTS (
         SELECT 1 FROM blob_ref JOIN worker ON worker.id = $2 WHERE blob_ref.sha256 = held.sha256
           AND (blob_ref.project_id IS NULL OR ${poolAllowed('worker.pool', 'blob_ref.project_id')}))`,
      [sha256s, workerId],
    );
    return { sha256s: rows.map(({ sha256 }) => sha256) };
  }

  /** Returns how many bytes of an interrupted upload were received. */
  async state(workerId: string, header: PutBlobHeader): Promise<PutBlobStateResponse> {
    if (!(await this.leases.owns(workerId, header.jobId, header.attempt))) throw notCurrent(header);
    const received = await this.blobs.received(keyOf(header));
    return { received: Math.min(received, header.blob?.size ?? 0) };
  }
}

/** Waits until the call can be written to again or is cancelled, and removes both listeners. */
async function drained(call: ServerWritableStream<unknown, unknown>): Promise<void> {
  const over = new AbortController();
  const { signal } = over;
  try {
    await Promise.race([once(call, 'drain', { signal }), once(call, 'cancelled', { signal })]);
  } finally {
    over.abort();
  }
}

/**
 * Key of an upload. It contains the attempt and the name, because another upload may write the same content
 * at the same time.
 */
const keyOf = ({ jobId, attempt, blob }: PutBlobHeader): string =>
  JSON.stringify([jobId, attempt, blob?.name, blob?.sha256, blob?.size]);

/**
 * Yields the data of an upload.
 * @throws InterruptedUpload if the call is cancelled or no data arrives for `standsMs`, so that a stalled upload does
 * not hold its resources forever
 */
async function* content(
  call: ServerReadableStream<PutBlobRequest, PutBlobResponse>,
  messages: AsyncIterator<PutBlobRequest>,
  standsMs: number,
): AsyncGenerator<Buffer> {
  const cancelled = new Promise<'cut'>((resolve) => call.once('cancelled', () => resolve('cut')));
  let size = 0;
  for (;;) {
    let timer: NodeJS.Timeout | undefined;
    const stands = new Promise<'cut'>((resolve) => {
      timer = setTimeout(resolve, standsMs, 'cut');
    });
    const next = await Promise.race([messages.next(), cancelled, stands])
      .catch(() => 'cut' as const)
      .finally(() => clearTimeout(timer));
    if (next === 'cut') throw new InterruptedUpload(size);
    if (next.done) return;
    if (next.value.body?.$case !== 'data') continue;
    const chunk = Buffer.from(next.value.body.value);
    size += chunk.length;
    yield chunk;
  }
}

const notCurrent = ({ jobId, attempt }: PutBlobHeader): DomainError =>
  new DomainError(
    'invalid_state',
    `attempt ${attempt} of ${jobId} is not leased to this worker; stop the run`,
  );
