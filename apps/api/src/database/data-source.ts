import { DataSource } from 'typeorm';
import { Outbox, Worker } from './entities/dispatch.js';
import { Installation } from './entities/installation.js';
import { Attempt, Checkpoint, Evaluation, Job, JobEvent, Metric } from './entities/job.js';
import { Artifact, Blob, File, Model, StoredReport } from './entities/storage.js';
import { ApiKey, Idempotency, JoinToken, Project } from './entities/tenancy.js';
import { Initial1764000000000 } from './migrations/1764000000000-initial.js';
import { WorkerSession1764100000000 } from './migrations/1764100000000-worker-session.js';
import { Installation1764200000000 } from './migrations/1764200000000-installation.js';
import { FileReport1764302117000 } from './migrations/1764302117000-file-report.js';
import { JobWarningsAndBest1764350200000 } from './migrations/1764350200000-job-warnings-and-best.js';
import { DataReports1764400000000 } from './migrations/1764400000000-data-reports.js';

export const ENTITIES = [
  Project,
  ApiKey,
  JoinToken,
  Idempotency,
  Blob,
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
  Worker,
  Installation,
  StoredReport,
];

/** Of connections: what a request does is bounded by the one, what workers report by the other. */
export const POOLS = {
  requests: { name: 'graft-api', max: 16 },
  workers: { name: 'graft-workers', max: 8 },
} as const;

/** A bounded pool whose statements and locks time out: a stuck query must not stop the service. */
export function dataSource(url: string, pool: keyof typeof POOLS = 'requests'): DataSource {
  return new DataSource({
    type: 'postgres',
    url,
    entities: ENTITIES,
    migrations: [
      Initial1764000000000,
      WorkerSession1764100000000,
      Installation1764200000000,
      FileReport1764302117000,
      JobWarningsAndBest1764350200000,
      DataReports1764400000000,
    ],
    migrationsTableName: 'migration',
    extra: {
      max: POOLS[pool].max,
      connectionTimeoutMillis: 10_000,
      statement_timeout: 15_000,
      lock_timeout: 5_000,
      idle_in_transaction_session_timeout: 20_000,
      application_name: POOLS[pool].name,
    },
  });
}
