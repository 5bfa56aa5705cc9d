import type { WebhookEventType } from '@graft/contracts';
import { Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Database } from '../database/database.js';
import { newId } from '../ids.js';
import { WakeUps } from '../wake/wake-ups.js';

export const DUE = 'webhooks:due';

/** SQL condition that an endpoint is sent events: it is enabled, and its project is not archived. */
export const RECEIVES_EVENTS = `disabled_at IS NULL AND NOT EXISTS (
  SELECT 1 FROM project WHERE project.id = project_id AND archived_at IS NOT NULL)`;

export interface WebhookFact {
  readonly type: WebhookEventType;
  readonly projectId: string;
  /** Id of the object that the event is about. */
  readonly target: string;
}

/** Writes the events of a project for the endpoints that subscribe to them. */
@Injectable()
export class WebhookEvents {
  constructor(
    private readonly database: Database,
    private readonly wakeUps: WakeUps,
  ) {}

  /**
   * Writes an event. Call it once, in the transaction that makes the event true: if that commits, the event
   * is sent, and otherwise it is not.
   */
  async write(manager: EntityManager, { type, projectId, target }: WebhookFact): Promise<void> {
    const written = await this.database.query(
      `INSERT INTO webhook_delivery (endpoint_id, event_id, type, target, created_at, next_at)
       SELECT id, $1, $2, $3, clock_timestamp(), clock_timestamp() FROM webhook_endpoint
       WHERE project_id = $4 AND ${RECEIVES_EVENTS} AND event_types ? $2 RETURNING number`,
      [newId('evt_'), type, target, projectId],
      manager,
    );
    if (written.length > 0) this.wakeUps.announce(DUE);
  }
}
