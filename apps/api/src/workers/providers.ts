import type { ModuleMetadata } from '@nestjs/common';
import { ArchivedProjects } from './archived-projects.js';
import { Assignments } from './assignments.js';
import { Candidates } from './candidates.js';
import { Connections } from './connections.js';
import { Dispatcher } from './dispatcher.js';
import { Gateways } from './gateways.js';
import { Generations } from './generations.js';
import { LeaseExpiry } from './lease-expiry.js';
import { PendingGenerations } from './pending-generations.js';
import { PoolLeadership } from './pool-leadership.js';
import { PoolLoad } from './pool-load.js';
import { PoolPauses } from './pool-pauses.js';
import { Preemptor } from './preemptor.js';
import { Reconciler } from './reconciler.js';
import { RelayKey } from './relay-key.js';
import { RelayServer } from './relay-server.js';
import { Relay } from './relay.js';
import { WorkerKeys } from './worker-keys.js';
import { WorkerLink } from './worker-link.js';
import { WorkerList } from './worker-list.js';
import { WorkerOrders } from './worker-orders.js';
import { WorkersController } from './workers.controller.js';
import { Workers } from './workers.js';

export const WORKERS: ModuleMetadata = {
  controllers: [WorkersController],
  providers: [
    Assignments,
    Dispatcher,
    PoolPauses,
    LeaseExpiry,
    Preemptor,
    Reconciler,
    ArchivedProjects,
    Gateways,
    RelayKey,
    Relay,
    RelayServer,
    Connections,
    Candidates,
    PoolLeadership,
    PoolLoad,
    WorkerOrders,
    WorkerLink,
    WorkerKeys,
    WorkerList,
    Workers,
    PendingGenerations,
    Generations,
  ],
};
