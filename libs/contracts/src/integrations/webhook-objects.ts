// Webhook objects of the API.
import { z } from 'zod';
import { WEBHOOK_EVENT_TYPES, WEBHOOK_TEST } from './webhooks.js';

const SENT_TYPES = [...WEBHOOK_EVENT_TYPES, WEBHOOK_TEST] as const;

export const WebhookEventObject = z
  .object({
    id: z.string(),
    object: z.literal('event'),
    type: z.enum(SENT_TYPES),
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
    updated_at: z
      .number()
      .describe('Time of the last change of the configuration or the secret, in Unix seconds.'),
    signing_secret_hint: z.string().describe('Last characters of the signing secret.'),
    signing_secret: z
      .exactOptional(z.string())
      .describe(
        'Signing secret of the deliveries (`whsec_…`); returned only when it is created or rotated.',
      ),
    secret: z.exactOptional(z.string()).describe('Same as `signing_secret`.'),
  })
  .meta({ id: 'WebhookEndpointObject' });
export type WebhookEndpointObject = z.infer<typeof WebhookEndpointObject>;

export const WebhookTestObject = z
  .object({
    object: z.literal('webhook_endpoint.test'),
    webhook_endpoint_id: z.string(),
    event_type: z.enum(SENT_TYPES),
    status_code: z.number().describe('HTTP status of the response of the endpoint.'),
    success: z
      .literal(true)
      .describe('Always true: the endpoint responded. `status_code` says how.'),
  })
  .meta({ id: 'WebhookTestObject', description: 'Response of an endpoint to a sample event.' });
export type WebhookTestObject = z.infer<typeof WebhookTestObject>;

export const WebhookEventTypeList = z
  .object({ object: z.literal('list'), data: z.array(z.enum(WEBHOOK_EVENT_TYPES)).readonly() })
  .meta({
    id: 'WebhookEventTypeList',
    description: 'Event types that an endpoint can subscribe to.',
  });
export type WebhookEventTypeList = z.infer<typeof WebhookEventTypeList>;

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

export const WebhookTestResult = z.union([WebhookTestObject, WebhookDeliveryObject]).meta({
  id: 'WebhookTestResult',
  description: 'Response to a sample event, or the delivery of a test event.',
});
export type WebhookTestResult = z.infer<typeof WebhookTestResult>;
