import { createHash } from 'node:crypto';
import { createReadStream, type ReadStream } from 'node:fs';
import { mkdir, open, readdir, rename, rm, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { DomainError } from '@graft/contracts';
import { Injectable } from '@nestjs/common';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import { randomText } from '../ids.js';

export interface StoredBlob {
  readonly sha256: string;
  readonly size: number;
}

const SHA256 = /^[0-9a-f]{64}$/;

/**
 * Content on disk under its own SHA-256, `blobs/<first two>/<hash>`. A name appears only after its bytes
 * were synced, so what exists is whole. Nothing a user or worker sends ever becomes part of a path.
 */
@Injectable()
export class BlobStore {
  constructor(
    private readonly settings: Settings,
    private readonly database: Database,
  ) {}

  /** Removes what interrupted uploads left. */
  async prepare(): Promise<void> {
    const incoming = join(this.settings.blobsDir, 'incoming');
    await mkdir(incoming, { recursive: true });
    for (const name of await readdir(incoming)) {
      await rm(join(incoming, name), { recursive: true, force: true });
    }
  }

  /** Streams to a temporary file while hashing; `limit` in bytes, `inspect` sees every chunk. */
  async put(
    source: AsyncIterable<Buffer>,
    options: {
      limit?: number;
      expect?: { sha256: string; size: number };
      inspect?: (chunk: Buffer) => void;
    } = {},
  ): Promise<StoredBlob> {
    await this.refuseWhenFull();
    const temporary = join(this.settings.blobsDir, 'incoming', randomText());
    const hash = createHash('sha256');
    let size = 0;
    const file = await open(temporary, 'wx', 0o600);
    try {
      for await (const chunk of source) {
        size += chunk.length;
        if (options.limit !== undefined && size > options.limit) {
          throw new DomainError(
            'file_too_large',
            `the file is larger than ${options.limit} bytes`,
            'file',
          );
        }
        hash.update(chunk);
        options.inspect?.(chunk);
        await file.write(chunk);
      }
      await file.sync();
      await file.close();
      const sha256 = hash.digest('hex');
      const { expect } = options;
      if (expect && (expect.sha256 !== sha256 || expect.size !== size)) {
        throw new DomainError(
          'invalid_value',
          `got ${size} bytes with sha256 ${sha256}, announced ${expect.size} with ${expect.sha256}`,
        );
      }
      await this.commit(temporary, sha256);
      await this.database.query(
        'INSERT INTO blob (sha256, size) VALUES ($1, $2) ON CONFLICT DO NOTHING',
        [sha256, size],
      );
      return { sha256, size };
    } finally {
      await file.close().catch(() => undefined);
      await rm(temporary, { force: true });
    }
  }

  private async commit(temporary: string, sha256: string): Promise<void> {
    const folder = join(this.settings.blobsDir, sha256.slice(0, 2));
    await mkdir(folder, { recursive: true });
    await rename(temporary, join(folder, sha256));
    const directory = await open(folder, 'r');
    await directory.sync();
    await directory.close();
  }

  read(sha256: string, offset = 0): ReadStream {
    return createReadStream(this.path(sha256), { start: offset, highWaterMark: 256 * 1024 });
  }

  async has(sha256: string): Promise<boolean> {
    return SHA256.test(sha256) && (await stat(this.path(sha256)).catch(() => null)) !== null;
  }

  path(sha256: string): string {
    if (!SHA256.test(sha256))
      throw new DomainError('invalid_value', 'a blob is named by 64 lower-case hex digits');
    return join(this.settings.blobsDir, sha256.slice(0, 2), sha256);
  }

  /** Deletes the content unless a file, model, checkpoint or artifact still names it. */
  async release(sha256: string): Promise<void> {
    const gone = await this.database.query<{ sha256: string }>(
      `DELETE FROM blob b WHERE b.sha256 = $1
         AND NOT EXISTS (SELECT 1 FROM file WHERE file.sha256 = b.sha256)
         AND NOT EXISTS (SELECT 1 FROM artifact WHERE artifact.sha256 = b.sha256)
         AND NOT EXISTS (SELECT 1 FROM model WHERE model.files @> jsonb_build_array(jsonb_build_object('sha256', b.sha256)))
       RETURNING b.sha256`,
      [sha256],
    );
    if (gone.length > 0) await rm(this.path(sha256), { force: true });
  }

  /** Keeps a reserve, so that the database and running jobs can still write. */
  private async refuseWhenFull(): Promise<void> {
    const disk = await statfs(this.settings.blobsDir);
    const free = disk.bavail * disk.bsize;
    const reserve = Math.min(0.02 * disk.blocks * disk.bsize, 1e9);
    if (free < reserve) {
      throw new DomainError(
        'disk_full',
        `only ${free} bytes are free on the server's disk; ${Math.round(reserve)} are kept in reserve`,
      );
    }
  }
}
