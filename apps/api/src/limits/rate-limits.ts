import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import { log } from '../log.js';
import { PostgresBuckets } from './postgres-buckets.js';
import { MINUTE_MS, RedisBuckets } from './redis-buckets.js';

/** What a key, or its project, may still send. */
export interface Allowance {
  /** Whose limit it is. */
  readonly of: 'API key' | 'project';
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
 * A token bucket a key and one a project, for all API processes: a token of each a request, a minute's worth of them at
 * most, refilled evenly by the server's clock. In Redis where there is one; in PostgreSQL else, and while Redis does not answer.
 */
@Injectable()
export class RateLimits implements OnModuleDestroy {
  private readonly perKey: number;
  private readonly perProject: number;
  private readonly postgres: PostgresBuckets;
  private readonly redis: RedisBuckets | null;

  constructor(database: Database, settings: Settings) {
    const { requestsPerMinute, projectRequestsPerMinute, queueUrl, queuePrefix } = settings;
    this.perKey = requestsPerMinute;
    this.perProject = projectRequestsPerMinute;
    this.postgres = new PostgresBuckets(database);
    const limited = requestsPerMinute > 0 || projectRequestsPerMinute > 0;
    this.redis = queueUrl && limited ? new RedisBuckets(queueUrl, queuePrefix) : null;
  }

  /**
   * Takes a token of a key that exists, then one of its project, if there are any: what a key may not send costs its
   * project nothing. Returns the limit that is reached, or the closer one; null when nothing is limited.
   */
  async take(keyId: string, projectId: string): Promise<Allowance | null> {
    const own = await this.from('API key', keyId, this.perKey);
    if (own && own.waitMs > 0) return own;
    const all = await this.from('project', projectId, this.perProject);
    if (!own || !all) return own ?? all;
    return all.waitMs > 0 || all.remaining < own.remaining ? all : own;
  }

  private async from(of: Allowance['of'], id: string, limit: number): Promise<Allowance | null> {
    if (limit === 0) return null;
    const { tokens, allowed } = await this.taken(id, limit);
    const msFor = (wanted: number): number => Math.ceil((wanted * MINUTE_MS) / limit);
    return {
      of,
      limit,
      remaining: Math.floor(tokens),
      resetMs: msFor(limit - tokens),
      waitMs: allowed ? 0 : Math.max(1, msFor(1 - tokens)),
    };
  }

  private async taken(id: string, limit: number): Promise<Taken> {
    if (this.redis === null) return this.postgres.take(id, limit);
    return this.redis.take(id, limit).catch((error: unknown) => {
      log.debug({ err: error }, 'could not count a request in Redis; counting in PostgreSQL');
      return this.postgres.take(id, limit);
    });
  }

  onModuleDestroy(): void {
    this.redis?.close();
  }
}
