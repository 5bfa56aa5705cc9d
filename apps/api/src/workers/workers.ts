import { Injectable } from '@nestjs/common';
import { DomainError, SCHEMA_VERSION } from '@graft/contracts';
import type { Heartbeat, Hello, Pull } from '@graft/contracts/grpc';
import { Settings } from '../config.js';
import { Pools } from '../auth/pools.js';
import { makeSecret, sameHash, secretId } from '../auth/keys/secret-format.js';
import { WorkerDatabase } from '../database/database.js';
import { newId, sha256 } from '../ids.js';
import { selectFitWorker } from '../lifecycle/lease/fit-worker.js';
import {
  renewal,
  renewLeases,
  renewValues,
  type Renewal,
  type Renewed,
} from '../lifecycle/lease/lease.js';
import { WorkerKeys } from './worker-keys.js';

/** Maximum count that a worker may report. Larger ones are clamped to it. */
const MOST = 1024;
const clamped = (count: number | undefined): number | null =>
  count === undefined ? null : Math.min(count, MOST);

/** Registration of a worker, valid until its next Hello. */
export interface Registration {
  readonly workerId: string;
  readonly sessionId: string;
  /** The session secret. The worker receives it only here. */
  readonly session: string;
  /** Key that identifies the worker after a restart. Set only if the worker has no valid key yet. */
  readonly workerKey?: string;
}

/** Maximum length of the texts that a worker reports about itself, which are shown to users. */
const LONGEST_TEXT = 200;
const MAX_DEVICES = 64;

/** SQL that selects a worker's current session if its join token is not revoked. */
const SESSION = `SELECT 1 FROM worker JOIN join_token ON join_token.id = join_token_id
  WHERE worker.id = $3 AND session_id = $5 AND revoked_at IS NULL`;

/** SQL of a heartbeat: renews leases (the first four parameters) and stores what the worker reports. */
const BEAT = `WITH ${renewLeases(`EXISTS (${SESSION})`)}, seen AS (
    UPDATE worker SET last_seen_at = clock_timestamp(),
      state = CASE WHEN $6 OR drain_instance = instance_id THEN 'draining' ELSE 'online' END, free_slots = LEAST(free_slots, $7), rss_bytes = $8,
      resident_bases = $9, free_chats = $10
    WHERE id = $3 AND session_id = $5
      AND EXISTS (SELECT 1 FROM join_token WHERE id = join_token_id AND revoked_at IS NULL)
      AND (SELECT count(*) FROM renewed) >= 0
    RETURNING drain_instance = instance_id AS drains
  )
  SELECT EXISTS (SELECT 1 FROM seen) AS seen, (SELECT drains FROM seen) AS drains,
    COALESCE((SELECT json_agg(renewed) FROM renewed), '[]') AS renewed`;

/** Workers as users see them (the table `worker`). Ownership of jobs is in lifecycle/lease. */
@Injectable()
export class Workers {
  constructor(
    private readonly database: WorkerDatabase,
    private readonly settings: Settings,
    private readonly pools: Pools,
    private readonly keys: WorkerKeys,
  ) {}

