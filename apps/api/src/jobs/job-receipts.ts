import { Injectable } from '@nestjs/common';
import { DomainError, type JobReceiptObject, type ReceiptComparisonObject } from '@graft/contracts';
import { hashOfJson, sorted } from '@graft/contracts/canonical-json';
import { compareReceipts } from '@graft/contracts/compare-receipts';
import type { Principal } from '../auth/principal.js';
import { Database } from '../database/database.js';
import type { Attempt, Job } from '../database/entities/job.js';
import type { StoredFile } from '../database/entities/storage.js';
import { JobsRepository } from '../history/jobs.repository.js';
import { unix, unixOrNull } from '../ids.js';

type Receipt = JobReceiptObject;
type ReceiptFile = Receipt['base']['files'][number];

/** Receipts: what a job was made of and what came out, by SHA-256. */
@Injectable()
export class JobReceipts {
  constructor(
    private readonly database: Database,
    private readonly jobs: JobsRepository,
  ) {}

  async of(caller: Principal, id: string): Promise<Receipt> {
    const job = await this.jobs.row(caller.projectId, id);
    const base = await this.baseFiles(job);
    const { spec } = job;
    const inputs = {
      base: { model: job.base_id, files: base, sha256: base.length > 0 ? hashOfJson(base) : null },
      data: {
        training_sha256: job.training_sha256,
        validation_sha256: job.validation_sha256,
        init_adapter: job.init_adapter.map(receiptFile).sort(byName),
      },
      spec_sha256: hashOfJson(spec),
    };
    const content: Omit<Receipt, 'receipt_sha256'> = {
      object: 'graft.receipt',
      job: {
        id: job.id,
        status: job.state,
        created_at: unix(job.created_at),
        finished_at: unixOrNull(job.finished_at),
      },
      ...inputs,
      seed: spec.seed,
      spec,
      inputs_sha256: hashOfJson({
        base: inputs.base.sha256,
        data: inputs.data,
        spec: inputs.spec_sha256,
      }),
      attempts: await this.attempts(job),
      checkpoints: await this.checkpoints(job),
      result: await this.result(job),
    };
    return sorted({ ...content, receipt_sha256: hashOfJson(content) }) as Receipt;
  }

  async compare(
    caller: Principal,
    id: string,
    query: Record<string, unknown>,
  ): Promise<ReceiptComparisonObject> {
    const other = query['with'];
    if (typeof other !== 'string' || other === '')
      throw new DomainError(
        'missing_required_parameter',
        'with: expected the id of the job to compare with',
        'with',
      );
    await this.jobs.row(caller.projectId, other, { parameter: 'with' });
    return compareReceipts(await this.of(caller, id), await this.of(caller, other));
  }

  private async baseFiles({ base_id: id }: Job): Promise<ReceiptFile[]> {
    const [model] = await this.database.query<{ files: StoredFile[] }>(
      'SELECT files FROM model WHERE id = $1',
      [id],
    );
    return (model?.files ?? []).map(receiptFile).sort(byName);
  }

  private async attempts({ id }: Job): Promise<Receipt['attempts']> {
    const rows = await this.database.query<Attempt>(
      'SELECT * FROM attempt WHERE job_id = $1 ORDER BY number',
      [id],
    );
    return rows.map((row) => ({
      number: row.number,
      worker: row.worker_name,
      trainer_build: row.trainer_build,
      device: row.device,
      threads: row.threads,
      from_step: row.from_step,
      to_step: row.to_step,
      outcome: row.outcome,
      reason: row.reason,
      started_at: unixOrNull(row.started_at),
      ended_at: unixOrNull(row.ended_at),
    }));
  }

  /** Reads the checkpoints from the history, because retention deletes their rows. */
  private checkpoints({ id }: Job): Promise<Receipt['checkpoints'][number][]> {
    return this.database.query(
      `SELECT (data->>'step')::int AS step, COALESCE((data->>'attempt')::int, 0) AS attempt,
         data->>'weights_sha256' AS weights_sha256
       FROM event WHERE job_id = $1 AND kind = 'checkpoint' ORDER BY number`,
      [id],
    );
  }

  private async result(job: Job): Promise<Receipt['result']> {
    if (job.fine_tuned_model === null) return null;
    const rows = await this.database.query<ReceiptFile>(
      `SELECT filename AS name, sha256, bytes::float8 AS bytes FROM file WHERE job_id = $1 AND id = ANY($2)`,
      [job.id, job.result_files],
    );
    const files = rows.sort(byName);
    return {
      model: job.fine_tuned_model,
      published_step: job.published_step,
      files,
      weights_sha256: hashOfJson(files.filter(isWeights)),
    };
  }
}

const receiptFile = ({ name, sha256, size }: StoredFile): ReceiptFile => ({
  name,
  sha256,
  bytes: Number(size),
});

const byName = (a: ReceiptFile, b: ReceiptFile): number => (a.name < b.name ? -1 : 1);

const isWeights = ({ name }: ReceiptFile): boolean => /\.(safetensors|gguf)$/.test(name);
