import { Module, type DynamicModule } from '@nestjs/common';
import { APP_FILTER, APP_GUARD } from '@nestjs/core';
import { DataSource } from 'typeorm';
import { ApiKeysService } from './auth/api-keys.service.js';
import { AuthGuard } from './auth/auth.guard.js';
import { KeysController } from './auth/keys.controller.js';
import { RateLimits } from './auth/rate-limits.js';
import { BlobStore } from './blobs/blob-store.js';
import { CatalogController } from './catalog/catalog.controller.js';
import { Answers } from './chat/answers.js';
import { ChatController } from './chat/chat.controller.js';
import { ChatService } from './chat/chat.service.js';
import { Settings } from './config.js';
import { Database, WorkerDatabase } from './database/database.js';
import { Dispatcher } from './dispatch/dispatcher.js';
import { Endings } from './dispatch/endings.js';
import type { HintQueue } from './dispatch/hint-queue.js';
import { HINTS } from './dispatch/hints.js';
import { Leases } from './dispatch/lease.js';
import { Outbox } from './dispatch/outbox.js';
import { Reconciler } from './dispatch/reconciler.js';
import { Restored } from './dispatch/restored.js';
import { Facts } from './events/facts.js';
import { History } from './events/history.js';
import { Ingest } from './events/ingest.js';
import { Replay } from './events/replay.js';
import { FilesController } from './files/files.controller.js';
import { FilesService } from './files/files.service.js';
import { BlobTransfer } from './gateway/blob-transfer.js';
import { Connections } from './gateway/connections.js';
import { Gateway } from './gateway/gateway.js';
import { JoinTokensController } from './gateway/join-tokens.controller.js';
import { JoinTokensService } from './gateway/join-tokens.service.js';
import { Workers } from './gateway/workers.js';
import { Counters } from './health/counters.js';
import { HealthController } from './health/health.controller.js';
import { HealthService } from './health/health.service.js';
import { ErrorFilter } from './http/error.filter.js';
import { CheckpointsRepository } from './jobs/checkpoints.repository.js';
import { JobCreation } from './jobs/create-job.js';
import { JobsController } from './jobs/jobs.controller.js';
import { JobsRepository } from './jobs/jobs.repository.js';
import { JobsService } from './jobs/jobs.service.js';
import { JobMetrics } from './jobs/metrics.service.js';
import { ArchivesController } from './models/archives.controller.js';
import { Archives } from './models/archives.service.js';
import { ModelImport } from './models/import.js';
import { ModelsController } from './models/models.controller.js';
import { ModelsService } from './models/models.service.js';
import { DataReader } from './preview/data-reader.js';
import { DataReports } from './preview/data-reports.js';
import { JobPlans } from './preview/job-plans.js';
import { JobPreviews } from './preview/job-previews.js';
import { Speeds } from './preview/speeds.js';
import { Retention } from './retention/retention.js';
import { JobStream } from './stream/job-stream.js';
import { Notifications } from './stream/notifications.js';
import { StreamController } from './stream/stream.controller.js';

const CONTROLLERS = [
  FilesController,
  JobsController,
  ArchivesController,
  ModelsController,
  ChatController,
  CatalogController,
  KeysController,
  JoinTokensController,
  StreamController,
  HealthController,
];

const SERVICES = [
  Database,
  BlobStore,
  Counters,
  ApiKeysService,
  RateLimits,
  JoinTokensService,
  FilesService,
  CheckpointsRepository,
  ModelsService,
  Archives,
  ModelImport,
  JobsRepository,
  JobsService,
  JobCreation,
  DataReader,
  DataReports,
  JobPlans,
  JobPreviews,
  Speeds,
  JobMetrics,
  History,
  Replay,
  Facts,
  Ingest,
  Endings,
  Leases,
  Outbox,
  Dispatcher,
  Reconciler,
  Restored,
  Retention,
  Connections,
  Workers,
  BlobTransfer,
  Gateway,
  Answers,
  ChatService,
  Notifications,
  JobStream,
  HealthService,
];

/** Every part of the control plane. What was opened before Nest starts is handed in. */
@Module({})
export class AppModule {
  static with(opened: {
    settings: Settings;
    source: DataSource;
    workers: DataSource;
    queue: HintQueue;
  }): DynamicModule {
    return {
      module: AppModule,
      controllers: CONTROLLERS,
      providers: [
        { provide: Settings, useValue: opened.settings },
        { provide: DataSource, useValue: opened.source },
        { provide: WorkerDatabase, useValue: new WorkerDatabase(opened.workers) },
        // Wrapped: Nest would call the queue's own `then`-like members when it resolves a bare value.
        { provide: HINTS, useValue: { queue: opened.queue } },
        { provide: APP_FILTER, useClass: ErrorFilter },
        { provide: APP_GUARD, useClass: AuthGuard },
        ...SERVICES,
      ],
    };
  }
}
