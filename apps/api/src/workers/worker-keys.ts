import { Injectable } from '@nestjs/common';
import type { Hello } from '@graft/contracts/grpc';
import { makeSecret, secretId } from '../auth/keys/secret-format.js';
import { WorkerDatabase } from '../database/database.js';
import { sha256 } from '../ids.js';

/** By what a worker is known again after a restart: a secret in its home, of which a hash is kept. */
@Injectable()
export class WorkerKeys {
  constructor(private readonly database: WorkerDatabase) {}

  /** Gives the row that the key belongs to to the instance that says Hello. False: it is nobody's. */
  async recognise({ workerKey, instanceId }: Hello): Promise<boolean> {
    if (!workerKey || secretId('wk-graft', workerKey) === null) return false;
    const rows = await this.database.query(
      `UPDATE worker SET instance_id = $2 WHERE key_hash = $1
         AND NOT EXISTS (SELECT 1 FROM worker WHERE instance_id = $2 AND key_hash IS DISTINCT FROM $1) RETURNING id`,
      [sha256(workerKey), instanceId],
    );
    return rows.length > 0;
  }

  /** A new key for a worker; an earlier one is of no use any more. */
  async issue(workerId: string): Promise<string> {
    const { text, hash } = makeSecret('wk-graft');
    await this.database.query('UPDATE worker SET key_hash = $2 WHERE id = $1', [workerId, hash]);
    return text;
  }
}
