import type { ModuleMetadata } from '@nestjs/common';
import { HealthController } from './health.controller.js';
import { HealthService } from './health.service.js';
import { OutsideMetrics } from './outside-metrics.js';

export const HEALTH: ModuleMetadata = {
  controllers: [HealthController],
  providers: [OutsideMetrics, HealthService],
};
