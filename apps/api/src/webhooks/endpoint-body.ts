import { WEBHOOK_EVENT_TYPES } from '@graft/contracts';
import { z } from 'zod';

const Name = z.string().trim().min(1).max(100).describe('What people call it');
const Url = z
  .string()
  .min(1)
  .max(2000)
  .describe('Where events are sent; https, unless the operator allows its network');
const EventTypes = z
  .array(z.enum(WEBHOOK_EVENT_TYPES))
  .min(1)
  .max(100)
  .transform((types) => [...new Set(types)]);

export const CreateEndpoint = z.strictObject({
  name: Name,
  url: Url,
  event_types: EventTypes.optional().describe('What it is told of; absent: everything'),
});

export const UpdateEndpoint = z.strictObject({
  name: Name.optional(),
  url: Url.optional(),
  event_types: EventTypes.optional(),
  enabled: z
    .boolean()
    .optional()
    .describe('false: nothing is sent; true: what is still pending is, too'),
});
