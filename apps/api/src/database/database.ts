import { Injectable } from '@nestjs/common';
import { AsyncLocalStorage } from 'node:async_hooks';
import { DataSource, type EntityManager } from 'typeorm';
import { isOutdated } from './preparing-client.js';

/** SQLSTATEs and socket errors after which the whole transaction may be tried again. */
const RETRYABLE = /^(40001|40P01|57P0[123]|08...|55P03|ECONNRESET|EPIPE)$/;
/** A connection that ended under a statement has no code. */
const ENDED = /Connection terminated/;

interface Transaction {
  open: boolean;
  /** What is to be done once it is committed. */
  readonly after: (() => void)[];
}

/** The transaction that the running code is in. */
const current = new AsyncLocalStorage<Transaction>();

/** The one doorway to Postgres for raw SQL and transactions. */
@Injectable()
export class Database {
  constructor(private readonly source: DataSource) {}

  /**
   * For statements on their own. Inside a transaction that would be a second connection, and once every
   * connection is held by somebody who waits for a second, nobody ever gets one: it is refused, always.
   */
  get manager(): EntityManager {
    if (current.getStore()?.open)
      throw new Error('inside a transaction, pass its manager: a second connection is never taken');
    return this.source.manager;
  }

  /**
   * Rows of any statement (TypeORM answers UPDATE and DELETE with a pair). One on its own that PostgreSQL ends to undo
   * a deadlock has done nothing, and is tried again; in a transaction all of it has to be.
   */
  async query<Row>(
    sql: string,
    parameters: unknown[] = [],
    manager = this.manager,
  ): Promise<Row[]> {
    const ask = (): Promise<unknown> => manager.query(sql, parameters);
    const again = (error: unknown): Promise<unknown> => {
      if (manager !== this.source.manager || !isDeadlock(error)) throw error;
      return ask();
    };
    const result = await ask().catch(again).catch(again);
    if (
      Array.isArray(result) &&
      result.length === 2 &&
      Array.isArray(result[0]) &&
      typeof result[1] === 'number'
    ) {
      return result[0] as Row[];
    }
    return result as Row[];
  }

  /**
   * Runs `work` in one transaction; deadlocks and lost connections are tried again with jitter. A connection
   * may be lost after its COMMIT was done and before that was heard: `work` must find what it did before.
   */
  async transaction<T>(work: (manager: EntityManager) => Promise<T>, attempts = 5): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.once(work);
      } catch (error) {
        if (attempt >= attempts || !isRetryable(error)) throw error;
        await new Promise((resolve) =>
          setTimeout(resolve, 20 * 2 ** attempt * (0.5 + Math.random())),
        );
      }
    }
  }

  private async once<T>(work: (manager: EntityManager) => Promise<T>): Promise<T> {
    // What the work leaves running behind it may use connections of its own again.
    const mark: Transaction = { open: true, after: [] };
    let result: T;
    try {
      result = await this.manager.transaction((manager) => current.run(mark, () => work(manager)));
    } finally {
      mark.open = false;
    }
    for (const then of mark.after) then();
    return result;
  }

  /** Calls back once the transaction that the caller is in is committed, never if it is not; outside of one, now. */
  afterCommit(then: () => void): void {
    const transaction = current.getStore();
    if (transaction?.open) transaction.after.push(then);
    else then();
  }

  /** The only clock that times are compared by: those of several API processes may differ. */
  async now(): Promise<Date> {
    const [row] = await this.query<{ now: Date }>('SELECT clock_timestamp() AS now');
    if (!row) throw new Error('the database returned no time');
    return row.now;
  }

  /**
   * Runs `work`, which is not in a transaction, unless another process runs its like; null then. One connection
   * holds the lock meanwhile: for the few loops of which each process has one.
   */
  async alone<T>(lock: number, work: () => Promise<T>): Promise<T | null> {
    return this.manager.transaction(async (manager) => {
      const [held] = await this.query<{ mine: boolean }>(
        `SELECT pg_try_advisory_xact_lock($1) AS mine, set_config('idle_in_transaction_session_timeout', '0', true)`,
        [lock],
        manager,
      );
      return held?.mine ? work() : null;
    });
  }
}

const isRetryable = (error: unknown): boolean =>
  RETRYABLE.test(String((error as { code?: unknown } | null)?.code)) ||
  isOutdated(error) ||
  (error instanceof Error && ENDED.test(error.message));

const isDeadlock = (error: unknown): boolean =>
  (error as { code?: unknown } | null)?.code === '40P01';

/** The same over connections of its own: heartbeats, leases and facts never wait behind searches and streams. */
@Injectable()
export class WorkerDatabase extends Database {}
