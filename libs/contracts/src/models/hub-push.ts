// A model to a repository of the Hugging Face Hub: POST /v1/models/{id}/push.
import { z } from 'zod';

export const HubPush = z.strictObject({
  repo: z
    .string()
    .max(200)
    .regex(/^(?!\.)[\w.-]+\/(?!\.)[\w.-]+$/, 'must be OWNER/NAME')
    .describe('OWNER/NAME; made where it is not there'),
  token: z
    .string()
    .min(1)
    .max(500)
    .regex(/^[\x21-\x7e]+$/, 'must be one word, as the hub gives it')
    .describe('Yours, with the right to write there. It is used for this request and kept nowhere'),
  private: z.boolean().optional().meta({
    default: false,
    description: 'Where the repository is made, make it private',
  }),
  stream: z
    .boolean()
    .optional()
    .meta({ default: false, description: 'Say how far it is while it goes on' }),
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
    url: z.string().nullable().describe('Of the repository, once it is there.'),
  })
  .meta({ id: 'HubPushObject', description: 'A model on its way to the Hugging Face Hub.' });
export type HubPushObject = z.infer<typeof HubPushObject>;
