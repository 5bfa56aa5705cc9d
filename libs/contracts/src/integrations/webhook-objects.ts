// Webhooks, as the API shows them.
import { z } from 'zod';
import { WEBHOOK_EVENT_TYPES, WEBHOOK_TEST } from './webhooks.js';

export const WebhookEventObject = z
  .object({
    id: z.string(),
    object: z.literal('event'),
    type: z.enum([...WEBHOOK_EVENT_TYPES, WEBHOOK_TEST]),
    created_at: z.number().describe('Unix seconds.'),
    data: z
      .object({ id: z.string() })
      .describe('The id of the job, of the run, of the sweep, or of the endpoint.'),
  })
  .meta({ id: 'WebhookEventObject', description: 'The body that is sent.' });
export type WebhookEventObject = z.infer<typeof WebhookEventObject>;

export const WebhookEndpointObject = z
  .object({
    object: z.literal('webhook_endpoint'),
    id: z.string(),
    name: z.string(),
    url: z.string(),
    event_types: z.array(z.enum(WEBHOOK_EVENT_TYPES)).readonly(),
    enabled: z.boolean(),
    disabled_reason: z.string().nullable().describe('Where Graft switched it off by itself: why.'),
    failing_since: z
      .number()
      .nullable()
      .describe('Unix seconds; since when each try has failed, and when one last went well.'),
    last_delivered_at: z.number().nullable(),
    created_at: z.number(),
    secret: z
      .exactOptional(z.string())
      .describe(
        'What its deliveries are signed with (`whsec_…`); shown when it is made, and never again.',
      ),
  })
  .meta({ id: 'WebhookEndpointObject' });
export type WebhookEndpointObject = z.infer<typeof WebhookEndpointObject>;

export const WebhookTry = z
  .object({
    at: z.number().describe('Unix seconds.'),
    duration_ms: z.number(),
    status_code: z
      .number()
      .nullable()
      .describe('HTTP status of the answer; null where there was none, and why.'),
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
      .describe('`failed`: given up after three days.'),
    tries: z.array(WebhookTry).readonly(),
    next_try_at: z.number().nullable().describe('Unix seconds.'),
    finished_at: z.number().nullable(),
  })
  .meta({ id: 'WebhookDeliveryObject', description: 'An event on its way to an endpoint.' });
export type WebhookDeliveryObject = z.infer<typeof WebhookDeliveryObject>;