  /** Registers a worker. A worker that reconnects, also after a restart, keeps its id and so its leases. */
  async hello(
    hello: Hello,
    pool: string,
    joinTokenId: string,
    gatewayId: string,
  ): Promise<Registration> {
    const { id: sessionId, text: session, hash } = makeSecret('ws-graft');
    await this.pools.ensure(pool, this.database.manager);
    const isKnown = await this.keys.recognise(hello);
    const [row] = await this.database.query<{ id: string }>(
      `INSERT INTO worker (id, instance_id, name, pool, state, slots, devices, memory_bytes, libtorch, trainer_build,
         join_token_id, session_id, session_hash, max_chats, gateway_id, schema_version, speed)
       VALUES ($1, $2, $3, $4, 'online', $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
       ON CONFLICT (instance_id) DO UPDATE SET name = excluded.name, pool = excluded.pool,
         state = CASE WHEN worker.drain_instance = excluded.instance_id THEN 'draining' ELSE 'online' END,
         slots = excluded.slots, devices = excluded.devices, memory_bytes = excluded.memory_bytes,
         libtorch = excluded.libtorch, trainer_build = excluded.trainer_build, join_token_id = excluded.join_token_id,
         session_id = excluded.session_id, session_hash = excluded.session_hash,
         max_chats = excluded.max_chats, free_chats = NULL, gateway_id = excluded.gateway_id,
         schema_version = excluded.schema_version, speed = excluded.speed, free_slots = 0,
         connected_at = clock_timestamp(), last_seen_at = clock_timestamp()
       RETURNING id`,
      [
        newId('worker-'),
        hello.instanceId,
        truncated(hello.name),
        pool,
        clamped(hello.slots),
        JSON.stringify(hello.devices.slice(0, MAX_DEVICES).map(truncated)),
        hello.memoryBytes,
        truncated(hello.libtorch),
        truncated(hello.trainerBuild),
        joinTokenId,
        sessionId,
        hash,
        clamped(hello.maxChats),
        gatewayId,
        // This process does not forward or accept anything newer than its own version.
        Math.min(hello.schemaVersion, SCHEMA_VERSION),
        storedSpeed(hello.speed),
      ],
    );
    const workerId = row?.id ?? '';
    const joined = { workerId, sessionId, session };
    return isKnown ? joined : { ...joined, workerKey: await this.keys.issue(workerId) };
  }

  /**
   * Returns the id of the worker with this session.
   * @throws DomainError if the worker is not connected or its join token is revoked
   */
  async identify(session: string | null): Promise<string> {
    const id = session ? secretId('ws-graft', session) : null;
    const [worker] = await this.database.query<{ id: string; session_hash: string }>(
      `SELECT worker.id, session_hash FROM worker JOIN join_token ON join_token.id = join_token_id
       WHERE session_id = $1 AND state <> 'offline' AND revoked_at IS NULL`,
      [id],
    );
    if (!session || !worker || !sameHash(worker.session_hash, sha256(session)))
      throw new DomainError(
        'invalid_api_key',
        'this call requires the session of a connected worker',
      );
    return worker.id;
  }

  /**
   * Stores a heartbeat and renews its leases, in one statement. Rejects if another session replaced this one
   * or the join token was revoked. The rows of jobs are locked before the worker's row, as everywhere where a
   * worker is blamed for a job.
   */
  async beat(
    { workerId, sessionId }: Pick<Registration, 'workerId' | 'sessionId'>,
    beat: Heartbeat,
    draining: boolean,
  ): Promise<Renewal & { /** Whether the worker should drain. */ readonly drains: boolean }> {
    const [row] = await this.database.query<{
      seen: boolean;
      drains: boolean | null;
      renewed: readonly Renewed[];
    }>(BEAT, [
      ...renewValues(workerId, beat.leases, this.settings.leaseMs),
      sessionId,
      draining,
      clamped(beat.freeSlots),
      beat.rssBytes,
      JSON.stringify(beat.residentBases),
      clamped(beat.freeChats),
    ]);
    if (!row?.seen) throw await this.rejectionReason(workerId, sessionId);
    return { ...renewal(beat.leases, row.renewed), drains: row.drains === true };
  }

  /**
   * Waits for every lock that a heartbeat would wait for, and writes nothing. @throws Error if a heartbeat
   * would fail
   */
  async canBeat(): Promise<void> {
    const nobody = ['', false, null, 0, '[]', null];
    await this.database.query(BEAT, [...renewValues('', [], this.settings.leaseMs), ...nobody]);
  }

  private async rejectionReason(workerId: string, sessionId: string): Promise<DomainError> {
    const [row] = await this.database.query<{ session_id: string }>(
      'SELECT session_id FROM worker WHERE id = $1',
      [workerId],
    );
    if (!row)
      return new DomainError('unavailable', 'this worker is no longer registered; reconnect');
    return row.session_id === sessionId ? revoked() : replaced();
  }

