// Webhooks: OpenAI's events, and Graft's own endpoints that say where they go.
// No zod here: the dashboard takes it too.

/** What an endpoint can be told of: OpenAI's names, and Graft's own under `graft.`. */
export const WEBHOOK_EVENT_TYPES = [
  'fine_tuning.job.succeeded',
  'fine_tuning.job.failed',
  'fine_tuning.job.cancelled',
  'graft.job.warning',
  'graft.sweep.succeeded',
  'graft.sweep.failed',
  'graft.sweep.cancelled',
  'eval.run.succeeded',
  'eval.run.failed',
  'eval.run.canceled',
  'graft.webhook_endpoint.disabled',
] as const;
export type WebhookEventType = (typeof WEBHOOK_EVENT_TYPES)[number];

/** What is sent when somebody tries an endpoint out, whatever it is told of. */
export const WEBHOOK_TEST = 'graft.webhook_endpoint.test';
