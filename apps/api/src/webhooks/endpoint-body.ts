import { WEBHOOK_EVENT_TYPES, WEBHOOK_TEST } from '@graft/contracts';
import { z } from 'zod';

const Name = z.string().trim().min(1).max(100).describe('Display name');
const Url = z
  .string()
  .min(1)
  .max(2000)
  .describe('URL that receives the events. Must use https unless the operator allows its network');
const EventTypes = z
  .array(z.enum(WEBHOOK_EVENT_TYPES))
  .min(1)
  .max(100)
  .transform((types) => [...new Set(types)]);

export const CreateEndpoint = z.strictObject({
  name: Name,
  url: Url,
  event_types: EventTypes.optional().describe('Types of events to send; default: all'),
});

export const UpdateEndpoint = z.strictObject({
  name: Name.optional(),
  url: Url.optional(),
  event_types: EventTypes.optional(),
  enabled: z
    .boolean()
    .optional()
    .describe(
      'Whether events are sent. Enabling an endpoint also sends deliveries that are still pending',
    ),
});

export const RotateSecret = z.strictObject({
  keep_old_secret_active_for_24_hours: z
    .boolean()
    .default(false)
    .describe('Whether the old secret also signs deliveries for 24 hours'),
});

export const TestEndpoint = z.strictObject({
  event_type: z
    .enum([...WEBHOOK_EVENT_TYPES, WEBHOOK_TEST])
    .optional()
    .describe(
      'Event type of a sample to send now; the response has the HTTP status. Default: queue a test event as a delivery',
    ),
});
