import { Injectable } from '@nestjs/common';
import { lossText } from '@graft/contracts';
import type {
  BlobRef,
  Evaluated,
  Event,
  Finished,
  Phase,
  Saved,
  Started,
  Step,
} from '@graft/contracts/grpc';
import type { EntityManager } from 'typeorm';
import { BlobStore, type Received } from '../blobs/blob-store.js';
import { Database } from '../database/database.js';
import type { Job } from '../database/entities/job.js';
import { Endings } from '../dispatch/endings.js';
import { FilesService, RESULT_PURPOSE } from '../files/files.service.js';
import { resultOrder } from '../files/result-order.js';
import { Counters } from '../health/counters.js';
import { newId } from '../ids.js';
import { fineTunedName } from '../jobs/history-objects.js';
import { JobMetrics } from '../jobs/metrics.service.js';
import { finite } from '../jobs/job-object.js';
import { History, type NewEvent } from './history.js';
import { outcome } from './outcome.js';
import type { Progress } from './progress.js';
import { Replay } from './replay.js';

/** What each fact of an attempt means for the tables. Always called under the job row's lock. */
@Injectable()
export class Facts {
  constructor(
    private readonly database: Database,
    private readonly blobs: BlobStore,
    private readonly files: FilesService,
    private readonly metrics: JobMetrics,
    private readonly endings: Endings,
    private readonly history: History,
    private readonly replay: Replay,
    private readonly counters: Counters,
  ) {}

  /** The lines that a fact adds to history; steps are collected and written together. */
  async line(
    manager: EntityManager,
    job: Job,
    progress: Progress,
    { fact, atUnixMs }: Event,
  ): Promise<NewEvent[]> {
    const at = new Date(Math.min(Math.max(atUnixMs, 0), Date.now()) || Date.now());
    switch (fact?.$case) {
      case 'started':
        return this.started(manager, job, progress, fact.value, at);
      case 'step':
        progress.add(fact.value);
        return progress.isRepeated(fact.value)
          ? []
          : [stepLine(fact.value, progress.totalSteps, at)];
      case 'evaluated':
        return this.evaluated(manager, job, progress, fact.value, at);
      case 'saved':
        return this.saved(manager, job, progress, fact.value, at);
      case 'log': {
        const { message, code } = fact.value;
        if (code !== '' && !progress.warn(code, message)) return [];
        const severity = code === '' ? level(fact.value.level) : 'warn';
        return [
          {
            // What is worth a warning is an event of the job, not a line of a log that few read.
            type: severity === 'info' ? 'log' : 'message',
            level: severity,
            message,
            data: { source: 'trainer', ...(code === '' ? {} : { code }) },
            at,
          },
        ];
      }
      case 'phase':
        return phase(progress, fact.value, at);
      case 'failed':
        return fact.value.stderrTail
          ? [
              {
                type: 'log',
                level: 'error',
                message: fact.value.stderrTail,
                data: { source: 'trainer' },
                at,
              },
            ]
          : [];
      default:
        return [];
    }
  }

  private async started(
    manager: EntityManager,
    job: Job,
    progress: Progress,
    fact: Started,
    at: Date,
  ): Promise<NewEvent[]> {
    progress.step = fact.fromStep;
    progress.totalSteps = fact.totalSteps;
    progress.trainableParameters = fact.trainableParameters;
    progress.totalParameters = fact.totalParameters;
    progress.phase = {
      code: 'training',
      message: `Training: step ${fact.fromStep} of ${fact.totalSteps}`,
    };
    const [attempt] = await this.database.query<{ worker_name: string; earlier: number }>(
      `UPDATE attempt SET started_at = clock_timestamp(), from_step = $3 WHERE job_id = $1 AND epoch = $2
       RETURNING worker_name, (SELECT count(*)::int FROM attempt a WHERE a.job_id = $1 AND a.started_at IS NOT NULL) AS earlier`,
      [job.id, job.epoch, fact.fromStep],
      manager,
    );
    const again = (attempt?.earlier ?? 0) > 0;
    const message = again
      ? `Resumed from step ${fact.fromStep} on worker ${attempt?.worker_name}`
      : 'Fine-tuning job started';
    return [{ message, data: { ...fact, worker: attempt?.worker_name }, at }];
  }

