import { Injectable } from '@nestjs/common';
import { DataSource, type EntityManager } from 'typeorm';

/** SQLSTATEs after which the whole transaction may be tried again: it left nothing behind. */
const RETRYABLE = /^(40001|40P01|57P0[123]|08...|55P03)$/;

/** The one doorway to Postgres for raw SQL and transactions. */
@Injectable()
export class Database {
  constructor(readonly source: DataSource) {}

  get manager(): EntityManager {
    return this.source.manager;
  }

  /** Rows of any statement (TypeORM answers UPDATE and DELETE with a pair). */
  async query<Row>(
    sql: string,
    parameters: unknown[] = [],
    manager = this.manager,
  ): Promise<Row[]> {
    const result: unknown = await manager.query(sql, parameters);
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

  /** Runs `work` in one transaction; deadlocks and lost connections are tried again with jitter. */
  async transaction<T>(work: (manager: EntityManager) => Promise<T>, attempts = 5): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.source.transaction(work);
      } catch (error) {
        if (attempt >= attempts || !RETRYABLE.test((error as { code?: string }).code ?? ''))
          throw error;
        await new Promise((resolve) =>
          setTimeout(resolve, 20 * 2 ** attempt * (0.5 + Math.random())),
        );
      }
    }
  }
}
