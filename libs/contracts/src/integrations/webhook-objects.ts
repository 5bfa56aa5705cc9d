// Webhook objects of the API.
import { z } from 'zod';
import { WEBHOOK_EVENT_TYPES, WEBHOOK_TEST } from './webhooks.js';

export const WebhookEventObject = z
  .object({
    id: z.string(),
    object: z.literal('event'),
    type: z.enum([...WEBHOOK_EVENT_TYPES, WEBHOOK_TEST]),
    created_at: z.number().describe('Time of the event in Unix seconds.'),
    data: z
      .object({ id: z.string() })
      .describe('ID of the job, eval run, sweep or webhook endpoint.'),
  })
  .meta({ id: 'WebhookEventObject', description: 'Event: the body of a webhook request.' });
export type WebhookEventObject = z.infer<typeof WebhookEventObject>;

export const WebhookEndpointObject = z
  .object({
    object: z.literal('webhook_endpoint'),
    id: z.string(),
    name: z.string(),
    url: z.string(),
    event_types: z.array(z.enum(WEBHOOK_EVENT_TYPES)).readonly(),
    enabled: z.boolean(),
    disabled_reason: z
      .string()
      .nullable()
      .describe('Reason why Graft disabled the endpoint; null if it did not.'),
    failing_since: z
      .number()
      .nullable()
      .describe(
        'Time since which every attempt has failed, in Unix seconds; null if the last one succeeded.',
      ),
    last_delivered_at: z.number().nullable(),
    created_at: z.number(),
    secret: z
      .exactOptional(z.string())
      .describe(
        'Signing secret of the deliveries (`whsec_…`); returned only when the endpoint is created.',
      ),
  })
  .meta({ id: 'WebhookEndpointObject' });
export type WebhookEndpointObject = z.infer<typeof WebhookEndpointObject>;

export const WebhookTry = z
  .object({
    at: z.number().describe('Time of the attempt in Unix seconds.'),
    duration_ms: z.number(),
    status_code: z
      .number()
      .nullable()
      .describe('HTTP status of the response; null if there was none (see `error`).'),
    error: z.string().nullable(),
  })
  .meta({ id: 'WebhookTry' });
export type WebhookTry = z.infer<typeof WebhookTry>;

export const WebhookDeliveryObject = z
  .object({
    object: z.literal('webhook_endpoint.delivery'),
    id: z.string(),
    event: WebhookEventObject,
    status: z
      .enum(['pending', 'delivered', 'failed'])
      .describe('Status of the delivery; `failed` after three days without success.'),
    tries: z.array(WebhookTry).readonly(),
    next_try_at: z
      .number()
      .nullable()
      .describe('Time of the next attempt in Unix seconds; null if there is none.'),
    finished_at: z.number().nullable(),
  })
  .meta({
    id: 'WebhookDeliveryObject',
    description: 'Delivery of an event to a webhook endpoint.',
  });
export type WebhookDeliveryObject = z.infer<typeof WebhookDeliveryObject>;
