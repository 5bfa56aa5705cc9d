import { DataSource } from 'typeorm';
import {
  Answer,
  ChatTurn,
  DeadLetter,
  Gateway,
  Outbox,
  PoolSample,
  PoolUse,
  Worker,
} from './entities/dispatch.js';
import { Batch, BatchResult } from './entities/batches.js';
import { Installation } from './entities/installation.js';
import { Integration, IntegrationRun } from './entities/integrations.js';
import { Attempt, Checkpoint, Evaluation, Job, JobEvent, Metric } from './entities/job.js';
import { Eval, EvalItem, EvalRun } from './entities/evals.js';
import { StoredResponse } from './entities/responses.js';
import {
  Artifact,
  Blob,
  BlobRef,
  File,
  Model,
  ProjectBlob,
  StorageChange,
  StoredReport,
  Upload,
  UploadPart,
} from './entities/storage.js';
import {
  ApiKey,
  Audit,
  Bucket,
  Idempotency,
  JoinToken,
  Member,
  NameCounter,
  Pool,
  PoolGrant,
  Project,
  Usage,
  UsageHour,
} from './entities/tenancy.js';
import { TraceExport } from './entities/traces.js';
import { Sweep, SweepRung } from './entities/sweeps.js';
import { WebhookDelivery, WebhookEndpoint } from './entities/webhooks.js';
import { Initial1764964900000 } from './migrations/1764964900000-initial.js';
import { PreparingClient } from './preparing-client.js';

export const ENTITIES = [
  Project,
  Member,
  NameCounter,
  Pool,
  PoolGrant,
  Audit,
  Gateway,
  ApiKey,
  Bucket,
  JoinToken,
  Idempotency,
  Blob,
  BlobRef,
  ProjectBlob,
  StorageChange,
  File,
  Model,
  Artifact,
  Job,
  Attempt,
  JobEvent,
  Metric,
  Evaluation,
  Checkpoint,
  Outbox,
  PoolSample,
  PoolUse,
  Usage,
  UsageHour,
  Worker,
  DeadLetter,
  Answer,
  ChatTurn,
  Installation,
  StoredReport,
  Upload,
  UploadPart,
  Eval,
  EvalRun,
  EvalItem,
  WebhookEndpoint,
  WebhookDelivery,
  Integration,
  IntegrationRun,
  TraceExport,
  Sweep,
  SweepRung,
  StoredResponse,
  Batch,
  BatchResult,
];

/** Migrations in the order in which they run. */
export const MIGRATIONS = [Initial1764964900000];

/** Connection pools. One limits what requests use, the other what workers' reports use. */
export const POOLS = {
  requests: { name: 'graft-api', max: 16 },
  workers: { name: 'graft-workers', max: 8 },
} as const;

/**
 * Creates a bounded connection pool with timeouts for statements and locks, so that a stuck query cannot stop the
 * service.
 */
export function dataSource(url: string, pool: keyof typeof POOLS = 'requests'): DataSource {
  return new DataSource({
    type: 'postgres',
    url,
    entities: ENTITIES,
    migrations: MIGRATIONS,
    migrationsTableName: 'migration',
    extra: {
      Client: PreparingClient,
      max: POOLS[pool].max,
      connectionTimeoutMillis: 10_000,
      statement_timeout: 15_000,
      lock_timeout: 5_000,
      idle_in_transaction_session_timeout: 20_000,
      application_name: POOLS[pool].name,
    },
  });
}
