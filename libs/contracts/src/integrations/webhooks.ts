// Webhook event types. No zod: the dashboard bundles this file.

/** Event types that an endpoint can subscribe to: OpenAI's, and Graft's own with the prefix `graft.`. */
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
  'batch.completed',
  'batch.failed',
  'batch.expired',
  'batch.cancelled',
  'graft.webhook_endpoint.disabled',
] as const;
export type WebhookEventType = (typeof WEBHOOK_EVENT_TYPES)[number];

/** Event type of a test delivery, sent regardless of the event types of the endpoint. */
export const WEBHOOK_TEST = 'graft.webhook_endpoint.test';
