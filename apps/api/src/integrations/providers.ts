import type { ModuleMetadata } from '@nestjs/common';
import { IntegrationsController } from './integrations.controller.js';
import { Integrations } from './integrations.service.js';
import { JobIntegrations } from './job-integrations.js';
import { RunClaims } from './run-claims.js';
import { RunSender } from './run-sender.js';

export const INTEGRATIONS: ModuleMetadata = {
  controllers: [IntegrationsController],
  providers: [Integrations, JobIntegrations, RunClaims, RunSender],
};
