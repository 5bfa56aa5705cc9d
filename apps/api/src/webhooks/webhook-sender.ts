import { createHmac } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { Injectable } from '@nestjs/common';
import { VERSION } from '../config.js';
import type { RecordedTry } from '../database/entities/webhooks.js';
import { unix } from '../ids.js';
import { Outbound } from '../outbound/outbound.js';
import { DEADLINE_MS, isOk } from './retries.js';
import type { DueDelivery } from './webhook-claims.js';
import { eventObject } from './webhook-objects.js';

/** Maximum number of bytes read of a response. Its body is not used. */
const MOST_BYTES = 64 * 1024;

/** An event with the address and the secrets that it is sent with. */
export type SignedEvent = Pick<
  DueDelivery,
  'event_id' | 'type' | 'target' | 'created_at' | 'url' | 'secret' | 'old_secret' | 'now'
>;

const SECRET_PREFIX = 'whsec_';

export const webhookSecret = (bytes: Buffer): string =>
  `${SECRET_PREFIX}${bytes.toString('base64')}`;

/**
 * Sends an event once, signed as defined by Standard Webhooks (https://www.standardwebhooks.com), version 1.
 */
@Injectable()
export class WebhookSender {
  constructor(private readonly outbound: Outbound) {}

  /** Never rejects. */
  async send(due: SignedEvent): Promise<RecordedTry> {
    const began = performance.now();
    const at = unix(due.now);
    const body = JSON.stringify(eventObject(due));
    const came = await this.outbound
      .send({
        url: due.url,
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'user-agent': `Graft-Webhooks/${VERSION}`,
          'webhook-id': due.event_id,
          'webhook-timestamp': String(at),
          'webhook-signature': [due.secret, due.old_secret]
            .filter((secret) => secret !== null)
            .map((secret) => signature(secret, `${due.event_id}.${at}.${body}`))
            .join(' '),
        },
        body,
        timeoutMs: DEADLINE_MS,
        mostBytes: MOST_BYTES,
      })
      .then(
        ({ status }) => ({ status_code: status, error: null }),
        (error: unknown) => ({ status_code: null, error: reasonOf(error) }),
      );
    const tried = { at, duration_ms: Math.round(performance.now() - began), ...came };
    if (came.status_code === null || isOk(tried)) return tried;
    return { ...tried, error: problemOf(came.status_code) };
  }
}

const signature = (secret: string, text: string): string => {
  const key = Buffer.from(secret.slice(SECRET_PREFIX.length), 'base64');
  return `v1,${createHmac('sha256', key).update(text).digest('base64')}`;
};

const problemOf = (status: number): string =>
  status >= 300 && status < 400
    ? `responded with ${status}; redirects are not followed`
    : `responded with ${status}`;

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error).slice(0, 300);
  // The host has several addresses and all of them failed: report the first error.
  if (error instanceof AggregateError && error.errors[0] instanceof Error)
    return reasonOf(error.errors[0]);
  return error.message.slice(0, 300);
}
