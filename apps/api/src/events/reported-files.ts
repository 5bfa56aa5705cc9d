// Files of checkpoints and results that workers report.
import type { BlobRef } from '@graft/contracts/grpc';
import type { EntityManager } from 'typeorm';
import type { Database } from '../database/database.js';
import type { Job } from '../database/entities/job.js';
import type { StoredFile } from '../database/entities/storage.js';

/** Returns the name of the first blob that no attempt of this job has uploaded, or null. */
export async function missingBlob(
  database: Database,
  manager: EntityManager,
  job: Pick<Job, 'id'>,
  blobs: readonly BlobRef[],
): Promise<string | null> {
  const [row] = await database.query<{ name: string }>(
    `SELECT b.name FROM unnest($2::text[], $3::text[], $4::bigint[]) AS b(name, sha256, size)
       WHERE NOT EXISTS (SELECT 1 FROM artifact a WHERE a.job_id = $1 AND a.sha256 = b.sha256 AND a.size = b.size) LIMIT 1`,
    [job.id, blobs.map((b) => b.name), blobs.map((b) => b.sha256), blobs.map((b) => b.size)],
    manager,
  );
  return row ? row.name || 'a file without a name' : null;
}

/** Returns the files of the adapters that the job combines, each in its own folder; its results need them. */
export const combinedAdapterFiles = ({ spec, init_adapter: given }: Job): StoredFile[] =>
  spec.adapters ? given.filter(({ name }) => name.includes('/')) : [];
