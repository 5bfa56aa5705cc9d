import { Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Audit } from '../auth/audit.js';
import { Database } from '../database/database.js';
import type {
  RecordedTry,
  WebhookDelivery,
  WebhookEndpoint,
} from '../database/entities/webhooks.js';
import { newId } from '../ids.js';
import { DEADLINE_MS, GIVE_UP_MS, isGone, isOk, pauseMs } from './retries.js';
import { RECEIVES_EVENTS, WebhookEvents } from './webhook-events.js';

/**
 * Claim of this process on an endpoint. Every write checks the owner, so it has no effect after another
 * process has claimed the endpoint.
 */
export interface EndpointClaim {
  readonly id: string;
  readonly owner: string;
}

/**
 * A delivery that is due, with the secret that signs it. For a while after a rotation, `old_secret` signs it
 * too.
 */
export type DueDelivery = WebhookDelivery &
  Pick<WebhookEndpoint, 'url' | 'secret' | 'project_id'> & {
    readonly old_secret: string | null;
    /** Time of the database, which receivers see as the timestamp: the clock of this machine may be wrong. */
    readonly now: Date;
  };

/** Duration of a claim. Longer than one attempt takes. */
const CLAIM_MS = 3 * DEADLINE_MS;

/**
 * SQL condition that no process has claimed the endpoint. It is checked again for the locked row, because
 * another process may have claimed the endpoint in between.
 */
const FREE = `(owner IS NULL OR owner_until < clock_timestamp())`;

/** Claims of processes on endpoints, and the results of attempts. All times are the database's. */
@Injectable()
export class WebhookClaims {
  constructor(
    private readonly database: Database,
    private readonly events: WebhookEvents,
    private readonly audit: Audit,
  ) {}

  /**
   * Claims endpoints that have a delivery due and no owner. The project with the fewest claimed endpoints
   * comes first; within a project, the endpoint that was released longest ago.
   */
  async take(most: number): Promise<EndpointClaim[]> {
    if (most <= 0) return [];
    return this.database.query<EndpointClaim>(
      `UPDATE webhook_endpoint SET owner = $1, owner_until = clock_timestamp() + $2 * interval '1 millisecond'
       WHERE id IN (
         SELECT id FROM webhook_endpoint JOIN (
           SELECT id, owner_until AS left_at,
             (SELECT count(*) FROM webhook_endpoint AS busy WHERE busy.project_id = endpoint.project_id
               AND busy.owner IS NOT NULL AND busy.owner_until >= clock_timestamp())
             + row_number() OVER (PARTITION BY project_id ORDER BY owner_until NULLS FIRST, id) AS turn
           FROM webhook_endpoint AS endpoint
           WHERE ${RECEIVES_EVENTS} AND ${FREE} AND EXISTS (
             SELECT 1 FROM webhook_delivery WHERE endpoint_id = endpoint.id AND status = 'pending'
               AND next_at <= clock_timestamp())
         ) AS due USING (id) WHERE ${FREE}
         ORDER BY turn, left_at NULLS FIRST LIMIT $3 FOR UPDATE OF webhook_endpoint SKIP LOCKED)
       RETURNING id, owner`,
      [newId('webhooks-'), CLAIM_MS, most],
    );
  }

  /**
   * Renews the claim and returns the delivery that has been due longest; null if none is due or the claim is
   * lost.
   */
  async next({ id, owner }: EndpointClaim): Promise<DueDelivery | null> {
    const [due] = await this.database.query<DueDelivery>(
      `WITH mine AS (
         UPDATE webhook_endpoint SET owner_until = clock_timestamp() + $3 * interval '1 millisecond'
         WHERE id = $1 AND owner = $2 AND ${RECEIVES_EVENTS}
         RETURNING id, project_id, url, secret,
           CASE WHEN old_secret_until > clock_timestamp() THEN old_secret END AS old_secret
       )
       SELECT delivery.*, project_id, url, secret, old_secret, clock_timestamp() AS now
       FROM mine JOIN webhook_delivery AS delivery ON endpoint_id = mine.id
       WHERE status = 'pending' AND next_at <= clock_timestamp() ORDER BY next_at, number LIMIT 1`,
      [id, owner, CLAIM_MS],
    );
    return due ?? null;
  }

  /** Releases the claim, so that another process may claim the endpoint immediately. */
  async release({ id, owner }: EndpointClaim): Promise<void> {
    await this.database.query(
      'UPDATE webhook_endpoint SET owner = NULL, owner_until = clock_timestamp() WHERE id = $1 AND owner = $2',
      [id, owner],
    );
  }

  /**
   * Stores the result of an attempt and what follows from it: the delivery is done, retried later or given
   * up, or the endpoint is disabled. Returns false if the claim is lost; the new owner then retries the
   * delivery.
   */
  async record(claim: EndpointClaim, due: DueDelivery, tried: RecordedTry): Promise<boolean> {
    return this.database.transaction(async (manager) => {
      const [endpoint] = await this.database.query<{ failing: boolean }>(
        `SELECT COALESCE(failing_since < clock_timestamp() - $3 * interval '1 millisecond', false) AS failing
         FROM webhook_endpoint WHERE id = $1 AND owner = $2 FOR UPDATE`,
        [claim.id, claim.owner, GIVE_UP_MS],
        manager,
      );
      if (!endpoint) return false;
      const isDelivered = isOk(tried);
      // Skips the update if an earlier run of this transaction was committed although its COMMIT seemed to
      // fail.
      await this.database.query(
        `WITH tried AS (
           SELECT number, $4 OR created_at + $6 * interval '1 millisecond' < clock_timestamp() + $5 * interval '1 millisecond'
             AS over FROM webhook_delivery WHERE number = $1 AND status = 'pending' AND jsonb_array_length(tries) = $3
         )
         UPDATE webhook_delivery SET tries = tries || $2::jsonb,
           status = CASE WHEN NOT over THEN 'pending' WHEN $4 THEN 'delivered' ELSE 'failed' END,
           done_at = CASE WHEN over THEN clock_timestamp() END,
           next_at = clock_timestamp() + $5 * interval '1 millisecond'
         FROM tried WHERE webhook_delivery.number = tried.number`,
        [
          due.number,
          JSON.stringify([tried]),
          due.tries.length,
          isDelivered,
          pauseMs(due.tries.length + 1),
          GIVE_UP_MS,
        ],
        manager,
      );
      await this.database.query(
        `UPDATE webhook_endpoint SET
           failing_since = CASE WHEN $2 THEN NULL ELSE COALESCE(failing_since, clock_timestamp()) END,
           delivered_at = CASE WHEN $2 THEN clock_timestamp() ELSE delivered_at END WHERE id = $1`,
        [claim.id, isDelivered],
        manager,
      );
      if (isGone(tried)) await this.disable(manager, due, 'The endpoint responded with 410 (Gone)');
      else if (!isDelivered && endpoint.failing)
        await this.disable(manager, due, 'Every attempt of the last three days failed');
      return true;
    });
  }

  private async disable(
    manager: EntityManager,
    { endpoint_id: id, project_id: projectId }: DueDelivery,
    reason: string,
  ): Promise<void> {
    await this.database.query(
      `UPDATE webhook_endpoint SET disabled_at = clock_timestamp(), disabled_reason = $2 WHERE id = $1`,
      [id, reason],
      manager,
    );
    await this.audit.write(manager, {
      caller: null,
      action: 'webhook_endpoint.disabled',
      target: id,
      detail: { reason },
      projectId,
    });
    const type = 'graft.webhook_endpoint.disabled';
    await this.events.write(manager, { type, projectId, target: id });
  }
}
