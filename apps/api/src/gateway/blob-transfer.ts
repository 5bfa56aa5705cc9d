import type { ServerReadableStream, ServerWritableStream } from '@grpc/grpc-js';
import { Injectable } from '@nestjs/common';
import { DomainError } from '@graft/contracts';
import type {
  FetchBlobRequest,
  FetchBlobResponse,
  PutBlobHeader,
  PutBlobRequest,
  PutBlobResponse,
} from '@graft/contracts/grpc';
import { once } from 'node:events';
import { BlobStore, type WriteRow } from '../blobs/blob-store.js';
import { Answers } from '../chat/answers.js';
import { Database } from '../database/database.js';
import { Leases } from '../dispatch/lease.js';

const MAX_BLOB_BYTES = 64 * 1024 ** 3;
/** A file's own name: no folder, nothing hidden. */
const NAME = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,199}$/;

/** Blobs to and from workers. */
@Injectable()
export class BlobTransfer {
  constructor(
    private readonly blobs: BlobStore,
    private readonly database: Database,
    private readonly answers: Answers,
    private readonly leases: Leases,
  ) {}

  /** Sends a blob that this worker has a use for; any other is treated as not there. */
  async fetch(
    workerId: string,
    call: ServerWritableStream<FetchBlobRequest, FetchBlobResponse>,
  ): Promise<void> {
    const { sha256, offset } = call.request;
    if (!(await this.wanted(workerId, sha256)) || !(await this.blobs.has(sha256))) {
      throw new DomainError('not_found', `there is no blob ${sha256.slice(0, 64)} for a worker`);
    }
    for await (const chunk of this.blobs.read(sha256, offset)) {
      if (call.cancelled) return;
      if (!call.write({ data: chunk as Buffer }))
        await Promise.race([once(call, 'drain'), once(call, 'cancelled')]);
    }
    call.end();
  }

  /** Imported bases are everybody's; the rest belongs to the worker's leases and answers. */
  private async wanted(workerId: string, sha256: string): Promise<boolean> {
    if (!/^[0-9a-f]{64}$/.test(sha256)) return false;
    if (this.answers.need(workerId, sha256)) return true;
    const named = "jsonb_build_array(jsonb_build_object('sha256', $1::text))";
    const rows = await this.database.query(
      `WITH mine AS (SELECT * FROM job WHERE lease_owner = $2 AND state = 'running')
       SELECT 1 FROM model WHERE files @> ${named} AND (project_id IS NULL OR id IN (SELECT base_id FROM mine))
       UNION ALL SELECT 1 FROM mine JOIN file ON file.id IN (training_file, validation_file) WHERE file.sha256 = $1
       UNION ALL SELECT 1 FROM mine WHERE init_adapter @> ${named}
       UNION ALL SELECT 1 FROM mine JOIN checkpoint ON checkpoint.job_id = mine.id WHERE checkpoint.files @> ${named}
       LIMIT 1`,
      [sha256, workerId],
    );
    return rows.length > 0;
  }

  /** Stores a blob of the attempt that the header names; refused unless it is this worker's lease. */
  async put(
    workerId: string,
    call: ServerReadableStream<PutBlobRequest, PutBlobResponse>,
  ): Promise<PutBlobResponse> {
    const messages = call[Symbol.asyncIterator]() as AsyncIterator<PutBlobRequest>;
    const first = await messages.next();
    const header =
      first.done || first.value.body?.$case !== 'header' ? null : first.value.body.value;
    if (!header?.blob)
      throw new DomainError('invalid_value', 'the first message must be the header with its blob');
    const { name, sha256, size } = header.blob;
    if (!NAME.test(name))
      throw new DomainError(
        'invalid_value',
        `not a file name: ${JSON.stringify(name.slice(0, 80))}`,
      );
    if (!(await this.leases.owns(workerId, header.jobId, header.epoch))) throw notCurrent(header);
    const asArtifact: WriteRow = async (manager) => {
      const rows = await this.database.query(
        `INSERT INTO artifact (job_id, epoch, sha256, name, size)
         SELECT id, epoch, $3, $4, $5 FROM job
         WHERE id = $1 AND epoch = $2 AND lease_owner = $6 AND state = 'running'
         ON CONFLICT (job_id, epoch, sha256, name) DO UPDATE SET size = excluded.size, created_at = now() RETURNING job_id`,
        [header.jobId, header.epoch, sha256, name, size, workerId],
        manager,
      );
      if (rows.length === 0) throw notCurrent(header);
    };
    return this.blobs.put(content(messages), asArtifact, {
      limit: Math.min(MAX_BLOB_BYTES, size),
      expect: { sha256, size },
    });
  }
}

async function* content(messages: AsyncIterator<PutBlobRequest>): AsyncGenerator<Buffer> {
  for (let next = await messages.next(); !next.done; next = await messages.next()) {
    if (next.value.body?.$case === 'data') yield Buffer.from(next.value.body.value);
  }
}

const notCurrent = ({ jobId, epoch }: PutBlobHeader): DomainError =>
  new DomainError('invalid_state', `epoch ${epoch} of ${jobId} is not your lease; stop that run`);
