// Push of a model to a repository on the Hugging Face Hub: POST /v1/models/{id}/push.
import { z } from 'zod';

export const HubPush = z.strictObject({
  repo: z
    .string()
    .max(200)
    .regex(/^(?!\.)[\w.-]+\/(?!\.)[\w.-]+$/, 'must be OWNER/NAME')
    .describe('Repository as OWNER/NAME; it is created if it does not exist'),
  token: z
    .string()
    .min(1)
    .max(500)
    .regex(/^[\x21-\x7e]+$/, 'must be an access token of the Hugging Face Hub, without spaces')
    .describe(
      'Hugging Face access token with write permission. It is used for this request only and never stored',
    ),
  private: z.boolean().optional().meta({
    default: false,
    description: 'Whether to create a new repository as private',
  }),
  stream: z
    .boolean()
    .optional()
    .meta({ default: false, description: 'Whether to stream the progress as server-sent events' }),
});
export type HubPush = z.infer<typeof HubPush>;

export const HubPushObject = z
  .object({
    object: z.literal('graft.hub_push'),
    model: z.string(),
    repo: z.string(),
    status: z.enum(['running', 'succeeded']),
    bytes_sent: z.number(),
    total_bytes: z.number(),
    url: z.string().nullable().describe('URL of the repository; null until it exists.'),
  })
  .meta({ id: 'HubPushObject', description: 'Progress of a push to the Hugging Face Hub.' });
export type HubPushObject = z.infer<typeof HubPushObject>;
