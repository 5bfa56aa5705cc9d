import { Injectable } from '@nestjs/common';
import { DomainError } from '@graft/contracts';
import type { Heartbeat, Hello } from '@graft/contracts/grpc';
import { Settings } from '../config.js';
import { makeSecret, sameHash, secretId } from '../auth/secret-format.js';
import { WorkerDatabase } from '../database/database.js';
import { newId, sha256 } from '../ids.js';

/** A worker's membership, from one Hello to the next. */
export interface Joined {
  readonly workerId: string;
  readonly sessionId: string;
  /** The secret itself; shown to the worker once. */
  readonly session: string;
}

/**
 * Rows of the worker that may be given something: the session is its current one, its join token stands, and a
 * heartbeat of it came within a lease. Placeholders of its id, its session's id and a lease's milliseconds.
 */
export const fitWorker = (id: string, session: string, leaseMs: string): string =>
  `SELECT 1 FROM worker JOIN join_token ON join_token.id = join_token_id
   WHERE worker.id = ${id} AND session_id = ${session} AND revoked_at IS NULL
     AND last_seen_at > clock_timestamp() - ${leaseMs} * interval '1 millisecond'`;

/** The table of workers: what people see of them. Ownership is elsewhere (dispatch/lease). */
@Injectable()
export class Workers {
  constructor(
    private readonly database: WorkerDatabase,
    private readonly settings: Settings,
  ) {}

  /** Registers a worker; the same instance coming back keeps its id, and so its leases. */
  async hello(hello: Hello, pool: string, joinTokenId: string): Promise<Joined> {
    const { id: sessionId, text: session, hash } = makeSecret('ws-graft');
    const [row] = await this.database.query<{ id: string }>(
      `INSERT INTO worker (id, instance_id, name, pool, state, slots, devices, memory_bytes, libtorch, trainer_build,
         join_token_id, session_id, session_hash)
       VALUES ($1, $2, $3, $4, 'online', $5, $6, $7, $8, $9, $10, $11, $12)
       ON CONFLICT (instance_id) DO UPDATE SET name = excluded.name, pool = excluded.pool, state = 'online',
         slots = excluded.slots, devices = excluded.devices, memory_bytes = excluded.memory_bytes,
         libtorch = excluded.libtorch, trainer_build = excluded.trainer_build, join_token_id = excluded.join_token_id,
         session_id = excluded.session_id, session_hash = excluded.session_hash,
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
        joinTokenId,
        sessionId,
        hash,
      ],
    );
    return { workerId: row?.id ?? '', sessionId, session };
  }

  /** Id of the worker whose session this is, while it is joined and its join token is not revoked. */
  async identify(session: string | null): Promise<string> {
    const id = session ? secretId('ws-graft', session) : null;
    const [worker] = await this.database.query<{ id: string; session_hash: string }>(
      `SELECT worker.id, session_hash FROM worker JOIN join_token ON join_token.id = join_token_id
       WHERE session_id = $1 AND state <> 'offline' AND revoked_at IS NULL`,
      [id],
    );
    if (!session || !worker || !sameHash(worker.session_hash, sha256(session)))
      throw new DomainError('invalid_api_key', 'this call needs the session of a joined worker');
    return worker.id;
  }

  /** Notes a heartbeat; refuses it when another session took this one's place or its token was revoked. */
  async seen(
    { workerId, sessionId }: Pick<Joined, 'workerId' | 'sessionId'>,
    beat: Heartbeat,
    draining: boolean,
  ): Promise<void> {
    const rows = await this.database.query(
      `UPDATE worker SET last_seen_at = clock_timestamp(), state = $3, free_slots = $4, rss_bytes = $5, resident_bases = $6
       WHERE id = $1 AND session_id = $2
         AND EXISTS (SELECT 1 FROM join_token WHERE id = join_token_id AND revoked_at IS NULL)
       RETURNING id`,
      [
        workerId,
        sessionId,
        draining ? 'draining' : 'online',
        beat.freeSlots,
        beat.rssBytes,
        JSON.stringify(beat.residentBases),
      ],
    );
    if (rows.length === 0) throw putOut();
  }

  /** Why a worker may be given nothing, or null where it may. */
  async unfit({
    workerId,
    sessionId,
  }: Pick<Joined, 'workerId' | 'sessionId'>): Promise<DomainError | null> {
    const [row] = await this.database.query<{ joined: boolean; fit: boolean }>(
      `SELECT EXISTS (SELECT 1 FROM worker JOIN join_token ON join_token.id = join_token_id
           WHERE worker.id = $1 AND session_id = $2 AND revoked_at IS NULL) AS joined,
         EXISTS (${fitWorker('$1', '$2', '$3')}) AS fit`,
      [workerId, sessionId, this.settings.leaseMs],
    );
    if (row?.fit) return null;
    if (!row?.joined) return putOut();
    return new DomainError('unavailable', 'no heartbeat was noted within a lease; connect again');
  }

  async gone({ workerId, sessionId }: Pick<Joined, 'workerId' | 'sessionId'>): Promise<void> {
    await this.database.query(
      `UPDATE worker SET state = 'offline', free_slots = 0 WHERE id = $1 AND session_id = $2`,
      [workerId, sessionId],
    );
  }
}

const putOut = (): DomainError =>
  new DomainError(
    'invalid_api_key',
    'the join token was revoked, or this worker joined again elsewhere',
  );
