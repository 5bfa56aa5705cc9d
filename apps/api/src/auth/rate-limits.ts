import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import { log } from '../log.js';
import { PostgresBuckets } from './postgres-buckets.js';
import { MINUTE_MS, RedisBuckets } from './redis-buckets.js';

/** What a key may still send. */
export interface Allowance {
  /** Requests a minute, and at most at once. */
  readonly limit: number;
  readonly remaining: number;
  /** Until the whole limit is there again. */
  readonly resetMs: number;
  /** Until the next request is allowed; 0: this one is. */
  readonly waitMs: number;
}

/** What is left in a bucket after a request, and whether there was a token for it. */
export interface Taken {
  readonly tokens: number;
  readonly allowed: boolean;
}

/**
 * A token bucket a key, one for all API processes: a token a request, a minute's worth of them at most, refilled evenly
 * by the server's clock. In Redis where there is one; in PostgreSQL else, and while Redis does not answer.
 */
@Injectable()
export class RateLimits implements OnModuleDestroy {
  private readonly limit: number;
  private readonly postgres: PostgresBuckets;
  private readonly redis: RedisBuckets | null;

  constructor(database: Database, { requestsPerMinute, queueUrl, queuePrefix }: Settings) {
    this.limit = requestsPerMinute;
    this.postgres = new PostgresBuckets(database);
    this.redis = queueUrl && requestsPerMinute > 0 ? new RedisBuckets(queueUrl, queuePrefix) : null;
  }

  /** Takes a token of a key that exists, if there is one; null when nothing is limited. */
  async take(keyId: string): Promise<Allowance | null> {
    const { limit } = this;
    if (limit === 0) return null;
    const { tokens, allowed } = await this.taken(keyId);
    const msFor = (wanted: number): number => Math.ceil((wanted * MINUTE_MS) / limit);
    return {
      limit,
      remaining: Math.floor(tokens),
      resetMs: msFor(limit - tokens),
      waitMs: allowed ? 0 : Math.max(1, msFor(1 - tokens)),
    };
  }

  private async taken(keyId: string): Promise<Taken> {
    if (this.redis === null) return this.postgres.take(keyId, this.limit);
    return this.redis.take(keyId, this.limit).catch((error: unknown) => {
      log.debug({ err: error }, 'Redis does not count requests; PostgreSQL does');
      return this.postgres.take(keyId, this.limit);
    });
  }

  onModuleDestroy(): void {
    this.redis?.close();
  }
}
