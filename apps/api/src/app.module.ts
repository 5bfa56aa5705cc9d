import { Module, type DynamicModule } from '@nestjs/common';
import { APP_FILTER, APP_GUARD } from '@nestjs/core';
import { DataSource } from 'typeorm';
import { ApiKeysService } from './auth/api-keys.service.js';
import { Audit } from './auth/audit.js';
import { AuthGuard } from './auth/auth.guard.js';
import { KeysController } from './auth/keys.controller.js';
import { Pools } from './auth/pools.js';
import { RateLimits } from './auth/rate-limits.js';
import { BlobStore } from './blobs/blob-store.js';
import { StorageQuota } from './blobs/storage-quota.js';
import { CatalogController } from './models/catalog.controller.js';
import { Generations } from './workers/generations.js';
import { PendingGenerations } from './workers/pending-generations.js';
import { AnswerChunks } from './chat/answer-chunks.js';
import { AnswerRows } from './chat/answer-rows.js';
import { Answers } from './chat/answers.js';
import { ChatController } from './chat/chat.controller.js';
import { ChatService } from './chat/chat.service.js';
import { InferenceController } from './chat/inference.controller.js';
import { InferenceService } from './chat/inference.service.js';
import { TranscriptionController } from './chat/transcription.controller.js';
import { TranscriptionService } from './chat/transcription.service.js';
import { GradersController } from './graders/graders.controller.js';
import { GradersService } from './graders/graders.service.js';
import { PythonGraders } from './graders/python-graders.js';
import { CheckpointScore } from './evals/checkpoint-score.js';
import { EvalClaims } from './evals/eval-claims.js';
import { DeletedTexts } from './evals/deleted-texts.js';
import { EvalItems } from './evals/eval-items.js';
import { EvalRunner } from './evals/eval-runner.js';
import { EvalRunsService } from './evals/eval-runs.service.js';
import { EvalsController } from './evals/evals.controller.js';
import { EvalsService } from './evals/evals.service.js';
import { ItemGrading } from './evals/grade-item.js';
import { Settings } from './config.js';
import { Database, WorkerDatabase } from './database/database.js';
import { Assignments } from './workers/assignments.js';
import { Dispatcher } from './workers/dispatcher.js';
import { PoolPauses } from './workers/pool-pauses.js';
import { AttemptOutcomes } from './lifecycle/attempt-outcomes.js';
import { LemonWorkers } from './lifecycle/lemon-workers.js';
import { AttemptTransitions } from './lifecycle/attempt-transitions.js';
import type { DispatchQueue } from './queue/dispatch-queue.js';
import { DISPATCH_QUEUE } from './queue/dispatch-queue-ref.js';
import { JobTransitions } from './lifecycle/job-transitions.js';
import { Leases } from './lifecycle/lease.js';
import { LeaseBatch } from './lifecycle/lease-batch.js';
import { LeaseExpiry } from './workers/lease-expiry.js';
import { Outbox } from './lifecycle/outbox.js';
import { Preemption } from './lifecycle/preemption.js';
import { Quotas } from './lifecycle/quotas.js';
import { Rungs } from './lifecycle/rungs.js';
import { SweepEnds } from './lifecycle/sweep-ends.js';
import { Usage } from './lifecycle/usage.js';
import { Preemptor } from './workers/preemptor.js';
import { ArchivedProjects } from './workers/archived-projects.js';
import { Reconciler } from './workers/reconciler.js';
import { RestoreGuard } from './lifecycle/restore-guard.js';
import { CheckpointEvals } from './events/checkpoint-evals.js';
import { CheckpointWriter } from './events/checkpoint-writer.js';
import { LedgerWriter } from './events/ledger-writer.js';
import { JobConfusions } from './jobs/job-confusions.js';
import { JobLedgers } from './jobs/job-ledgers.js';
import { SampleWriter } from './events/sample-writer.js';
import { Completion } from './events/completion.js';
import { DeadLetters } from './events/dead-letters.js';
import { DamagedCheckpoints } from './events/damaged-checkpoints.js';
import { EventIngest } from './events/event-ingest.js';
import { EventWriter } from './events/event-writer.js';
import { Measurements } from './events/measurements.js';
import { EventLog } from './lifecycle/event-log.js';
import { Replay } from './events/replay.js';
import { FilesController } from './files/files.controller.js';
import { FilesService } from './files/files.service.js';
import { UploadsController } from './files/uploads.controller.js';
import { UploadsService } from './files/uploads.service.js';
import { BlobTransfer } from './worker-grpc/blob-transfer.js';
import { Connections } from './workers/connections.js';
import { SessionServices } from './worker-grpc/session-services.js';
import { WorkerGrpcServer } from './worker-grpc/server.js';
import { JoinTokensController } from './auth/join-tokens.controller.js';
import { JoinTokensService } from './auth/join-tokens.service.js';
import { Candidates } from './workers/candidates.js';
import { Gateways } from './workers/gateways.js';
import { PoolLoad } from './workers/pool-load.js';
import { WorkerOrders } from './workers/worker-orders.js';
import { PoolLeadership } from './workers/pool-leadership.js';
import { RelayKey } from './workers/relay-key.js';
import { RelayServer } from './workers/relay-server.js';
import { Relay } from './workers/relay.js';
import { WorkerLink } from './workers/worker-link.js';
import { WorkerList } from './workers/worker-list.js';
import { WorkersController } from './workers/workers.controller.js';
import { WorkerKeys } from './workers/worker-keys.js';
import { Workers } from './workers/workers.js';
import { Counters } from './metrics/counters.js';
import { HealthController } from './health/health.controller.js';
import { OutsideMetrics } from './health/outside-metrics.js';
import { HealthService } from './health/health.service.js';
import { Readiness } from './readiness.js';
import { ErrorFilter } from './http/error.filter.js';
import { OpenRequests } from './http/open-requests.js';
import { IntegrationsController } from './integrations/integrations.controller.js';
import { Integrations } from './integrations/integrations.service.js';
import { JobIntegrations } from './integrations/job-integrations.js';
import { RunClaims } from './integrations/run-claims.js';
import { RunSender } from './integrations/run-sender.js';
import { Collector } from './traces/collector.js';
import { TraceExports } from './traces/trace-exports.js';
import { TraceFactsReader } from './traces/trace-facts.js';
import { TraceFiles } from './traces/trace-files.js';
import { TraceSender } from './traces/trace-sender.js';
import { CheckpointsRepository } from './history/checkpoints.repository.js';
import { JobCreation } from './jobs/create-job.js';
import { QueueDepths } from './jobs/queue-depths.js';
import { EventFiles } from './jobs/event-files.js';
import { JobChanges } from './jobs/job-changes.js';
import { JobsController } from './jobs/jobs.controller.js';
import { OperationPlans } from './jobs/operation-plans.js';
import { OperationsController } from './jobs/operations.controller.js';
import { JobPoints } from './history/job-points.js';
import { JobDrafts } from './jobs/job-drafts.js';
import { RepeatedCalls } from './jobs/repeated-calls.js';
import { JobsRepository } from './history/jobs.repository.js';
import { JobsService } from './jobs/jobs.service.js';
import { JobMetrics } from './history/metrics.service.js';
import { AdapterUpload } from './models/adapter-upload.js';
import { AdaptersController } from './models/adapters.controller.js';
import { ArchivesController } from './models/archives.controller.js';
import { Archives } from './models/archives.service.js';
import { HubPushController } from './models/hub-push.controller.js';
import { HubPushes } from './models/hub-push.service.js';
import { ModelImport } from './models/import.js';
import { OlderImports } from './models/older-imports.js';
import { ImportClaims } from './models/import-claims.js';
import { ModelsController } from './models/models.controller.js';
import { ModelsService } from './models/models.service.js';
import { DataReader } from './preview/data-reader.js';
import { DataReports } from './preview/data-reports.js';
import { JobEval } from './preview/job-eval.js';
import { JobPlans } from './preview/job-plans.js';
import { PoolTerms } from './preview/pool-terms.js';
import { JobPreviews } from './preview/job-previews.js';
import { Speeds } from './history/speeds.js';
import { QueueForecasts } from './history/queue-forecasts.js';
import { AdminKeysController } from './projects/admin-keys.controller.js';
import { AuditLog } from './projects/audit-log.js';
import { AuditLogController } from './projects/audit-log.controller.js';
import { MembersController } from './projects/members.controller.js';
import { MembersService } from './projects/members.service.js';
import { PoolGrants } from './projects/pool-grants.service.js';
import { PoolsController } from './projects/pools.controller.js';
import { ProjectKeysController } from './projects/project-keys.controller.js';
import { LimitsController } from './projects/limits.controller.js';
import { ProjectDeletions } from './projects/project-deletion.service.js';
import { ProjectsController } from './projects/projects.controller.js';
import { ProjectsService } from './projects/projects.service.js';
import { SweepCreation } from './sweeps/create-sweep.js';
import { SweepPlans } from './sweeps/sweep-plans.js';
import { SweepsController } from './sweeps/sweeps.controller.js';
import { SweepsService } from './sweeps/sweeps.service.js';
import { Trials } from './sweeps/trials.js';
import { OldCheckpoints } from './retention/old-checkpoints.js';
import { DeletedJobs } from './retention/deleted-jobs.js';
import { DeletedProjects } from './retention/deleted-projects.js';
import { Retention } from './retention/retention.js';
import { ExternalScaler } from './scaling/external-scaler.js';
import { OpenStreams } from './stream/open-streams.js';
import { JobStream } from './stream/job-stream.js';
import { StreamController } from './stream/stream.controller.js';
import { OutboundFetch } from './outbound/outbound-fetch.js';
import { Outbound } from './outbound/outbound.js';
import { WebhookClaims } from './webhooks/webhook-claims.js';
import { WebhookDeliverer } from './webhooks/webhook-deliverer.js';
import { WebhookEndpoints } from './webhooks/webhook-endpoints.service.js';
import { WebhookEvents } from './webhooks/webhook-events.js';
import { WebhookSender } from './webhooks/webhook-sender.js';
import { WebhooksController } from './webhooks/webhooks.controller.js';
import { WakeUps } from './wake/wake-ups.js';

