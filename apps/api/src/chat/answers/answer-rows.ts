import { SCHEMA_VERSION } from '@graft/contracts';
import { Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { poolAllowed } from '../../auth/pools.js';
import { Database } from '../../database/database.js';
import { Usage, type HourlyUsage } from '../../lifecycle/usage.js';
import { DEAD_AFTER_MS } from '../../relay/gateways.js';
import type { WorkerAddress } from '../../relay/worker-link.js';

export interface NewAnswer {
  readonly id: string;
  readonly projectId: string;
  readonly baseId: string;
  /** API process that the client is connected to. */
  readonly gatewayId: string;
  /** SHA-256s of all blobs that a worker needs for the answer. */
  readonly blobs: readonly string[];
  /** Whether it belongs to a batch: it is not queued, and half of a worker's capacity is left to others. */
  readonly isBatch: boolean;
}

/** Usage of an ended answer. */
export interface AnswerUsage extends Omit<HourlyUsage, 'requests' | 'seconds'> {
  /** Tokens that count toward the project's limit. */
  readonly counted: number;
}

export interface WaitingRow {
  readonly id: string;
  readonly gatewayId: string;
}

export interface PlacedRow extends WaitingRow {
  readonly worker: WorkerAddress;
}

/**
 * Whether workers may answer, regardless of their capacity: some, only ones with an older schema version, or none.
 */
export type Served = 'yes' | 'outdated' | 'no';

/** State that decides whether an answer is admitted. */
export interface AdmissionState {
  /** Maximum number of the project's answers, including queued ones; `null`: unlimited. */
  readonly limit: number | null;
  readonly mine: number;
  readonly served: Served;
}

export interface AnswerState extends Pick<AdmissionState, 'served'> {
  /** `null` while the answer is queued. */
  readonly worker: WorkerAddress | null;
}

/**
 * Advisory lock of the queue, for assignment and eviction while answers are queued. It is not taken while all workers
 * have capacity.
 */
const QUEUE_LOCK = 7_202_611;
/** Advisory lock of the number of a project's answers. */
const PROJECT_LOCK = 7_202_612;
/** Concurrent answers of a worker that does not report its limit. */
const MAX_CHATS = 8;
const LIVES = 'until > clock_timestamp()';

/**
 * SQL for the workers that may answer for a project, regardless of their schema version: they are online and
 * connected to a live API process, their join token is valid, their pool is open or granted to the project,
 * and they are not cordoned.
 * @param project placeholder or column
 * @param leaseMs placeholder for the lease in milliseconds
 */
const mayAnswer = (project: string, leaseMs: string): string =>
  `worker JOIN join_token ON join_token.id = join_token_id JOIN gateway ON gateway.id = worker.gateway_id
   WHERE worker.state = 'online' AND NOT worker.cordoned AND revoked_at IS NULL
     AND worker.last_seen_at > clock_timestamp() - ${leaseMs} * interval '1 millisecond'
     AND gateway.last_seen_at > clock_timestamp() - ${DEAD_AFTER_MS} * interval '1 millisecond'
     AND NOT EXISTS (SELECT 1 FROM pool held WHERE held.name = worker.pool AND held.cordoned)
     AND ${poolAllowed('worker.pool', project)}`;

/** SQL for `Served` of an answer. The parameters are as above, and the schema version that its worker requires. */
const servedBy = (project: string, leaseMs: string, version: string): string =>
  `CASE WHEN EXISTS (SELECT 1 FROM ${mayAnswer(project, leaseMs)} AND worker.schema_version >= ${version}) THEN 'yes'
     WHEN EXISTS (SELECT 1 FROM ${mayAnswer(project, leaseMs)}) THEN 'outdated' ELSE 'no' END`;

/** SQL for the number of answers that a worker could start. */
const FREE_CHATS = `LEAST(COALESCE(max_chats, ${MAX_CHATS}) - (SELECT count(*) FROM answer
  WHERE answer.worker_id = worker.id AND ${LIVES}), free_chats)`;

/**
 * SQL for the number of answers of batches that a worker could start: half of its capacity remains for others, unless it
 * is 1.
 */
const FREE_BATCH_CHATS = `${FREE_CHATS} - LEAST((COALESCE(max_chats, ${MAX_CHATS}) + 1) / 2, COALESCE(max_chats, ${MAX_CHATS}) - 1)`;

/**
 * SQL that selects the next queued answer for which a worker has capacity. Projects share by start-time fair
 * queueing: a project's next turn starts 1 / weight after its last one started, and not before the last turn of any
 * project. Its placeholders are the lease in milliseconds and the id of the only answer to consider, or null.
 */
const NEXT = `WITH free AS MATERIALIZED (SELECT id FROM worker WHERE state = 'online' AND ${FREE_CHATS} > 0)
  SELECT answer.id, project_id, base_id, gateway_id, schema_version, COALESCE(weight, 1) AS weight,
    GREATEST(COALESCE(finish, 0), (SELECT COALESCE(max(start), 0) FROM chat_turn)) AS turn
  FROM answer LEFT JOIN project ON project.id = project_id LEFT JOIN chat_turn USING (project_id)
  WHERE worker_id IS NULL AND ${LIVES} AND ($2::text IS NULL OR answer.id = $2)
    AND EXISTS (SELECT 1 FROM ${mayAnswer('answer.project_id', '$1')} AND worker.schema_version >= answer.schema_version
      AND worker.id IN (SELECT id FROM free))
  ORDER BY turn, answer.created_at, answer.id LIMIT 1`;

/**
 * Table of the answers in progress and in the queue. Rows of workers are locked while their capacity is assigned, so
 * that a worker never gets more answers than its limit. All other locks only keep counts and turns exact.
 */
@Injectable()
export class AnswerRows {
  constructor(
    private readonly database: Database,
    private readonly usage: Usage,
  ) {}

  /** Serializes counting of the project's answers until the end of the transaction. */
  async lockProject(manager: EntityManager, projectId: string): Promise<void> {
    await this.database.query(
      'SELECT pg_advisory_xact_lock($1, hashtext($2))',
      [PROJECT_LOCK, projectId],
      manager,
    );
  }

  /** Serializes changes of the queue until the end of the transaction. */
  async lockQueue(manager: EntityManager): Promise<void> {
    await this.database.query('SELECT pg_advisory_xact_lock($1)', [QUEUE_LOCK], manager);
  }

  /** Lets the transaction commit without waiting for the disk. */
  async skipCommitWait(manager: EntityManager): Promise<void> {
    await this.database.query('SET LOCAL synchronous_commit = off', [], manager);
  }

  async admissionState(
    manager: EntityManager,
    { id, projectId }: Pick<NewAnswer, 'id' | 'projectId'>,
    leaseMs: number,
  ): Promise<AdmissionState> {
    const [row] = await this.database.query<AdmissionState>(
      `SELECT (SELECT (limits->>'chats')::int FROM project WHERE id = $1) AS "limit",
         (SELECT count(*)::int FROM answer WHERE project_id = $1 AND id <> $3 AND ${LIVES}) AS mine,
         ${servedBy('$1', '$2', '$4')} AS served`,
      [projectId, leaseMs, id, SCHEMA_VERSION],
      manager,
    );
    return row as AdmissionState;
  }

  /**
   * Returns the answer to evict if the queue is too long: the newest of the project with the most queued answers;
   * among equals, of the given project.
   */
  async beyond(
    manager: EntityManager,
    projectId: string,
    queue: number,
  ): Promise<WaitingRow | null> {
    const [row] = await this.database.query<WaitingRow>(
      `SELECT id, gateway_id AS "gatewayId" FROM (
         SELECT *, count(*) OVER () AS waiting, count(*) OVER (PARTITION BY project_id) AS own
         FROM answer WHERE worker_id IS NULL AND ${LIVES}) AS waits
       WHERE waiting > $2 ORDER BY own DESC, project_id = $1 DESC, created_at DESC, id DESC LIMIT 1`,
      [projectId, queue],
      manager,
    );
    return row ?? null;
  }

  async evict(manager: EntityManager, id: string): Promise<void> {
    await this.database.query('DELETE FROM answer WHERE id = $1', [id], manager);
  }

  async insert(
    manager: EntityManager,
    { id, projectId, baseId, gatewayId, blobs }: NewAnswer,
    leaseMs: number,
  ): Promise<void> {
    await this.database.query(
      `INSERT INTO answer (id, project_id, base_id, gateway_id, blobs, schema_version, created_at, until)
       SELECT $1, $2, $3, $4, $5, $7, at, at + $6 * interval '1 millisecond' FROM clock_timestamp() AS at
       ON CONFLICT (id) DO NOTHING`,
      [id, projectId, baseId, gatewayId, JSON.stringify(blobs), leaseMs, SCHEMA_VERSION],
      manager,
    );
  }

  /** Whether any other answer is queued. */
  async hasQueued(but: string | null = null, manager?: EntityManager): Promise<boolean> {
    const rows = await this.database.query(
      `SELECT 1 FROM answer WHERE worker_id IS NULL AND ${LIVES} AND id IS DISTINCT FROM $1 LIMIT 1`,
      [but],
      manager,
    );
    return rows.length > 0;
  }

  /** Whether a worker has capacity for a queued answer. */
  async canPlace(leaseMs: number): Promise<boolean> {
    return (await this.database.query(NEXT, [leaseMs, null])).length > 0;
  }

  /**
   * Assigns a worker to the next answer in turn, or only to the given new one. Call it once per transaction: locking the
   * rows of several workers in arbitrary order could deadlock.
   * @returns `null` if there is no capacity; 'lost' if another process was faster and there may be more
   */
  async place(
    manager: EntityManager,
    leaseMs: number,
    only: Pick<NewAnswer, 'id' | 'isBatch'> | null = null,
  ): Promise<PlacedRow | 'lost' | null> {
    const [next] = await this.database.query<Next>(
      `${NEXT} FOR NO KEY UPDATE OF answer SKIP LOCKED`,
      [leaseMs, only?.id ?? null],
      manager,
    );
    if (!next) return null;
    const worker = await this.take(manager, next, leaseMs, only?.isBatch ?? false);
    return worker ? { id: next.id, gatewayId: next.gateway_id, worker } : 'lost';
  }

  /**
   * Picks a worker with capacity: preferably one that has the base loaded, then the one with the most capacity. A line of
   * a batch goes to a worker that trains only if no other has capacity.
   */
  private async take(
    manager: EntityManager,
    { id, project_id, base_id, schema_version, turn, weight }: Next,
    leaseMs: number,
    isBatch: boolean,
  ): Promise<WorkerAddress | null> {
    const free = isBatch ? FREE_BATCH_CHATS : FREE_CHATS;
    const trains = isBatch ? 'free_slots < slots, ' : '';
    const [best] = await this.database.query<{ id: string }>(
      `SELECT worker.id FROM ${mayAnswer('$1', '$3')} AND worker.schema_version >= $2 AND ${free} > 0
       ORDER BY ${trains}resident_bases @> to_jsonb($4::text) DESC, ${FREE_CHATS} DESC, worker.id LIMIT 1
       FOR NO KEY UPDATE OF worker`,
      [project_id, schema_version, leaseMs, base_id],
      manager,
    );
    if (!best) return null;
    // This must be a separate statement to see what was assigned while it waited for the row lock.
    const [worker] = await this.database.query<WorkerAddress>(
      `WITH best AS (SELECT id FROM worker WHERE id = $2 AND ${free} > 0), taken AS (
         UPDATE answer SET worker_id = best.id FROM best WHERE answer.id = $1
       ), counted AS (
         INSERT INTO chat_turn (project_id, start, finish) SELECT $3, $4::float8, $4::float8 + 1 / $5::float8 FROM best WHERE NOT $6
         ON CONFLICT (project_id) DO UPDATE SET start = excluded.start, finish = excluded.finish
       )
       UPDATE worker SET free_chats = free_chats - 1 FROM best WHERE worker.id = best.id
       RETURNING worker.id AS "workerId", session_id AS "sessionId", worker.gateway_id AS "gatewayId"`,
      [id, best.id, project_id, turn, weight, isBatch],
      manager,
    );
    return worker ?? null;
  }

  /** Returns a rejected answer to the queue. The worker counts as full until it reports capacity again. */
  async requeue(manager: EntityManager, id: string, workerId: string): Promise<void> {
    await this.database.query(
      `WITH back AS (UPDATE answer SET worker_id = NULL WHERE id = $1)
       UPDATE worker SET free_chats = 0 WHERE id = $2`,
      [id, workerId],
      manager,
    );
  }

  /**
   * Ends an answer: frees the worker's capacity and counts the tokens.
   * @param used null if no worker started the answer
   */
  async end(manager: EntityManager, id: string, used: AnswerUsage | null): Promise<void> {
    const [ended] = await this.database.query<{ project_id: string }>(
      `WITH ended AS (DELETE FROM answer WHERE id = $1 RETURNING project_id, worker_id), freed AS (
         UPDATE worker SET free_chats = LEAST(free_chats + 1, max_chats) FROM ended WHERE worker.id = ended.worker_id)
       SELECT project_id FROM ended`,
      [id],
      manager,
    );
    // Counts once, even if the transaction is retried.
    if (!ended || !used) return;
    const { counted, ...usage } = used;
    await this.usage.add(manager, ended.project_id, counted);
    await this.usage.record(manager, ended.project_id, { ...usage, requests: 1, seconds: 0 });
  }

  /** Returns those of the answers that still exist. */
  async existing(ids: readonly string[], leaseMs: number): Promise<Map<string, AnswerState>> {
    if (ids.length === 0) return new Map();
    const rows = await this.database.query<{ id: string; served: Served } & WorkerAddress>(
      `SELECT answer.id, maker.id AS "workerId", session_id AS "sessionId", maker.gateway_id AS "gatewayId",
         ${servedBy('answer.project_id', '$2', 'answer.schema_version')} AS served
       FROM answer LEFT JOIN worker maker ON maker.id = worker_id WHERE answer.id = ANY($1)`,
      [ids, leaseMs],
    );
    return new Map(
      rows.map(({ id, served, ...worker }) => [
        id,
        { worker: worker.workerId === null ? null : worker, served },
      ]),
    );
  }

  /** Renews these answers and deletes the expired ones. */
  async renew(ids: readonly string[], leaseMs: number): Promise<void> {
    await this.database.query(
      `WITH gone AS (DELETE FROM answer WHERE until < clock_timestamp() AND NOT id = ANY($1))
       UPDATE answer SET until = clock_timestamp() + $2 * interval '1 millisecond' WHERE id = ANY($1)`,
      [ids, leaseMs],
    );
  }
}

interface Next {
  readonly id: string;
  readonly project_id: string;
  readonly base_id: string;
  readonly gateway_id: string;
  readonly schema_version: number;
  readonly turn: number;
  readonly weight: number;
}
