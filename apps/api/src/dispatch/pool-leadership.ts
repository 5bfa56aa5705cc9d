import { Injectable } from '@nestjs/common';
import { Gateways } from '../relay/gateways.js';

/** First half of the locks' numbers; any that no other user of this database takes. */
const ADVISORY_CLASS = 7_240_252;

/**
 * Which pools this process dispatches for. Each pool has one process that does, whoever has its advisory lock: it ends
 * with the process's own connection, so that another takes over at once where this one dies, and soon where it hangs.
 * For an orderly queue only: two at once would still assign each job once, by Leases.take.
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

  /** Takes the lead of those pools that nobody leads; answers with those it got now. */
  async seek(pools: readonly string[]): Promise<string[]> {
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