const CONTROLLERS = [
  FilesController,
  UploadsController,
  JobsController,
  OperationsController,
  SweepsController,
  ArchivesController,
  HubPushController,
  AdaptersController,
  ModelsController,
  ChatController,
  InferenceController,
  TranscriptionController,
  GradersController,
  EvalsController,
  WebhooksController,
  IntegrationsController,
  CatalogController,
  KeysController,
  JoinTokensController,
  ProjectsController,
  LimitsController,
  MembersController,
  ProjectKeysController,
  AdminKeysController,
  AuditLogController,
  PoolsController,
  WorkersController,
  StreamController,
  HealthController,
];

const SERVICES = [
  Database,
  BlobStore,
  StorageQuota,
  Counters,
  Audit,
  Pools,
  ApiKeysService,
  RateLimits,
  JoinTokensService,
  FilesService,
  UploadsService,
  CheckpointsRepository,
  ModelsService,
  Archives,
  HubPushes,
  ImportClaims,
  ModelImport,
  OlderImports,
  AdapterUpload,
  JobsRepository,
  JobsService,
  JobChanges,
  RepeatedCalls,
  JobDrafts,
  JobCreation,
  Trials,
  SweepPlans,
  SweepsService,
  SweepCreation,
  QueueDepths,
  ProjectsService,
  ProjectDeletions,
  MembersService,
  PoolGrants,
  AuditLog,
  DataReader,
  DataReports,
  JobEval,
  JobPlans,
  OperationPlans,
  PoolTerms,
  JobPreviews,
  Speeds,
  QueueForecasts,
  JobMetrics,
  JobPoints,
  EventFiles,
  TraceFactsReader,
  TraceFiles,
  WakeUps,
  Outbound,
  OutboundFetch,
  WebhookEvents,
  WebhookClaims,
  WebhookSender,
  WebhookDeliverer,
  WebhookEndpoints,
  Integrations,
  JobIntegrations,
  RunClaims,
  RunSender,
  Collector,
  TraceExports,
  TraceSender,
  EventLog,
  Replay,
  EventWriter,
  Measurements,
  CheckpointEvals,
  CheckpointWriter,
  SampleWriter,
  LedgerWriter,
  JobConfusions,
  JobLedgers,
  Completion,
  DamagedCheckpoints,
  DeadLetters,
  EventIngest,
  JobTransitions,
  AttemptTransitions,
  AttemptOutcomes,
  LemonWorkers,
  Leases,
  LeaseBatch,
  Preemption,
  Rungs,
  SweepEnds,
  Quotas,
  Usage,
  Outbox,
  Assignments,
  Dispatcher,
  PoolPauses,
  LeaseExpiry,
  Preemptor,
  Reconciler,
  ArchivedProjects,
  RestoreGuard,
  OldCheckpoints,
  Retention,
  DeletedJobs,
  DeletedProjects,
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
  BlobTransfer,
  SessionServices,
  WorkerGrpcServer,
  PendingGenerations,
  Generations,
  AnswerRows,
  Answers,
  AnswerChunks,
  ChatService,
  InferenceService,
  TranscriptionService,
  GradersService,
  PythonGraders,
  CheckpointScore,
  EvalClaims,
  DeletedTexts,
  EvalItems,
  ItemGrading,
  EvalRunner,
  EvalsService,
  EvalRunsService,
  OpenStreams,
  JobStream,
  ExternalScaler,
  OutsideMetrics,
  HealthService,
  Readiness,
  OpenRequests,
];

/** Every part of the control plane. What was opened before Nest starts is handed in. */
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
      controllers: CONTROLLERS,
      providers: [
        { provide: Settings, useValue: opened.settings },
        { provide: DataSource, useValue: opened.source },
        { provide: WorkerDatabase, useValue: new WorkerDatabase(opened.workers) },
        // Wrapped: Nest would call the queue's own `then`-like members when it resolves a bare value.
        { provide: DISPATCH_QUEUE, useValue: { queue: opened.queue } },
        { provide: APP_FILTER, useClass: ErrorFilter },
        { provide: APP_GUARD, useClass: AuthGuard },
        ...SERVICES,
      ],
    };
  }
}
