import { createHash } from 'node:crypto';
import { createReadStream, type ReadStream } from 'node:fs';
import { mkdir, open, readdir, rename, rm, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { DomainError } from '@graft/contracts';
import { Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Settings } from '../config.js';
import type { StoredFile } from '../database/entities/storage.js';
import { Database } from '../database/database.js';
import { randomText } from '../ids.js';

export interface StoredBlob {
  readonly sha256: string;
  readonly size: number;
}

export interface Received extends StoredBlob {
  readonly temporary: string;
}

export interface ReceiveOptions {
  /** In bytes. */
  readonly limit?: number;
  readonly expect?: StoredBlob;
  /** Sees every chunk. */
  readonly inspect?: (chunk: Buffer) => void;
}

/** Writes the row that names a blob; it may run again when its transaction is tried again. */
export type WriteRow = (manager: EntityManager, blob: StoredBlob) => Promise<unknown>;

const SHA256 = /^[0-9a-f]{64}$/;
const LEFT_MS = 3600 * 1000;

/** Every place where a row names a blob. */
const NAMED = `(
  SELECT sha256 FROM file
  UNION ALL SELECT sha256 FROM artifact
  UNION ALL SELECT part->>'sha256' FROM model, jsonb_array_elements(files) AS part
  UNION ALL SELECT part->>'sha256' FROM checkpoint, jsonb_array_elements(files || adapter) AS part
  UNION ALL SELECT part->>'sha256' FROM job, jsonb_array_elements(init_adapter) AS part
    WHERE state NOT IN ('succeeded', 'failed', 'cancelled')
) AS named`;

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

  /** Removes what interrupted uploads left. What was written to within an hour may still be on its way, here or in another process. */
  async sweep(): Promise<void> {
    const incoming = join(this.settings.blobsDir, 'incoming');
    await mkdir(incoming, { recursive: true });
    for (const name of await readdir(incoming)) {
      const path = join(incoming, name);
      const entry = await stat(path).catch(() => null);
      if (entry && Date.now() - entry.mtimeMs > LEFT_MS)
        await rm(path, { recursive: true, force: true });
    }
  }

  /** Stores content together with the row that names it. */
  async put(
    source: AsyncIterable<Buffer>,
    write: WriteRow,
    options: ReceiveOptions = {},
  ): Promise<StoredBlob> {
    return this.keep(await this.receive(source, options), write);
  }

  /** Streams to a temporary file while hashing. What came is then kept or discarded. */
  async receive(source: AsyncIterable<Buffer>, options: ReceiveOptions = {}): Promise<Received> {
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
        // Not write(): on a disk that gets full that may write a part only, and succeed.
        await file.writeFile(chunk);
      }
      await file.sync();
      await file.close();
      const sha256 = hash.digest('hex');
      const { expect } = options;
      if (expect && (expect.sha256 !== sha256 || expect.size !== size)) {
        // Without the hash of what came: whoever may not read a file must not learn what is in it.
        throw new DomainError(
          'invalid_value',
          expect.size === size
            ? `got ${size} bytes with another sha256 than announced`
            : `got ${size} bytes, announced ${expect.size}`,
        );
      }
      return { sha256, size, temporary };
    } catch (error) {
      await file.close().catch(() => undefined);
      await rm(temporary, { force: true });
      throw error;
    }
  }

  async discard({ temporary }: Received): Promise<void> {
    await rm(temporary, { force: true });
  }

  /**
   * Makes what came a blob, in one transaction with what `write` does: a row that names it, without
   * which retention would take it away.
   */
  async keep(received: Received, write: WriteRow): Promise<StoredBlob> {
    try {
      await this.announce(received);
      return await this.database.transaction((manager) => this.keepIn(manager, received, write));
    } catch (error) {
      await this.discard(received);
      await this.release(received.sha256).catch(() => undefined);
      throw error;
    }
  }

  /** The same in a transaction of the caller's, who has announced what came before that, and discards it after. */
  async keepIn(manager: EntityManager, received: Received, write: WriteRow): Promise<StoredBlob> {
    const { temporary, ...blob } = received;
    await this.lock(manager, [blob.sha256]);
    await this.commit(temporary, blob.sha256);
    await this.note(blob, manager);
    await write(manager, blob);
    return blob;
  }

  /** Committed before the bytes are there: whatever happens next, retention finds them by this row. */
  async announce(blob: StoredBlob): Promise<void> {
    await this.note(blob);
  }

  private async note({ sha256, size }: StoredBlob, manager?: EntityManager): Promise<void> {
    await this.database.query(
      `INSERT INTO blob (sha256, size) VALUES ($1, $2) ON CONFLICT (sha256) DO UPDATE SET created_at = now()`,
      [sha256, size],
      manager,
    );
  }

  /** Until the transaction ends nobody else stores or deletes these. Sorted, so that two never wait in a ring. */
  private async lock(manager: EntityManager, names: readonly string[]): Promise<void> {
    await this.database.query(
      `SELECT pg_advisory_xact_lock(hashtextextended(name, 0)) FROM (SELECT name FROM unnest($1::text[]) AS name ORDER BY name) AS names`,
      [names],
      manager,
    );
  }

  private async commit(temporary: string, sha256: string): Promise<void> {
    const folder = join(this.settings.blobsDir, sha256.slice(0, 2));
    await mkdir(folder, { recursive: true });
    await rename(temporary, join(folder, sha256)).catch(async (error: NodeJS.ErrnoException) => {
      // The transaction is tried again, and the first try had moved it.
      if (error.code !== 'ENOENT' || !(await this.has(sha256))) throw error;
    });
    const directory = await open(folder, 'r');
    await directory.sync();
    await directory.close();
  }

  /** Keeps blobs that are there from being deleted until the transaction has named them. */
  async hold(manager: EntityManager, names: readonly string[]): Promise<boolean> {
    const distinct = [...new Set(names)];
    await this.lock(manager, distinct);
    const rows = await this.database.query(
      'SELECT 1 FROM blob WHERE sha256 = ANY($1)',
      [distinct],
      manager,
    );
    return rows.length === distinct.length;
  }

  read(sha256: string, offset = 0): ReadStream {
    return createReadStream(this.path(sha256), { start: offset, highWaterMark: 256 * 1024 });
  }

  async has(sha256: string): Promise<boolean> {
    return SHA256.test(sha256) && (await stat(this.path(sha256)).catch(() => null)) !== null;
  }

  /** Whether all of them are there in their full sizes. */
  async haveAll(files: readonly StoredFile[]): Promise<boolean> {
    for (const { sha256, size } of files)
      if ((await stat(this.path(sha256)).catch(() => null))?.size !== size) return false;
    return true;
  }

  path(sha256: string): string {
    if (!SHA256.test(sha256))
      throw new DomainError('invalid_value', 'a blob is named by 64 lower-case hex digits');
    return join(this.settings.blobsDir, sha256.slice(0, 2), sha256);
  }

  /**
   * Deletes the content unless a row still names it. The bytes go first: whatever happens then, the row
   * is there to be found again.
   */
  async release(sha256: string): Promise<boolean> {
    return this.database.transaction(async (manager) => {
      await this.lock(manager, [sha256]);
      const rows = await this.database.query(
        `SELECT 1 FROM blob WHERE sha256 = $1 AND NOT EXISTS (SELECT 1 FROM ${NAMED} WHERE named.sha256 = $1)`,
        [sha256],
        manager,
      );
      if (rows.length === 0) return false;
      await rm(this.path(sha256), { force: true });
      await this.database.query('DELETE FROM blob WHERE sha256 = $1', [sha256], manager);
      return true;
    });
  }

  /** Blobs that were last put more than an hour ago and that no row names. */
  async unnamed(limit: number): Promise<string[]> {
    const rows = await this.database.query<{ sha256: string }>(
      `SELECT sha256 FROM blob WHERE created_at < now() - interval '1 hour'
         AND NOT EXISTS (SELECT 1 FROM ${NAMED} WHERE named.sha256 = blob.sha256) LIMIT $1`,
      [limit],
    );
    return rows.map((row) => row.sha256);
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
