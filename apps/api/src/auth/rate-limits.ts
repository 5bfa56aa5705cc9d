import { Injectable } from '@nestjs/common';
import { Settings } from '../config.js';

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

const MINUTE_MS = 60_000;

/** A token bucket a key, in this process: a token a request, a minute's worth of them at most, refilled evenly. */
@Injectable()
export class RateLimits {
  private readonly buckets = new Map<string, { tokens: number; at: number }>();

  constructor(private readonly settings: Settings) {}

  /** Takes a token of a key that exists, if there is one; null when nothing is limited. */
  take(keyId: string, now = performance.now()): Allowance | null {
    const limit = this.settings.requestsPerMinute;
    if (limit === 0) return null;
    const bucket = this.buckets.get(keyId) ?? { tokens: limit, at: now };
    const tokens = Math.min(limit, bucket.tokens + ((now - bucket.at) * limit) / MINUTE_MS);
    const taken = tokens >= 1;
    const left = taken ? tokens - 1 : tokens;
    this.buckets.set(keyId, { tokens: left, at: now });
    const msFor = (wanted: number): number => Math.ceil((wanted * MINUTE_MS) / limit);
    return {
      limit,
      remaining: Math.floor(left),
      resetMs: msFor(limit - left),
      waitMs: taken ? 0 : msFor(1 - left),
    };
  }
}
