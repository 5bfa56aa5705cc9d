import type {
  WebhookDeliveryObject,
  WebhookEndpointObject,
  WebhookEventObject,
} from '@graft/contracts';
import type { WebhookDelivery, WebhookEndpoint } from '../database/entities/webhooks.js';
import { unix, unixOrNull } from '../ids.js';

const PREFIX = 'whd_';
/** Number of characters of a secret that remain visible. */
const HINT_LENGTH = 4;

/** The endpoint without its secret. */
export const endpointObject = (row: WebhookEndpoint): WebhookEndpointObject => ({
  object: 'webhook_endpoint',
  id: row.id,
  name: row.name,
  url: row.url,
  event_types: row.event_types,
  enabled: row.disabled_at === null,
  disabled_reason: row.disabled_reason,
  failing_since: unixOrNull(row.failing_since),
  last_delivered_at: unixOrNull(row.delivered_at),
  created_at: unix(row.created_at),
  updated_at: unix(row.updated_at),
  signing_secret_hint: `whsec_…${row.secret.slice(-HINT_LENGTH)}`,
});

/** The event as it is sent. */
export const eventObject = ({
  event_id,
  type,
  created_at,
  target,
}: Pick<WebhookDelivery, 'event_id' | 'type' | 'created_at' | 'target'>): WebhookEventObject => ({
  id: event_id,
  object: 'event',
  type,
  created_at: unix(created_at),
  data: { id: target },
});

export const deliveryObject = (row: WebhookDelivery): WebhookDeliveryObject => ({
  object: 'webhook_endpoint.delivery',
  id: `${PREFIX}${row.number}`,
  event: eventObject(row),
  status: row.status,
  tries: row.tries,
  next_try_at: row.status === 'pending' ? unix(row.next_at) : null,
  finished_at: unixOrNull(row.done_at),
});

/** Returns the number in a delivery id, or null if the id is malformed. */
export const deliveryNumber = (id: string): string | null =>
  /^whd_(\d{1,18})$/.exec(id)?.[1] ?? null;
