import type {
  IntegrationObject,
  IntegrationType,
  Page,
  WebhookDeliveryObject,
  WebhookEndpointObject,
} from '@graft/contracts';
import { all, get, post, remove } from './request.js';

const webhook = (id: string): string => `/webhook_endpoints/${encodeURIComponent(id)}`;

export const integrationsApi = {
  integrations: async () => (await get<Page<IntegrationObject>>('/integrations')).data,
  setIntegration: (type: IntegrationType, body: unknown) =>
    post<IntegrationObject>(`/integrations/${type}`, body),
  deleteIntegration: (type: IntegrationType) => remove(`/integrations/${type}`),
  webhooks: () => all<WebhookEndpointObject>('/webhook_endpoints'),
  createWebhook: (body: unknown) => post<WebhookEndpointObject>('/webhook_endpoints', body),
  changeWebhook: (id: string, body: unknown) => post<WebhookEndpointObject>(webhook(id), body),
  deleteWebhook: (id: string) => remove(webhook(id)),
  rotateWebhookSecret: (id: string) => post<WebhookEndpointObject>(`${webhook(id)}/rotate_secret`),
  testWebhook: (id: string) => post<WebhookDeliveryObject>(`${webhook(id)}/test`),
  webhookDeliveries: (id: string) =>
    get<Page<WebhookDeliveryObject>>(`${webhook(id)}/deliveries?limit=50`),
  retryWebhook: (id: string, delivery: string) =>
    post<WebhookDeliveryObject>(`${webhook(id)}/deliveries/${delivery}/retry`),
};
