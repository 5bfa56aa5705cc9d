import type { ModuleMetadata } from '@nestjs/common';
import { HealthController } from './health.controller.js';
import { HealthService } from './health.service.js';
import { OutsideMetrics } from './outside-metrics.js';
import { FailureProblems } from './problems/failure-problems.js';
import { LimitProblems } from './problems/limit-problems.js';
import { ProblemsController } from './problems/problems.controller.js';
import { ProblemsService } from './problems/problems.service.js';
import { QueueProblems } from './problems/queue-problems.js';
import { ServiceProblems } from './problems/service-problems.js';
import { WorkerProblems } from './problems/worker-problems.js';

export const HEALTH: ModuleMetadata = {
  controllers: [HealthController, ProblemsController],
  providers: [
    OutsideMetrics,
    HealthService,
    WorkerProblems,
    QueueProblems,
    FailureProblems,
    LimitProblems,
    ServiceProblems,
    ProblemsService,
  ],
};
