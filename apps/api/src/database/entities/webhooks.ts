import type { WebhookEventObject, WebhookEventType } from '@graft/contracts';
import { Entity, Index, PrimaryColumn, PrimaryGeneratedColumn } from 'typeorm';
import { Json, Now, Text, Time, optional } from '../columns.js';

/** Where a project's events are sent. */
@Entity('webhook_endpoint')
@Index('webhook_endpoint_project', ['project_id', 'created_at', 'id'])
export class WebhookEndpoint {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'webhook_endpoint_pk' }) id!: string;
  @Text() project_id!: string;
  @Text() name!: string;
  @Text() url!: string;
  @Json() event_types!: readonly WebhookEventType[];
  /** Kept as it is: each delivery is signed with it. After a change the one before signs too, for a while. */
  @Text() secret!: string;
  @Text(optional) old_secret!: string | null;
  @Time(optional) old_secret_until!: Date | null;
  @Time(optional) disabled_at!: Date | null;
  /** Where Graft did it by itself. */
  @Text(optional) disabled_reason!: string | null;
  /** Null: the last try went well, or there was none. */
  @Time(optional) failing_since!: Date | null;
  @Time(optional) delivered_at!: Date | null;
  /** Which API process delivers to it, and until when that is sure; without one, when the last left it. */
  @Text(optional) owner!: string | null;
  @Time(optional) owner_until!: Date | null;
  @Now() created_at!: Date;
}

export interface RecordedTry {
  readonly at: number;
  readonly duration_ms: number;
  readonly status_code: number | null;
  readonly error: string | null;
}

/** An event for an endpoint: the outbox, and then the record of what came of it. */
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
  /** The same at each endpoint: what receivers tell a repeat by. */
  @Text() event_id!: string;
  @Text() type!: WebhookEventObject['type'];
  /** Id of what it is about. */
  @Text() target!: string;
  @Text({ default: 'pending' }) status!: 'pending' | 'delivered' | 'failed';
  @Json({ default: () => "'[]'" }) tries!: readonly RecordedTry[];
  @Time({ default: () => 'now()' }) next_at!: Date;
  @Time(optional) done_at!: Date | null;
  @Now() created_at!: Date;
}