  /** All steps of a batch in one statement, which checks the epoch itself; answers with what is to be said of them. */
  async steps(manager: EntityManager, job: Job, progress: Progress): Promise<NewEvent[]> {
    const { steps } = progress;
    if (steps.length === 0) return [];
    const column = (read: (step: Step) => number): number[] => steps.map(read);
    await this.database.query(
      `INSERT INTO metric (job_id, epoch, step, loss, learning_rate, grad_norm, accuracy, seconds, tokens, supervised_tokens, rss_bytes)
       SELECT job.id, job.epoch, s.* FROM job,
         unnest($3::int[], $4::float8[], $5::float8[], $6::float8[], $7::float8[], $8::float8[], $9::int[], $10::int[], $11::bigint[]) AS s
       WHERE job.id = $1 AND job.epoch = $2 AND job.state = 'running'
       ON CONFLICT DO NOTHING`,
      [
        job.id,
        job.epoch,
        column((s) => s.step),
        column((s) => s.loss),
        column((s) => s.learningRate),
        column((s) => s.gradNorm),
        column((s) => s.accuracy),
        column((s) => s.seconds),
        column((s) => s.tokens),
        column((s) => s.supervisedTokens),
        column((s) => s.rssBytes),
      ],
      manager,
    );
    return this.replay.compare(
      manager,
      job,
      steps.filter((step) => progress.isRepeated(step)),
    );
  }

  private async evaluated(
    manager: EntityManager,
    job: Job,
    progress: Progress,
    fact: Evaluated,
    at: Date,
  ): Promise<NewEvent[]> {
    await this.database.query(
      `INSERT INTO evaluation (job_id, epoch, step, loss, accuracy, tokens, "full")
       SELECT id, epoch, $3, $4, $5, $6, $7 FROM job WHERE id = $1 AND epoch = $2 AND state = 'running' ON CONFLICT DO NOTHING`,
      [job.id, job.epoch, fact.step, fact.loss, fact.accuracy, fact.tokens, fact.full],
      manager,
    );
    progress.evaluated(fact.step, fact.loss);
    const [before] = await this.database.query(
      `SELECT 1 FROM evaluation WHERE job_id = $1 AND epoch < $2 AND step = $3 AND ("full" OR NOT $4) LIMIT 1`,
      [job.id, job.epoch, fact.step, fact.full],
      manager,
    );
    if (before) return [];
    const measured = (prefix: string): Record<string, number | null> => ({
      [`${prefix}_loss`]: finite(fact.loss),
      [`${prefix}_mean_token_accuracy`]: finite(fact.accuracy),
    });
    return [
      {
        type: 'metrics',
        message: `Step ${fact.step}/${progress.totalSteps ?? '?'}: validation loss=${lossText(fact.loss)}`,
        data: {
          step: fact.step,
          total_steps: progress.totalSteps,
          ...measured('valid'),
          ...(fact.full ? measured('full_valid') : {}),
        },
        at,
      },
    ];
  }

  /** A checkpoint counts once its row is here; a new one forgives earlier crashes. */
  private async saved(
    manager: EntityManager,
    job: Job,
    progress: Progress,
    fact: Saved,
    at: Date,
  ): Promise<NewEvent[]> {
    const missing = await this.missing(manager, job, [...fact.files, ...fact.adapter]);
    if (missing) {
      return [
        {
          level: 'error',
          message: `Checkpoint at step ${fact.step} refused: ${missing} was never stored`,
          at,
        },
      ];
    }
    await this.database.query(
      `INSERT INTO checkpoint (id, job_id, epoch, step, files, adapter)
       SELECT $3, id, epoch, $4, $5, $6 FROM job WHERE id = $1 AND epoch = $2 AND state = 'running' ON CONFLICT DO NOTHING`,
      [
        job.id,
        job.epoch,
        newId('ftckpt_'),
        fact.step,
        JSON.stringify(fact.files),
        JSON.stringify(fact.adapter),
      ],
      manager,
    );
    progress.crashCount = 0;
    return [{ message: `Checkpoint created at step ${fact.step}`, data: { step: fact.step }, at }];
  }

