import type { ModuleMetadata } from '@nestjs/common';
import { ArchivedProjects } from './archived-projects.js';
import { Assignments } from './assignments.js';
import { Candidates } from './candidates.js';
import { Dispatcher } from './dispatcher.js';
import { LeaseExpiry } from './lease-expiry.js';
import { PoolLeadership } from './pool-leadership.js';
import { PoolLoad } from './pool-load.js';
import { PoolPauses } from './pool-pauses.js';
import { Preemptor } from './preemptor.js';
import { Reconciler } from './reconciler.js';

export const DISPATCH: ModuleMetadata = {
  providers: [
    Assignments,
    Dispatcher,
    PoolPauses,
    LeaseExpiry,
    Preemptor,
    Reconciler,
    ArchivedProjects,
    Candidates,
    PoolLeadership,
    PoolLoad,
  ],
};
