import type { WebhookEventObject, WebhookEventType } from '@graft/contracts';
import { Entity, Index, PrimaryColumn, PrimaryGeneratedColumn } from 'typeorm';
import { Json, Now, Text, Time, optional } from '../columns.js';

/** An endpoint that receives a project's events. */
@Entity('webhook_endpoint')
@Index('webhook_endpoint_project', ['project_id', 'created_at', 'id'])
export class WebhookEndpoint {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'webhook_endpoint_pk' }) id!: string;
  @Text() project_id!: string;
  @Text() name!: string;
  @Text() url!: string;
  @Json() event_types!: readonly WebhookEventType[];
  /**
   * Stored in plain text because it signs each delivery. After a change, the previous secret also signs for a while.
   */
  @Text() secret!: string;
  @Text(optional) old_secret!: string | null;
  @Time(optional) old_secret_until!: Date | null;
  @Time(optional) disabled_at!: Date | null;
  /** Reason, if Graft disabled the endpoint itself. */
  @Text(optional) disabled_reason!: string | null;
  /** `null` if the last delivery succeeded or there was none. */
  @Time(optional) failing_since!: Date | null;
  @Time(optional) delivered_at!: Date | null;
  /**
   * API process that delivers to the endpoint, and the time until which its claim is valid; without an owner, the
   * time of its release.
   */
  @Text(optional) owner!: string | null;
  @Time(optional) owner_until!: Date | null;
  @Now() created_at!: Date;
  /** Time of the last change of its configuration or secret by a user. */
  @Now() updated_at!: Date;
}

export interface RecordedTry {
  readonly at: number;
  readonly duration_ms: number;
  readonly status_code: number | null;
  readonly error: string | null;
}

/** An event for an endpoint: first an entry of the outbox, then the record of its delivery. */
@Entity('webhook_delivery')
@Index('webhook_delivery_endpoint', ['endpoint_id', 'number'])
@Index('webhook_delivery_pending', ['endpoint_id', 'next_at'], { where: "status = 'pending'" })
@Index('webhook_delivery_created', ['created_at'])
export class WebhookDelivery {
  @PrimaryGeneratedColumn('identity', {
    type: 'bigint',
    primaryKeyConstraintName: 'webhook_delivery_pk',
  })
  number!: string;
  @Text() endpoint_id!: string;
  /** Same id at all endpoints; receivers recognize repeated deliveries by it. */
  @Text() event_id!: string;
  @Text() type!: WebhookEventObject['type'];
  /** Id of the object that the event is about. */
  @Text() target!: string;
  @Text({ default: 'pending' }) status!: 'pending' | 'delivered' | 'failed';
  @Json({ default: () => "'[]'" }) tries!: readonly RecordedTry[];
  @Time({ default: () => 'now()' }) next_at!: Date;
  @Time(optional) done_at!: Date | null;
  @Now() created_at!: Date;
}
