import { Redis } from 'ioredis';
import { log } from '../log.js';
import type { TokenResult } from './token-result.js';

export const MINUTE_MS = 60_000;

/** Maximum time that a request waits for Redis. */
const PATIENCE_MS = 500;

/**
 * One script, so that two processes never take the same token. A bucket that was unused for a minute is full.
 */
const TAKE = `
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local limit = tonumber(ARGV[1])
local old = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens, at = tonumber(old[1]) or limit, tonumber(old[2]) or now
tokens = math.min(limit, tokens + math.max(0, now - at) * limit / ${MINUTE_MS})
local allowed = tokens >= 1 and 1 or 0
tokens = tokens - allowed
redis.call('HSET', KEYS[1], 'tokens', string.format('%.17g', tokens), 'at', string.format('%.17g', now))
redis.call('PEXPIRE', KEYS[1], ${MINUTE_MS})
return {allowed, string.format('%.17g', tokens)}`;

interface WithScript extends Redis {
  takeToken(key: string, limit: number): Promise<[number, string]>;
}

/** Token buckets in Redis. They are lost with Redis's data. */
export class RedisBuckets {
  private readonly redis: WithScript;
  private reported = false;

  constructor(
    url: string,
    private readonly prefix: string,
  ) {
    const redis = new Redis(url, {
      maxRetriesPerRequest: 0,
      enableOfflineQueue: false,
      commandTimeout: PATIENCE_MS,
    });
    redis.on('ready', () => (this.reported = false));
    // A lost server repeats its error many times per second.
    redis.on('error', (error) => {
      if (!this.reported) log.warn({ err: error }, 'lost the connection to Redis for rate limits');
      this.reported = true;
    });
    redis.defineCommand('takeToken', { numberOfKeys: 1, lua: TAKE });
    this.redis = redis as WithScript;
  }

  async take(id: string, limit: number): Promise<TokenResult> {
    const [allowed, tokens] = await this.redis.takeToken(`${this.prefix}:bucket:${id}`, limit);
    return { allowed: allowed === 1, tokens: Number(tokens) };
  }

  close(): void {
    this.redis.disconnect();
  }
}
