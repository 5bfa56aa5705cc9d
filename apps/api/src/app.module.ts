import { Module, type DynamicModule, type ModuleMetadata } from '@nestjs/common';
import { APP_FILTER, APP_GUARD } from '@nestjs/core';
import { DataSource } from 'typeorm';
import { AuthGuard } from './auth/auth.guard.js';
import { AUTH } from './auth/providers.js';
import { BATCHES } from './batches/providers.js';
import { BLOBS } from './blobs/providers.js';
import { CHAT } from './chat/providers.js';
import { Settings } from './config.js';
import { Database, WorkerDatabase } from './database/database.js';
import { EVALS } from './evals/providers.js';
import { EVENTS } from './events/providers.js';
import { FILES } from './files/providers.js';
import { GRADERS } from './graders/providers.js';
import { HEALTH } from './health/providers.js';
import { HISTORY } from './history/providers.js';
import { ErrorFilter } from './http/error.filter.js';
import { OpenRequests } from './http/open-requests.js';
import { INTEGRATIONS } from './integrations/providers.js';
import { JOBS } from './jobs/providers.js';
import { LIFECYCLE } from './lifecycle/providers.js';
import { Counters } from './metrics/counters.js';
import { MODELS } from './models/providers.js';
import { OUTBOUND } from './outbound/providers.js';
import { PREVIEW } from './preview/providers.js';
import { PROJECTS } from './projects/providers.js';
import { DISPATCH } from './dispatch/providers.js';
import { DISPATCH_QUEUE } from './queue/dispatch-queue-ref.js';
import type { DispatchQueue } from './queue/dispatch-queue.js';
import { Readiness } from './readiness.js';
import { RELAY } from './relay/providers.js';
import { RETENTION } from './retention/providers.js';
import { ExternalScaler } from './scaling/external-scaler.js';
import { STREAM } from './stream/providers.js';
import { SWEEPS } from './sweeps/providers.js';
import { TRACES } from './traces/providers.js';
import { WakeUps } from './wake/wake-ups.js';
import { WEBHOOKS } from './webhooks/providers.js';
import { WORKER_SERVICE } from './worker-service/providers.js';
import { WORKERS } from './workers/providers.js';

/**
 * Modules in the order of the layers (docs/adr/0010). Folders with a single provider have no separate module.
 */
const FOLDERS: readonly ModuleMetadata[] = [
  BLOBS,
  AUTH,
  OUTBOUND,
  WEBHOOKS,
  LIFECYCLE,
  HISTORY,
  INTEGRATIONS,
  TRACES,
  FILES,
  MODELS,
  EVENTS,
  PREVIEW,
  STREAM,
  RELAY,
  WORKERS,
  DISPATCH,
  JOBS,
  SWEEPS,
  PROJECTS,
  CHAT,
  GRADERS,
  EVALS,
  BATCHES,
  WORKER_SERVICE,
  HEALTH,
  RETENTION,
];

const SINGLE_PROVIDERS = [Database, Counters, WakeUps, OpenRequests, ExternalScaler, Readiness];

/** Module of the whole control plane. The caller opens the database and the queue before Nest starts. */
@Module({})
export class AppModule {
  static with(opened: {
    settings: Settings;
    source: DataSource;
    workers: DataSource;
    queue: DispatchQueue;
  }): DynamicModule {
    return {
      module: AppModule,
      controllers: FOLDERS.flatMap(({ controllers = [] }) => controllers),
      providers: [
        { provide: Settings, useValue: opened.settings },
        { provide: DataSource, useValue: opened.source },
        { provide: WorkerDatabase, useValue: new WorkerDatabase(opened.workers) },
        // Wrapped in an object because Nest calls the `then`-like members of a bare queue when it resolves the value.
        { provide: DISPATCH_QUEUE, useValue: { queue: opened.queue } },
        { provide: APP_FILTER, useClass: ErrorFilter },
        { provide: APP_GUARD, useClass: AuthGuard },
        ...SINGLE_PROVIDERS,
        ...FOLDERS.flatMap(({ providers = [] }) => providers),
      ],
    };
  }
}