  /**
   * Stores the free slots: what the worker reports, but at most the slots of its Hello that none of its
   * leases uses.
   * @throws DomainError if the worker cannot receive jobs
   */
  async pulled(worker: Pick<Registration, 'workerId' | 'sessionId'>, pull: Pull): Promise<void> {
    const noted = await this.database.query(
      `UPDATE worker SET resident_bases = $4, free_chats = COALESCE($5, free_chats),
         free_slots = LEAST($3, GREATEST(0, slots - leases_held(id)))
       WHERE id = $1 AND EXISTS (${selectFitWorker('$1', '$2', '$6')}) RETURNING id`,
      [
        worker.workerId,
        worker.sessionId,
        clamped(pull.freeSlots),
        JSON.stringify(pull.residentBases),
        clamped(pull.freeChats),
        this.settings.leaseMs,
      ],
    );
    const reason = noted.length > 0 ? null : await this.unfit(worker);
    if (reason) throw reason;
  }

  /**
   * Sets the free slots to 0 after a message did not reach the worker. It receives no jobs until its next
   * Pull.
   */
  async lost({ workerId, sessionId }: Pick<Registration, 'workerId' | 'sessionId'>): Promise<void> {
    await this.database.query(
      'UPDATE worker SET free_slots = 0 WHERE id = $1 AND session_id = $2',
      [workerId, sessionId],
    );
  }

  /**
   * Marks the worker as draining immediately instead of at its next heartbeat. It receives no new jobs or
   * chats.
   */
  async drains({
    workerId,
    sessionId,
  }: Pick<Registration, 'workerId' | 'sessionId'>): Promise<void> {
    await this.database.query(
      `UPDATE worker SET state = 'draining', free_slots = 0, free_chats = 0 WHERE id = $1 AND session_id = $2`,
      [workerId, sessionId],
    );
  }

  /** Frees a slot whose job was not sent to the worker. */
  async freeSlot({
    workerId,
    sessionId,
  }: Pick<Registration, 'workerId' | 'sessionId'>): Promise<void> {
    await this.database.query(
      'UPDATE worker SET free_slots = LEAST(slots, free_slots + 1) WHERE id = $1 AND session_id = $2',
      [workerId, sessionId],
    );
  }

  /** Returns the reason why a worker may not receive jobs, or null if it may. */
  async unfit({
    workerId,
    sessionId,
  }: Pick<Registration, 'workerId' | 'sessionId'>): Promise<DomainError | null> {
    const [row] = await this.database.query<{ joined: boolean; fit: boolean }>(
      `SELECT EXISTS (SELECT 1 FROM worker JOIN join_token ON join_token.id = join_token_id
           WHERE worker.id = $1 AND session_id = $2 AND revoked_at IS NULL) AS joined,
         EXISTS (${selectFitWorker('$1', '$2', '$3')}) AS fit`,
      [workerId, sessionId, this.settings.leaseMs],
    );
    if (row?.fit) return null;
    if (!row?.joined) return this.rejectionReason(workerId, sessionId);
    return new DomainError('unavailable', 'no heartbeat within a lease; reconnect');
  }

  async gone({ workerId, sessionId }: Pick<Registration, 'workerId' | 'sessionId'>): Promise<void> {
    await this.database.query(
      `UPDATE worker SET state = 'offline', free_slots = 0 WHERE id = $1 AND session_id = $2`,
      [workerId, sessionId],
    );
  }
}

/** JSON of a reported speed; null unless all its numbers are positive. */
function storedSpeed(speed: Hello['speed']): string | null {
  if (!speed) return null;
  const { bf16Flops: bf16_flops, f32Flops: f32_flops, bytesPerSecond: bytes_per_second } = speed;
  const stored = { bf16_flops, f32_flops, bytes_per_second };
  const isValid = Object.values(stored).every((value) => value > 0 && Number.isFinite(value));
  return isValid ? JSON.stringify(stored) : null;
}

const truncated = (text: string): string => text.slice(0, LONGEST_TEXT);

const revoked = (): DomainError => new DomainError('invalid_api_key', 'the join token was revoked');

/** The error that ends the worker: two workers with the same key would replace each other forever. */
const replaced = (): DomainError =>
  new DomainError(
    'conflict',
    "a worker with a copy of this worker's home folder has joined in its place",
  );
