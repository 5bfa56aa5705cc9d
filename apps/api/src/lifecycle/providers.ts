import type { ModuleMetadata } from '@nestjs/common';
import { AttemptOutcomes } from './attempt-outcomes.js';
import { AttemptTransitions } from './attempt-transitions.js';
import { DefaultNames } from './default-names.js';
import { EventLog } from './event-log.js';
import { JobTransitions } from './job-transitions.js';
import { Interruption } from './interruption.js';
import { LeaseBatch } from './lease/lease-batch.js';
import { Leases } from './lease/lease.js';
import { LemonWorkers } from './lease/lemon-workers.js';
import { Outbox } from './outbox.js';
import { Preemption } from './lease/preemption.js';
import { Quotas } from './lease/quotas.js';
import { RestoreGuard } from './restore-guard.js';
import { Rungs } from './rungs.js';
import { SweepEnds } from './sweep-ends.js';
import { Usage } from './usage.js';

export const LIFECYCLE: ModuleMetadata = {
  providers: [
    EventLog,
    DefaultNames,
    JobTransitions,
    AttemptTransitions,
    AttemptOutcomes,
    LemonWorkers,
    Interruption,
    Leases,
    LeaseBatch,
    Preemption,
    Rungs,
    SweepEnds,
    Quotas,
    Usage,
    Outbox,
    RestoreGuard,
  ],
};
