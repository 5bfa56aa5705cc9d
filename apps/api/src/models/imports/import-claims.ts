import { Injectable } from '@nestjs/common';
import { DomainError } from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import { Settings } from '../../config.js';
import { Database } from '../../database/database.js';
import type { StoredFile } from '../../database/entities/storage.js';
import { newId } from '../../ids.js';

/** Claim on an import. Writes name the claim, so they have no effect once another process owns the import. */
export interface Claim {
  readonly id: string;
  readonly source: string;
  readonly owner: string;
  /** Files that earlier owners have stored. */
  readonly files: readonly StoredFile[];
}

/** SQL: the row of model $1 while owner $2 holds the claim. It may be deleted or imported again meanwhile. */
const MINE = `id = $1 AND import_owner = $2 AND status = 'importing'`;

/** Claims of processes on imports. All times are the database's. */
@Injectable()
export class ImportClaims {
  constructor(
    private readonly database: Database,
    private readonly settings: Settings,
  ) {}

  create(id: string, source: string): Claim {
    return { id, source, owner: newId('import-'), files: [] };
  }

  /** Creates the model, or resets a failed one, for this claim. Returns false if another exists. */
  async begin({ id, source, owner }: Claim, manager: EntityManager): Promise<boolean> {
    const rows = await this.database.query(
      `INSERT INTO model (id, kind, status, progress, source, import_owner, import_until)
       VALUES ($1, 'base', 'importing', 0, $3, $2, clock_timestamp() + $4 * interval '1 millisecond')
       ON CONFLICT (id) DO UPDATE SET status = 'importing', status_details = NULL, progress = 0, source = excluded.source,
         files = '[]', import_owner = excluded.import_owner, import_until = excluded.import_until
       WHERE model.status = 'error' RETURNING id`,
      [id, owner, source, this.settings.leaseMs],
      manager,
    );
    return rows.length > 0;
  }

  /** Claims imports without an owner, or whose owner's lease has expired. */
  async take(): Promise<Claim[]> {
    const owner = newId('import-');
    return this.database.query<Claim>(
      `UPDATE model SET import_owner = $1, import_until = clock_timestamp() + $2 * interval '1 millisecond'
       WHERE id IN (SELECT id FROM model WHERE status = 'importing' AND source IS NOT NULL
         AND (import_until IS NULL OR import_until < clock_timestamp()) FOR UPDATE SKIP LOCKED)
       RETURNING id, source, import_owner AS owner, files`,
      [owner, this.settings.leaseMs],
    );
  }

  /** Renews the lease. Returns false if the claim is lost. */
  async renew({ id, owner }: Claim): Promise<boolean> {
    const rows = await this.database.query(
      `UPDATE model SET import_until = clock_timestamp() + $3 * interval '1 millisecond' WHERE ${MINE} RETURNING id`,
      [id, owner, this.settings.leaseMs],
    );
    return rows.length > 0;
  }

  /** Releases the claim, so that another process can continue immediately. */
  async release({ id, owner }: Claim): Promise<void> {
    await this.database.query(
      `UPDATE model SET import_owner = NULL, import_until = NULL WHERE ${MINE}`,
      [id, owner],
    );
  }

  async progress({ id, owner }: Claim, share: number): Promise<void> {
    await this.database.query(`UPDATE model SET progress = $3 WHERE ${MINE}`, [id, owner, share]);
  }

  /**
   * Adds a stored file to the model. Files are named while the import runs, because it may take longer than
   * retention waits. A file replaces one with the same name: a transaction may run twice, and the source may
   * change between two owners.
   */
  async addPart({ id, owner }: Claim, part: StoredFile, manager: EntityManager): Promise<void> {
    const rows = await this.database.query(
      `UPDATE model SET files = (
         SELECT COALESCE(jsonb_agg(file), '[]') FROM jsonb_array_elements(files) AS file WHERE file->>'name' <> $4
       ) || $3::jsonb WHERE ${MINE} RETURNING id`,
      [id, owner, JSON.stringify([part]), part.name],
      manager,
    );
    if (rows.length === 0) throw claimLost();
  }

  async fail({ id, owner }: Claim, reason: string): Promise<void> {
    await this.database.query(
      `UPDATE model SET status = 'error', status_details = $3, progress = NULL, files = '[]',
         import_owner = NULL, import_until = NULL WHERE ${MINE}`,
      [id, owner, reason],
    );
  }

  async finish(
    { id, owner }: Claim,
    imported: {
      readonly files: readonly StoredFile[];
      readonly family: string | null;
      readonly config: unknown;
      readonly parameters: number | null;
    },
  ): Promise<void> {
    const rows = await this.database.query(
      `UPDATE model SET status = 'ready', status_details = NULL, progress = NULL, import_owner = NULL,
         import_until = NULL, files = $3, family = $4, config = $5, parameters = $6, bytes = $7
       WHERE ${MINE} RETURNING id`,
      [
        id,
        owner,
        JSON.stringify(imported.files),
        imported.family,
        JSON.stringify(imported.config),
        imported.parameters,
        imported.files.reduce((sum, file) => sum + file.size, 0),
      ],
    );
    if (rows.length === 0) throw claimLost();
  }
}

export const claimLost = (): DomainError =>
  new DomainError('conflict', 'the model was deleted, or another process imports it');