  /** The curve as a result file on its way. It may be long, so it is made before the job's row is locked. */
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

  /** Result files, model and end of the job, all or nothing. */
  async finished(manager: EntityManager, job: Job, fact: Finished, curve: Received): Promise<void> {
    const missing = await this.missing(manager, job, fact.adapter);
    if (missing || fact.adapter.length === 0) {
      const message = `The worker announced ${missing ?? 'no adapter files'} without storing it`;
      await this.endings.failed(manager, job, {
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
    await this.blobs.keepIn(manager, curve, (_, csv) => asResult({ name: 'metrics.csv', ...csv }));
    for (const blob of resultOrder(fact.adapter)) await asResult(blob);
    const name = fineTunedName(job);
    const full = job.spec.peft === null;
    await this.database.query(
      `INSERT INTO model (id, project_id, kind, base_id, job_id, family, status, parameters, bytes, files, base_dtype)
       SELECT $1, $2, $3, $4, $5, (SELECT family FROM model WHERE id = $4), 'ready', $6, $7, $8, $9`,
      [
        name,
        job.project_id,
        full ? 'full' : 'adapter',
        job.base_id,
        job.id,
        job.trainable_parameters,
        fact.adapter.reduce((sum, blob) => sum + blob.size, 0),
        JSON.stringify(fact.adapter),
        job.spec.base_dtype,
      ],
      manager,
    );
    await this.database.query(
      `UPDATE job SET state = 'succeeded', lease_owner = NULL, lease_until = NULL, finished_at = clock_timestamp(),
         fine_tuned_model = $3, trained_tokens = $4, result_files = $5, step = $6, phase_code = 'succeeded', phase_message = 'Done'
       WHERE id = $1 AND epoch = $2 AND state = 'running'`,
      [job.id, job.epoch, name, fact.trainedTokens, JSON.stringify(results), fact.step],
      manager,
    );
    this.counters.ended('succeeded', job.started_at);
    await this.endings.closeAttempt(manager, job, 'done');
    await this.history.append(manager, job.id, outcome(job, name));
  }

  /** Name of the first blob that no attempt of this job has put, or null. */
  private async missing(
    manager: EntityManager,
    job: Job,
    blobs: readonly BlobRef[],
  ): Promise<string | null> {
    const [row] = await this.database.query<{ name: string }>(
      `SELECT b.name FROM unnest($2::text[], $3::text[], $4::bigint[]) AS b(name, sha256, size)
       WHERE NOT EXISTS (SELECT 1 FROM artifact a WHERE a.job_id = $1 AND a.sha256 = b.sha256 AND a.size = b.size) LIMIT 1`,
      [job.id, blobs.map((b) => b.name), blobs.map((b) => b.sha256), blobs.map((b) => b.size)],
      manager,
    );
    return row?.name ?? null;
  }
}

/** What an attempt does is a line of its log when it begins; how far it is, only the job's phase. */
function phase(
  progress: Progress,
  { code, message, progress: share }: Phase,
  at: Date,
): NewEvent[] {
  const percent = share > 0 && share < 1 ? ` (${Math.round(share * 100)} %)` : '';
  const said = progress.phase.message.replace(/ \(\d+ %\)$/, '') === message;
  if (progress.phase.code !== 'pausing') progress.phase = { code, message: message + percent };
  return said ? [] : [{ type: 'log', message, data: { source: 'worker', code }, at }];
}

function stepLine(step: Step, totalSteps: number | null, at: Date): NewEvent {
  return {
    type: 'metrics',
    message: `Step ${step.step}/${totalSteps ?? '?'}: training loss=${lossText(step.loss)}`,
    data: {
      step: step.step,
      total_steps: totalSteps,
      train_loss: finite(step.loss),
      train_mean_token_accuracy: finite(step.accuracy),
      curve: {
        step: step.step,
        loss: finite(step.loss),
        learning_rate: finite(step.learningRate),
        grad_norm: finite(step.gradNorm),
        tokens_per_second: step.seconds > 0 ? step.tokens / step.seconds : null,
        accuracy: finite(step.accuracy),
      },
    },
    at,
  };
}

const level = (value: string): 'info' | 'warn' | 'error' =>
  value === 'warn' || value === 'error' ? value : 'info';
