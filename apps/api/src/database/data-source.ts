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
import { Installation } from './entities/installation.js';
import { Integration, IntegrationRun } from './entities/integrations.js';
import { Attempt, Checkpoint, Evaluation, Job, JobEvent, Metric } from './entities/job.js';
import { Eval, EvalItem, EvalRun } from './entities/evals.js';
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
  Pool,
  PoolGrant,
  Project,
  Usage,
} from './entities/tenancy.js';
import { TraceExport } from './entities/traces.js';
import { Sweep, SweepRung } from './entities/sweeps.js';
import { WebhookDelivery, WebhookEndpoint } from './entities/webhooks.js';
import { Initial1764000000000 } from './migrations/1764000000000-initial.js';
import { WorkerSession1764100000000 } from './migrations/1764100000000-worker-session.js';
import { Installation1764200000000 } from './migrations/1764200000000-installation.js';
import { FileReport1764302117000 } from './migrations/1764302117000-file-report.js';
import { JobWarningsAndBest1764350200000 } from './migrations/1764350200000-job-warnings-and-best.js';
import { DataReports1764400000000 } from './migrations/1764400000000-data-reports.js';
import { AttemptNumber1764500000000 } from './migrations/1764500000000-attempt-number.js';
import { ReissuedAt1764500100000 } from './migrations/1764500100000-reissued-at.js';
import { ModelQuantization1764500200000 } from './migrations/1764500200000-model-quantization.js';
import { MetricValues1764600000000 } from './migrations/1764600000000-metric-values.js';
import { Blame1764815000000 } from './migrations/1764815000000-blame.js';
import { Tenancy1764700000000 } from './migrations/1764700000000-tenancy.js';
import { AuditOnce1764820000000 } from './migrations/1764820000000-audit-once.js';
import { Answers1764850000000 } from './migrations/1764850000000-answers.js';
import { FairOrder1764830000000 } from './migrations/1764830000000-fair-order.js';
import { Usage1764831000000 } from './migrations/1764831000000-usage.js';
import { Preemption1764832000000 } from './migrations/1764832000000-preemption.js';
import { EstimatedTokens1764833000000 } from './migrations/1764833000000-estimated-tokens.js';
import { ExpireAfter1764870000000 } from './migrations/1764870000000-expire-after.js';
import { BlobRefs1764860000000 } from './migrations/1764860000000-blob-refs.js';
import { DamagedCheckpoints1764861000000 } from './migrations/1764861000000-damaged-checkpoints.js';
import { MetricStep1764862000000 } from './migrations/1764862000000-metric-step.js';
import { Uploads1764863000000 } from './migrations/1764863000000-uploads.js';
import { Replicas1764840000000 } from './migrations/1764840000000-replicas.js';
import { Bucket1764841000000 } from './migrations/1764841000000-bucket.js';
import { ChatTurns1764851000000 } from './migrations/1764851000000-chat-turns.js';
import { WorkerKey1764871000000 } from './migrations/1764871000000-worker-key.js';
import { DeadLetters1764872000000 } from './migrations/1764872000000-dead-letters.js';
import { ImportClaims1764873000000 } from './migrations/1764873000000-import-claims.js';
import { Scaling1764880000000 } from './migrations/1764880000000-scaling.js';
import { JobQueued1764890000000 } from './migrations/1764890000000-job-queued.js';
import { LeasesHeld1764900000000 } from './migrations/1764900000000-leases-held.js';
import { WorkerTasks1764905000000 } from './migrations/1764905000000-worker-tasks.js';
import { Operations1764910000000 } from './migrations/1764910000000-operations.js';
import { Evals1764911000000 } from './migrations/1764911000000-evals.js';
import { Webhooks1764920000000 } from './migrations/1764920000000-webhooks.js';
import { TasksSession1764921000000 } from './migrations/1764921000000-tasks-session.js';
import { CheckpointEvals1764930000000 } from './migrations/1764930000000-checkpoint-evals.js';
import { Integrations1764931000000 } from './migrations/1764931000000-integrations.js';
import { Traces1764937100000 } from './migrations/1764937100000-traces.js';
import { BuildWords1764940000000 } from './migrations/1764940000000-build-words.js';
import { WorkerWords1764956000000 } from './migrations/1764956000000-worker-words.js';
import { RunsTable1764953000000 } from './migrations/1764953000000-runs-table.js';
import { Sweeps1764955000000 } from './migrations/1764955000000-sweeps.js';
import { IdempotencyJob1764958000000 } from './migrations/1764958000000-idempotency-job.js';
import { SweepGone1764958100000 } from './migrations/1764958100000-sweep-gone.js';
import { SweepEnded1764958200000 } from './migrations/1764958200000-sweep-ended.js';
import { TracePauses1764957000000 } from './migrations/1764957000000-trace-pauses.js';
import { GatewayAbilities1764959000000 } from './migrations/1764959000000-gateway-abilities.js';
import { EventKind1764959100000 } from './migrations/1764959100000-event-kind.js';
import { EvaluationConfusion1764959200000 } from './migrations/1764959200000-evaluation-confusion.js';
import { EvalTurns1764959300000 } from './migrations/1764959300000-eval-turns.js';
import { BlobDropped1764960000000 } from './migrations/1764960000000-blob-dropped.js';
import { PublishedStep1764961000000 } from './migrations/1764961000000-published-step.js';
import { ProjectStorage1764962000000 } from './migrations/1764962000000-project-storage.js';
import { ProjectDeletion1764963000002 } from './migrations/1764963000002-project-deletion.js';
import { EvalTexts1764963100002 } from './migrations/1764963100002-eval-texts.js';
import { EvalRunModel1764963200000 } from './migrations/1764963200000-eval-run-model.js';
import { EvalStorage1764963300000 } from './migrations/1764963300000-eval-storage.js';
import { UploadFile1764963400000 } from './migrations/1764963400000-upload-file.js';
import { PreparingClient } from './preparing-client.js';

