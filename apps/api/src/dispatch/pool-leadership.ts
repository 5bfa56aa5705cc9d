import { Injectable } from '@nestjs/common';
import { Gateways } from '../relay/gateways.js';

/** First key of the advisory locks. It can be any number that is unique in this database. */
const ADVISORY_CLASS = 7_240_252;

/**
 * Pools for which this process dispatches. Each pool is led by the process that holds its advisory lock. The lock
 * ends with the process's connection, so that another process takes over immediately when this one dies, and soon
 * when it hangs. This only keeps the queue in order: two leaders would still assign each job once, because of
 * Leases.take.
 */
@Injectable()
export class PoolLeadership {
  private readonly led = new Set<string>();
  private ended: ((pool: string) => void)[] = [];

  constructor(private readonly gateways: Gateways) {
    gateways.onLost(() => {
      const pools = [...this.led];
      this.led.clear();
      for (const pool of pools) for (const listener of this.ended) listener(pool);
    });
  }

  leads(pool: string): boolean {
    return this.led.has(pool);
  }

  get pools(): string[] {
    return [...this.led];
  }

  onEnded(listener: (pool: string) => void): void {
    this.ended.push(listener);
  }

  /**
   * Seeks to lead those pools that have no leader. Returns the pools that this process leads now and did not before.
   */
  async acquire(pools: readonly string[]): Promise<string[]> {
    const wanted = pools.filter((pool) => !this.led.has(pool));
    if (wanted.length === 0) return [];
    const rows = await this.gateways.query<{ pool: string }>(
      `SELECT pool FROM unnest($2::text[]) AS pool WHERE pg_try_advisory_lock($1, hashtext(pool))`,
      [ADVISORY_CLASS, wanted],
    );
    const won = rows.map(({ pool }) => pool).filter((pool) => !this.led.has(pool));
    for (const pool of won) this.led.add(pool);
    return won;
  }
}
