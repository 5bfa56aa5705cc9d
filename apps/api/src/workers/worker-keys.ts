import { Injectable } from '@nestjs/common';
import type { Hello } from '@graft/contracts/grpc';
import { makeSecret, secretId } from '../auth/keys/secret-format.js';
import { WorkerDatabase } from '../database/database.js';
import { sha256 } from '../ids.js';

/**
 * Keys that identify workers after a restart: secrets in their home folders. The database stores only their
 * hashes.
 */
@Injectable()
export class WorkerKeys {
  constructor(private readonly database: WorkerDatabase) {}

  /**
   * Assigns the row with this key to the instance that sent the Hello. Returns false if no row can be
   * assigned.
   */
  async recognise({ workerKey, instanceId }: Hello): Promise<boolean> {
    if (!workerKey || secretId('wk-graft', workerKey) === null) return false;
    const rows = await this.database.query(
      `UPDATE worker SET instance_id = $2 WHERE key_hash = $1
         AND NOT EXISTS (SELECT 1 FROM worker WHERE instance_id = $2 AND key_hash IS DISTINCT FROM $1) RETURNING id`,
      [sha256(workerKey), instanceId],
    );
    return rows.length > 0;
  }

  /** Creates a new key for a worker. An earlier key becomes invalid. */
  async issue(workerId: string): Promise<string> {
    const { text, hash } = makeSecret('wk-graft');
    await this.database.query('UPDATE worker SET key_hash = $2 WHERE id = $1', [workerId, hash]);
    return text;
  }
}