export const ENTITIES = [
  Project,
  Member,
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
      AttemptNumber1764500000000,
      ReissuedAt1764500100000,
      ModelQuantization1764500200000,
      MetricValues1764600000000,
      Tenancy1764700000000,
      Blame1764815000000,
      AuditOnce1764820000000,
      Answers1764850000000,
      FairOrder1764830000000,
      Usage1764831000000,
      Preemption1764832000000,
      EstimatedTokens1764833000000,
      ExpireAfter1764870000000,
      BlobRefs1764860000000,
      DamagedCheckpoints1764861000000,
      MetricStep1764862000000,
      Uploads1764863000000,
      Replicas1764840000000,
      Bucket1764841000000,
      ChatTurns1764851000000,
      WorkerKey1764871000000,
      DeadLetters1764872000000,
      ImportClaims1764873000000,
      Scaling1764880000000,
      JobQueued1764890000000,
      LeasesHeld1764900000000,
      WorkerTasks1764905000000,
      Operations1764910000000,
      Evals1764911000000,
      Webhooks1764920000000,
      TasksSession1764921000000,
      CheckpointEvals1764930000000,
      Integrations1764931000000,
      Traces1764937100000,
      BuildWords1764940000000,
      RunsTable1764953000000,
      Sweeps1764955000000,
      WorkerWords1764956000000,
      IdempotencyJob1764958000000,
      SweepGone1764958100000,
      SweepEnded1764958200000,
      TracePauses1764957000000,
      GatewayAbilities1764959000000,
      EventKind1764959100000,
      EvaluationConfusion1764959200000,
      EvalTurns1764959300000,
      BlobDropped1764960000000,
      PublishedStep1764961000000,
      ProjectStorage1764962000000,
      ProjectDeletion1764963000002,
      EvalTexts1764963100002,
      EvalRunModel1764963200000,
      EvalStorage1764963300000,
      UploadFile1764963400000,
    ],
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
