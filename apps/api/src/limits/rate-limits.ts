import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import { log } from '../log.js';
import { PostgresBuckets } from './postgres-buckets.js';
import { MINUTE_MS, RedisBuckets } from './redis-buckets.js';
import type { TokenResult } from './token-result.js';

/** Number of requests that a key or its project may still send. */
export interface Allowance {
  /** Owner of the limit. */
  readonly of: 'API key' | 'project';
  /** Requests per minute; also the largest burst. */
  readonly limit: number;
  readonly remaining: number;
  /** Milliseconds until the bucket is full again. */
  readonly resetMs: number;
  /** Milliseconds until the next request is allowed; 0 if this request is allowed. */
  readonly waitMs: number;
}

/**
 * Rate limits that all API processes share: a token bucket per API key and one per project. A request takes
 * one token of each. A bucket holds the tokens of one minute and is refilled evenly, by the server's clock.
 * The buckets are in Redis if it is configured, and otherwise, or while Redis does not respond, in
 * PostgreSQL.
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
   * Takes a token of an existing key, then one of its project. If the key has none left, the project's is not
   * taken. Returns the limit that is exhausted, or else the one with fewer requests left; null if there is no
   * limit.
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

  private async taken(id: string, limit: number): Promise<TokenResult> {
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
