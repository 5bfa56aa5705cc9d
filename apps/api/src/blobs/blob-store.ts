import { createHash } from 'node:crypto';
import { rm } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { DomainError } from '@graft/contracts';
import { Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import { log } from '../log.js';
import { blobBackend, type BlobBackend, type StoredBlob } from './blob-backend.js';
import { BlobReceiver, type Received, type ReceiveOptions } from './blob-receiver.js';
import { proveMarker, settleMarker } from './blob-marker.js';

export type { StoredBlob } from './blob-backend.js';
export type { Received, ReceiveOptions } from './blob-receiver.js';

/** Writes the row that names a blob; it may run again when its transaction is tried again. */
export type WriteRow = (manager: EntityManager, blob: StoredBlob) => Promise<unknown>;

const SHA256 = /^[0-9a-f]{64}$/;
const LEFT_MS = 3600 * 1000;

/** Content under its own SHA-256. Nothing a user or worker sends ever becomes part of a path. */
@Injectable()
export class BlobStore {
  private opened: { backend: BlobBackend; receiver: BlobReceiver } | null = null;
  private makingSpace: Promise<void> | null = null;

  constructor(
    private readonly settings: Settings,
    private readonly database: Database,
  ) {}

  /** Before anything else. @throws Error when this is not where the blobs of this installation lie */
  async open(): Promise<void> {
    const backend = await blobBackend(this.settings);
    await backend.open();
    await settleMarker(this.database, backend);
    this.opened = { backend, receiver: new BlobReceiver(backend.incoming) };
  }

  private get backend(): BlobBackend {
    return this.ready.backend;
  }

  private get ready(): { backend: BlobBackend; receiver: BlobReceiver } {
    if (!this.opened) throw new Error('the blob store is not open yet');
    return this.opened;
  }

  /** A folder of this machine in which other files may be made for a while. */
  get scratch(): string {
    return this.backend.incoming;
  }

  /** Removes what interrupted uploads left. */
  async sweep(): Promise<void> {
    await this.backend.sweep(LEFT_MS);
  }

  /** Stores content together with the row that names it. */
  async put(
    source: AsyncIterable<Buffer>,
    write: WriteRow,
    options: ReceiveOptions = {},
  ): Promise<StoredBlob> {
    return this.keep(await this.receive(source, options), write);
  }

  /** What came is then kept or discarded. */
  receive(source: AsyncIterable<Buffer>, options: ReceiveOptions = {}): Promise<Received> {
    return this.ready.receiver.receive(source, options).catch((error: unknown) => {
      if (error instanceof DomainError && error.code === 'disk_full') this.makeSpace();
      throw error;
    });
  }

  /** For what the disk just refused: deletes bytes that nothing names, without waiting out their grace period. */
  private makeSpace(): void {
    this.makingSpace ??= this.deleteUnnamed()
      .catch((error: unknown) => log.warn({ err: error }, 'could not make room on the disk'))
      .finally(() => (this.makingSpace = null));
  }

  /** Deletes the oldest first, and no more than it takes. */
  private async deleteUnnamed(): Promise<void> {
    while (await this.ready.receiver.lacksSpace()) {
      const [oldest] = await this.database.query<{ sha256: string }>(
        `SELECT sha256 FROM blob WHERE dropped_at > created_at AND ${UNNAMED} ORDER BY dropped_at LIMIT 1`,
      );
      if (!oldest) return;
      await this.release(oldest.sha256);
    }
  }

  /** Bytes that are here of an upload that was cut. */
  received(key: string): Promise<number> {
    return this.ready.receiver.received(key);
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
    await this.backend.commit(temporary, blob);
    await this.note(blob, manager);
    await write(manager, blob);
    return blob;
  }

  /** Committed before the bytes are there: whatever happens next, retention finds them by this row. */
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

  /** Until the transaction ends nobody else stores or deletes these. Sorted, so that two never wait in a ring. */
  private async lock(manager: EntityManager, names: readonly string[]): Promise<void> {
    await this.database.query(
      `SELECT pg_advisory_xact_lock(hashtextextended(name, 0)) FROM (SELECT name FROM unnest($1::text[]) AS name ORDER BY name) AS names`,
      [names],
      manager,
    );
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

  read(sha256: string, offset = 0): Readable {
    return this.backend.read(named(sha256), offset);
  }

  /** @throws DomainError when it is the whole place of the blobs that is gone */
  async has(sha256: string): Promise<boolean> {
    if (!SHA256.test(sha256)) return false;
    if ((await this.backend.size(sha256)) !== null) return true;
    await this.prove();
    return false;
  }

  /** @throws DomainError, or what the disk or S3 says, while the place of the blobs is not there */
  prove(): Promise<void> {
    return proveMarker(this.database, this.backend);
  }

  /** Whether all of them are there in their full sizes. @throws DomainError when it is their whole place that is gone */
  async haveAll(files: readonly StoredBlob[]): Promise<boolean> {
    for (const { sha256, size } of files)
      if ((await this.backend.size(named(sha256))) !== size) {
        await proveMarker(this.database, this.backend);
        return false;
      }
    return true;
  }

  /** Whether the bytes are what was put: reads all of them. A disk that cannot read them has lost them. */
  async isIntact({ sha256, size }: StoredBlob): Promise<boolean> {
    if (!(await this.haveAll([{ sha256, size }]))) return false;
    const hash = createHash('sha256');
    try {
      for await (const chunk of this.read(sha256)) hash.update(chunk as Buffer);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EIO') throw error;
      await proveMarker(this.database, this.backend);
      return false;
    }
    return hash.digest('hex') === sha256;
  }

  /** As a file of this machine, for readers that begin soon. */
  file({ sha256, size }: StoredBlob): Promise<string> {
    return this.backend.file({ sha256: named(sha256), size });
  }

  /** Where a worker may read it without the control plane; null where it may not. */
  url(sha256: string): Promise<string | null> {
    return this.backend.url(named(sha256));
  }

  /**
   * Deletes the content unless a row names it, or did of late: a backup that copies the database and then the blobs finds
   * all that the database named. On a full disk it goes at once. The bytes go first: whatever happens then, the row is
   * there to be found again.
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

  /** Blobs that were last put more than an hour ago and may go, those first that were dropped first. */
  async unnamed(limit: number): Promise<string[]> {
    const rows = await this.database.query<{ sha256: string }>(
      `SELECT sha256 FROM blob WHERE created_at < now() - interval '1 hour' AND ${mayGo('$2')}
       ORDER BY dropped_at NULLS FIRST LIMIT $1`,
      [limit, await this.graceMs()],
    );
    return rows.map((row) => row.sha256);
  }

  /** What is uploaded now comes before what a backup may want. In a bucket there is always room. */
  private async graceMs(): Promise<number> {
    const { blobsUrl, blobGraceMs } = this.settings;
    const isFull = blobsUrl === null && (await this.ready.receiver.lacksSpace());
    if (isFull && blobGraceMs > 0)
      log.warn('the disk is full: bytes that nothing names are deleted before their time');
    return isFull ? 0 : blobGraceMs;
  }
}

/** SQL: no row names the blob. */
const UNNAMED = 'NOT EXISTS (SELECT 1 FROM blob_ref WHERE blob_ref.sha256 = blob.sha256)';

/** SQL: no row names the blob, and none has for so many milliseconds (a placeholder). */
const mayGo = (graceMs: string): string =>
  `(dropped_at IS NULL OR dropped_at <= clock_timestamp() - ${graceMs} * interval '1 millisecond') AND ${UNNAMED}`;

function named(sha256: string): string {
  if (SHA256.test(sha256)) return sha256;
  throw new DomainError('invalid_value', 'a blob is named by its sha256: 64 lower-case hex digits');
}
