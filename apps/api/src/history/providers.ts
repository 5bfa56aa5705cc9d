import type { ModuleMetadata } from '@nestjs/common';
import { CheckpointsRepository } from './checkpoints.repository.js';
import { JobPoints } from './job-points.js';
import { JobsRepository } from './jobs.repository.js';
import { JobMetrics } from './metrics.service.js';
import { QueueForecasts } from './queue-forecasts.js';
import { PoolQueues } from './pool-queue.js';
import { Speeds } from './speeds.js';

export const HISTORY: ModuleMetadata = {
  providers: [
    CheckpointsRepository,
    JobsRepository,
    Speeds,
    QueueForecasts,
    PoolQueues,
    JobMetrics,
    JobPoints,
  ],
};
