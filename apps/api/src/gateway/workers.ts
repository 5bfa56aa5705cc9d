import { Injectable } from '@nestjs/common';
import type { Heartbeat, Hello } from '@graft/contracts/grpc';
import { Database } from '../database/database.js';
import { newId } from '../ids.js';

/** The table of workers: what people see of them. Ownership is elsewhere (dispatch/lease). */
@Injectable()
export class Workers {
  constructor(private readonly database: Database) {}

  /** Registers a worker; the same instance coming back keeps its id, and so its leases. */
  async hello(hello: Hello, pool: string): Promise<string> {
    const [row] = await this.database.query<{ id: string }>(
      `INSERT INTO worker (id, instance_id, name, pool, state, slots, devices, memory_bytes, libtorch, trainer_build)
       VALUES ($1, $2, $3, $4, 'online', $5, $6, $7, $8, $9)
       ON CONFLICT (instance_id) DO UPDATE SET name = excluded.name, pool = excluded.pool, state = 'online',
         slots = excluded.slots, devices = excluded.devices, memory_bytes = excluded.memory_bytes,
         libtorch = excluded.libtorch, trainer_build = excluded.trainer_build,
         connected_at = clock_timestamp(), last_seen_at = clock_timestamp()
       RETURNING id`,
      [
        newId('worker-'),
        hello.instanceId,
        hello.name.slice(0, 200),
        pool,
        hello.slots,
        JSON.stringify(hello.devices),
        hello.memoryBytes,
        hello.libtorch,
        hello.trainerBuild,
      ],
    );
    return row?.id ?? '';
  }

  async seen(id: string, beat: Heartbeat, freeSlots: number, draining: boolean): Promise<void> {
    await this.database.query(
      `UPDATE worker SET last_seen_at = clock_timestamp(), state = $2, free_slots = $3, rss_bytes = $4, resident_bases = $5
       WHERE id = $1`,
      [
        id,
        draining ? 'draining' : 'online',
        freeSlots,
        beat.rssBytes,
        JSON.stringify(beat.residentBases),
      ],
    );
  }

  async gone(id: string): Promise<void> {
    await this.database.query(`UPDATE worker SET state = 'offline', free_slots = 0 WHERE id = $1`, [
      id,
    ]);
  }
}
