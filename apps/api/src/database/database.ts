import { Injectable } from '@nestjs/common';
import { AsyncLocalStorage } from 'node:async_hooks';
import { DataSource, type EntityManager } from 'typeorm';
import { isOutdated } from './preparing-client.js';

/** SQLSTATEs and socket errors after which the whole transaction may be retried. */
const RETRYABLE = /^(40001|40P01|57P0[123]|08...|55P03|ECONNRESET|EPIPE)$/;
/** Error without a code for a connection that ended during a statement. */
const ENDED = /Connection terminated/;

interface Transaction {
  open: boolean;
  /** Callbacks to run after the commit. */
  readonly after: (() => void)[];
}

/** Transaction of the running code. */
const current = new AsyncLocalStorage<Transaction>();

/** Access to PostgreSQL for raw SQL and transactions. All of it goes through this class. */
@Injectable()
export class Database {
  constructor(private readonly source: DataSource) {}

  /**
   * Entity manager for statements outside of transactions. It throws inside a transaction, where it would take a
   * second connection: if all connections are held by code that waits for a second one, none is ever released.
   */
  get manager(): EntityManager {
    if (current.getStore()?.open)
      throw new Error('inside a transaction, pass its manager: a second connection is never taken');
    return this.source.manager;
  }

  /**
   * Runs a statement and returns its rows (TypeORM returns a pair for UPDATE and DELETE). A single statement that
   * PostgreSQL canceled because of a deadlock had no effect and is retried; in a transaction, the whole transaction
   * must be.
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
   * Runs `work` in a transaction. Deadlocks and lost connections are retried with jitter. A connection may be lost
   * after the COMMIT succeeded, so `work` must recognize its own earlier changes.
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
    // Work that continues after the transaction may use separate connections again.
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

  /**
   * Runs a callback after the current transaction has committed, or immediately outside of a transaction. It does not
   * run if the transaction fails.
   */
  afterCommit(then: () => void): void {
    const transaction = current.getStore();
    if (transaction?.open) transaction.after.push(then);
    else then();
  }

  /**
   * Returns the time of the database's clock. Compare times only by this clock: those of API processes may differ.
   */
  async now(): Promise<Date> {
    const [row] = await this.query<{ now: Date }>('SELECT clock_timestamp() AS now');
    if (!row) throw new Error('the database returned no time');
    return row.now;
  }

  /**
   * Runs `work` outside of a transaction, unless another process holds the lock; then it returns null. One connection
   * holds the lock, so use it only for the few loops that each process has.
   */
  async runExclusively<T>(lock: number, work: () => Promise<T>): Promise<T | null> {
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

/**
 * Database access with a separate connection pool, so that heartbeats, leases and events never wait for searches and
 * streams.
 */
@Injectable()
export class WorkerDatabase extends Database {}
