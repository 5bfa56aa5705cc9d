import { createHash } from 'node:crypto';
import { rm } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { DomainError } from '@graft/contracts';
import { Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import { log } from '../log.js';
import type { BlobBackend, StoredBlob } from './blob-backend.js';
import { blobBackend } from './configured-backend.js';
import { BlobReceiver, type Received, type ReceiveOptions } from './blob-receiver.js';
import { verifyMarker, initializeMarker } from './blob-marker.js';

export type { StoredBlob } from './blob-backend.js';
export type { Received, ReceiveOptions } from './blob-receiver.js';

/** Writes the row that references a blob. It may be called again when its transaction is retried. */
export type WriteRow = (manager: EntityManager, blob: StoredBlob) => Promise<unknown>;

const SHA256 = /^[0-9a-f]{64}$/;
const LEFT_MS = 3600 * 1000;

/** Content-addressed storage by SHA-256. No input from users or workers ever becomes part of a path. */
@Injectable()
export class BlobStore {
  private opened: { backend: BlobBackend; receiver: BlobReceiver } | null = null;
  private freeingSpace: Promise<void> | null = null;

  constructor(
    private readonly settings: Settings,
    private readonly database: Database,
  ) {}

  /**
   * Opens the store; call it before any other method.
   * @throws Error if the storage is not that of this installation
   */
  async open(): Promise<void> {
    const backend = await blobBackend(this.settings);
    await backend.open();
    await initializeMarker(this.database, backend);
    this.opened = { backend, receiver: new BlobReceiver(backend.incoming) };
  }

  private get backend(): BlobBackend {
    return this.ready.backend;
  }

  private get ready(): { backend: BlobBackend; receiver: BlobReceiver } {
    if (!this.opened) throw new Error('the blob store is not open yet');
    return this.opened;
  }

  /** Local folder for other temporary files. */
  get scratch(): string {
    return this.backend.incoming;
  }

  /** Removes the data of interrupted uploads. */
  async sweep(): Promise<void> {
    await this.backend.sweep(LEFT_MS);
  }

  /** Stores content together with the row that references it. */
  async put(
    source: AsyncIterable<Buffer>,
    write: WriteRow,
    options: ReceiveOptions = {},
  ): Promise<StoredBlob> {
    return this.keep(await this.receive(source, options), write);
  }

  /** Receives content. The caller then keeps or discards it. */
  receive(source: AsyncIterable<Buffer>, options: ReceiveOptions = {}): Promise<Received> {
    return this.ready.receiver.receive(source, options).catch((error: unknown) => {
      if (error instanceof DomainError && error.code === 'disk_full') this.freeSpace();
      throw error;
    });
  }

  /** Deletes unreferenced blobs before their grace period ends, after the disk was too full for an upload. */
  private freeSpace(): void {
    this.freeingSpace ??= this.deleteUnreferenced()
      .catch((error: unknown) => log.warn({ err: error }, 'could not free space on the disk'))
      .finally(() => (this.freeingSpace = null));
  }

  /** Deletes the longest unreferenced blobs first, until there is enough space. */
  private async deleteUnreferenced(): Promise<void> {
    while (await this.ready.receiver.lacksSpace()) {
      const [oldest] = await this.database.query<{ sha256: string }>(
        `SELECT sha256 FROM blob WHERE dropped_at > created_at AND ${UNNAMED} ORDER BY dropped_at LIMIT 1`,
      );
      if (!oldest) return;
      await this.release(oldest.sha256);
    }
  }

  /** Returns the number of bytes received of an interrupted upload. */
  received(key: string): Promise<number> {
    return this.ready.receiver.received(key);
  }

  async discard({ temporary }: Received): Promise<void> {
    await rm(temporary, { force: true });
  }

  /**
   * Stores received content as a blob, in one transaction with `write`, which adds a row that references it.
   * Retention deletes blobs without one.
   */
  async keep(received: Received, write: WriteRow): Promise<StoredBlob> {
    try {
      await this.announce(received);
      return await this.database.transaction((manager) => this.storeIn(manager, received, write));
    } catch (error) {
      await this.discard(received);
      await this.release(received.sha256).catch(() => undefined);
      throw error;
    }
  }

  /**
   * Stores received content in the caller's transaction. The caller announces it before the transaction and discards
   * it afterwards.
   */
  async storeIn(manager: EntityManager, received: Received, write: WriteRow): Promise<StoredBlob> {
    const { temporary, ...blob } = received;
    await this.lock(manager, [blob.sha256]);
    await this.backend.commit(temporary, blob);
    await this.note(blob, manager);
    await write(manager, blob);
    return blob;
  }

  /** Records the blob before its bytes are stored, so that retention finds them whatever happens next. */
  async announce({ temporary, ...blob }: Received): Promise<void> {
    await this.note(blob);
    await this.backend.stage(temporary, blob);
  }

  private async note({ sha256, size }: StoredBlob, manager?: EntityManager): Promise<void> {
    await this.database.query(
      `INSERT INTO blob (sha256, size) VALUES ($1, $2) ON CONFLICT (sha256) DO UPDATE SET created_at = now()`,
      [sha256, size],
      manager,
    );
  }

  /**
   * Locks blobs against storing and deletion by others until the transaction ends. Names are sorted to avoid
   * deadlocks.
   */
  private async lock(manager: EntityManager, names: readonly string[]): Promise<void> {
    await this.database.query(
      `SELECT pg_advisory_xact_lock(hashtextextended(name, 0)) FROM (SELECT name FROM unnest($1::text[]) AS name ORDER BY name) AS names`,
      [names],
      manager,
    );
  }

  /**
   * Protects existing blobs from deletion until the transaction has added its references.
   * @returns whether all of them exist
   */
  async protect(manager: EntityManager, names: readonly string[]): Promise<boolean> {
    const distinct = [...new Set(names)];
    await this.lock(manager, distinct);
    const rows = await this.database.query(
      'SELECT 1 FROM blob WHERE sha256 = ANY($1)',
      [distinct],
      manager,
    );
    return rows.length === distinct.length;
  }

  read(sha256: string, offset = 0): Readable {
    return this.backend.read(validHash(sha256), offset);
  }

  /**
   * Whether the blob exists.
   * @throws DomainError if the whole storage is missing
   */
  async has(sha256: string): Promise<boolean> {
    if (!SHA256.test(sha256)) return false;
    if ((await this.backend.size(sha256)) !== null) return true;
    await this.checkStorage();
    return false;
  }

  /**
   * Checks that the storage is available.
   * @throws DomainError, or an error of the disk or S3, if it is not
   */
  checkStorage(): Promise<void> {
    return verifyMarker(this.database, this.backend);
  }

  /**
   * Whether all blobs exist with their full size.
   * @throws DomainError if the whole storage is missing
   */
  async haveAll(files: readonly StoredBlob[]): Promise<boolean> {
    for (const { sha256, size } of files)
      if ((await this.backend.size(validHash(sha256))) !== size) {
        await verifyMarker(this.database, this.backend);
        return false;
      }
    return true;
  }

  /** Whether the bytes match the hash; reads all of them. An I/O error of the disk counts as loss. */
  async isIntact({ sha256, size }: StoredBlob): Promise<boolean> {
    if (!(await this.haveAll([{ sha256, size }]))) return false;
    const hash = createHash('sha256');
    try {
      for await (const chunk of this.read(sha256)) hash.update(chunk as Buffer);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EIO') throw error;
      await verifyMarker(this.database, this.backend);
      return false;
    }
    return hash.digest('hex') === sha256;
  }

  /** Returns the path of a local file with the blob, for readers that open it soon. */
  file({ sha256, size }: StoredBlob): Promise<string> {
    return this.backend.file({ sha256: validHash(sha256), size });
  }

  /** Returns a URL from which a worker may read the blob directly, or null if it may not. */
  url(sha256: string): Promise<string | null> {
    return this.backend.url(validHash(sha256));
  }

  /**
   * Deletes a blob if no row references it and none did recently: a backup that copies the database and then the
   * blobs finds all blobs that the database references. On a full disk there is no grace period. The bytes are
   * deleted before the row, so that an interrupted deletion is found again by the row.
   */
  async release(sha256: string): Promise<boolean> {
    const graceMs = await this.graceMs();
    return this.database.transaction(async (manager) => {
      await this.lock(manager, [sha256]);
      const rows = await this.database.query(
        `SELECT 1 FROM blob WHERE sha256 = $1 AND ${mayGo('$2')}`,
        [sha256, graceMs],
        manager,
      );
      if (rows.length === 0) return false;
      await this.backend.remove(sha256);
      await this.database.query('DELETE FROM blob WHERE sha256 = $1', [sha256], manager);
      return true;
    });
  }

  /** Returns deletable blobs that were last stored more than an hour ago, the longest unreferenced first. */
  async unreferenced(limit: number): Promise<string[]> {
    const rows = await this.database.query<{ sha256: string }>(
      `SELECT sha256 FROM blob WHERE created_at < now() - interval '1 hour' AND ${mayGo('$2')}
       ORDER BY dropped_at NULLS FIRST LIMIT $1`,
      [limit, await this.graceMs()],
    );
    return rows.map((row) => row.sha256);
  }

  /**
   * Returns the grace period for unreferenced blobs. On a full disk it is 0, as uploads take precedence over backups.
   * A bucket is never full.
   */
  private async graceMs(): Promise<number> {
    const { blobsUrl, blobGraceMs } = this.settings;
    const isFull = blobsUrl === null && (await this.ready.receiver.lacksSpace());
    if (isFull && blobGraceMs > 0)
      log.warn('the disk is full: unreferenced blobs are deleted before their grace period ends');
    return isFull ? 0 : blobGraceMs;
  }
}

/** SQL condition that no row references the blob. */
const UNNAMED = 'NOT EXISTS (SELECT 1 FROM blob_ref WHERE blob_ref.sha256 = blob.sha256)';

/** SQL condition that no row has referenced the blob for a number of milliseconds (a placeholder). */
const mayGo = (graceMs: string): string =>
  `(dropped_at IS NULL OR dropped_at <= clock_timestamp() - ${graceMs} * interval '1 millisecond') AND ${UNNAMED}`;

function validHash(sha256: string): string {
  if (SHA256.test(sha256)) return sha256;
  throw new DomainError(
    'invalid_value',
    'expected a sha256 as the name of a blob: 64 lower-case hex digits',
  );
}
