import type { ModuleMetadata } from '@nestjs/common';
import { WebhookClaims } from './webhook-claims.js';
import { WebhookDeliverer } from './webhook-deliverer.js';
import { WebhookEndpoints } from './webhook-endpoints.service.js';
import { WebhookEvents } from './webhook-events.js';
import { WebhookSender } from './webhook-sender.js';
import { WebhookEventTypesController, WebhooksController } from './webhooks.controller.js';

export const WEBHOOKS: ModuleMetadata = {
  controllers: [WebhooksController, WebhookEventTypesController],
  providers: [WebhookEvents, WebhookClaims, WebhookSender, WebhookDeliverer, WebhookEndpoints],
};
