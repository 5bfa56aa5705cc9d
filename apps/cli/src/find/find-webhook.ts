import type { WebhookEndpointObject } from '@graft/contracts';
import type { Api } from '../client/api.js';
import { oneNamed } from './one-named.js';
import { GRAFT } from '../called.js';

/** Finds the id of a webhook endpoint by its id, a prefix of the id, or its name. */
export async function findWebhookId(api: Api, name: string): Promise<string> {
  if (/^we_\w{20,}$/.test(name)) return name;
  const all = await api.all<WebhookEndpointObject>('/webhook_endpoints');
  return oneNamed(all, name, 'endpoint', `${GRAFT} webhooks`).id;
}
