import { Injectable } from '@nestjs/common';
import type { JobForgetting, PayloadOf } from '@graft/contracts';
import type { BlobRef } from '@graft/contracts/grpc';
import type { EntityManager } from 'typeorm';
import { BlobStore, type Received } from '../blobs/blob-store.js';
import { Database } from '../database/database.js';
import type { Job } from '../database/entities/job.js';
import type { Model } from '../database/entities/storage.js';
import { FilesService, RESULT_PURPOSE } from '../files/files.service.js';
import { resultOrder } from '../files/result-order.js';
import { fineTunedName } from '../history/history-objects.js';
import { JobMetrics } from '../history/metrics.service.js';
import { AttemptOutcomes } from '../lifecycle/attempt-outcomes.js';
import { AttemptTransitions } from '../lifecycle/attempt-transitions.js';
import { combinedAdapterFiles, missingBlob } from './reported-files.js';

/** Stores the results of a finished run: its result files and its model. */
@Injectable()
export class Completion {
  constructor(
    private readonly database: Database,
    private readonly blobs: BlobStore,
    private readonly files: FilesService,
    private readonly metrics: JobMetrics,
    private readonly transitions: AttemptTransitions,
    private readonly outcomes: AttemptOutcomes,
  ) {}

  /** Creates the result file with the metrics. It may be large, so it is created before the job's row is locked. */
  async curve(jobId: string): Promise<Received> {
    const received = await this.database.transaction((manager) =>
      this.blobs.receive(this.metrics.csv(jobId, manager)),
    );
    await this.blobs.announce(received);
    return received;
  }

  async discard(curve: Received): Promise<void> {
    await this.blobs.discard(curve);
  }

  /** Stores the result files and the model and ends the job, in one transaction. */
  async finished(
    manager: EntityManager,
    job: Job,
    fact: PayloadOf<'finished'>,
    curve: Received,
  ): Promise<void> {
    const missing = await missingBlob(this.database, manager, job, fact.adapter);
    if (missing || fact.adapter.length === 0) {
      const message = missing
        ? `The worker reported ${missing} without uploading it`
        : 'The worker reported no adapter files';
      await this.outcomes.retryOrFail(manager, job, {
        code: 'io_error',
        message,
        param: null,
        retryable: true,
      });
      return;
    }
    const results: string[] = [];
    const asResult = async ({ name: filename, sha256, size }: BlobRef): Promise<void> => {
      const { id } = await this.files.insert(
        {
          project_id: job.project_id,
          filename,
          purpose: RESULT_PURPOSE,
          sha256,
          size,
          status: 'processed',
          job_id: job.id,
        },
        manager,
      );
      results.push(id);
    };
    if (job.spec.operation) await this.blobs.discard(curve);
    else
      await this.blobs.storeIn(manager, curve, (_, csv) =>
        asResult({ name: 'metrics.csv', ...csv }),
      );
    for (const blob of resultOrder(fact.adapter)) await asResult(blob);
    const files = [...fact.adapter, ...combinedAdapterFiles(job)];
    const name = fineTunedName(job);
    const kind = kindOf(job.spec);
    await this.database.query(
      `INSERT INTO model (id, project_id, kind, base_id, job_id, family, status, parameters, bytes, files, base_dtype, quantization)
       SELECT $1, $2, $3, $4, $5, (SELECT family FROM model WHERE id = $4), 'ready', $6, $7, $8, $9, $10`,
      [
        name,
        job.project_id,
        kind,
        job.base_id,
        job.id,
        job.trainable_parameters,
        files.reduce((sum, blob) => sum + blob.size, 0),
        JSON.stringify(files),
        job.spec.base_dtype,
        // A merged model is not quantized.
        kind === 'adapter' ? job.spec.quantization : null,
      ],
      manager,
    );
    await this.transitions.succeed(manager, job, {
      model: name,
      files: results,
      trainedTokens: fact.trained_tokens,
      step: fact.step,
      publishedStep: job.spec.operation ? null : fact.published_step,
      forgetting: measured(fact.forgetting),
    });
  }
}

/** Returns the measurement, or null if it contains values that JSON cannot represent. */
const measured = (found: PayloadOf<'finished'>['forgetting']): JobForgetting | null =>
  found && Number.isFinite(found.loss) && Number.isFinite(found.base_loss) ? found : null;

/** Returns the kind of the model. Exports for other programs cannot be used in Graft. */
function kindOf({ peft, operation }: Job['spec']): Model['kind'] {
  if (operation?.type === 'export' && operation.format !== 'vllm') return 'export';
  return peft === null ? 'full' : 'adapter';
}
