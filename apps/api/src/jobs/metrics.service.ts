import { Injectable } from '@nestjs/common';
import type { MetricsObject } from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import type { Principal } from '../auth/principal.js';
import { Database } from '../database/database.js';
import { finite } from './job-object.js';
import { JobsRepository } from './jobs.repository.js';

const MAX_POINTS = 2000;

export interface StepRow {
  readonly step: number;
  readonly loss: number;
  readonly learning_rate: number;
  readonly grad_norm: number;
  readonly accuracy: number;
  readonly seconds: number;
  readonly tokens: number;
}

interface EvaluationRow {
  readonly step: number;
  readonly loss: number;
  readonly accuracy: number;
}

/** A job's curve: for each step what the newest attempt measured. */
@Injectable()
export class JobMetrics {
  constructor(
    private readonly database: Database,
    private readonly jobs: JobsRepository,
  ) {}

  async get(caller: Principal, id: string): Promise<MetricsObject> {
    const job = await this.jobs.row(caller.projectId, id);
    const [steps, evaluations, marks] = await Promise.all([
      this.steps(job.id, MAX_POINTS),
      this.evaluations(job.id),
      this.marks(job.id),
    ]);
    const column = (read: (row: StepRow) => number): (number | null)[] =>
      steps.map((row) => finite(read(row)));
    return {
      object: 'graft.metrics',
      steps: steps.map((row) => row.step),
      series: {
        loss: column((row) => row.loss),
        learning_rate: column((row) => row.learning_rate),
        grad_norm: column((row) => row.grad_norm),
        tokens_per_second: column((row) => row.tokens / row.seconds),
        accuracy: column((row) => row.accuracy),
      },
      evaluations: evaluations.map((row) => ({
        step: row.step,
        loss: finite(row.loss),
        accuracy: finite(row.accuracy),
      })),
      marks,
    };
  }

  /** At most `limit` steps, evenly spread, first and last always among them. */
  private steps(jobId: string, limit: number): Promise<StepRow[]> {
    return this.database.query<StepRow>(
      `WITH curve AS (
         SELECT DISTINCT ON (step) step, loss, learning_rate, grad_norm, accuracy, seconds, tokens
         FROM metric WHERE job_id = $1 ORDER BY step, epoch DESC
       ), numbered AS (SELECT *, row_number() OVER (ORDER BY step) - 1 AS n, count(*) OVER () AS total FROM curve)
       SELECT * FROM numbered
       WHERE total <= $2 OR n = total - 1 OR n % ceil(total::float8 / ($2 - 1))::bigint = 0
       ORDER BY step`,
      [jobId, limit],
    );
  }

  private evaluations(jobId: string, manager?: EntityManager): Promise<EvaluationRow[]> {
    return this.database.query<EvaluationRow>(
      `SELECT DISTINCT ON (step) step, loss, accuracy FROM evaluation WHERE job_id = $1 ORDER BY step, epoch DESC, "full" DESC`,
      [jobId],
      manager,
    );
  }

  private marks(jobId: string): Promise<MetricsObject['marks'][number][]> {
    return this.database.query(
      `SELECT DISTINCT step, kind FROM (
         SELECT from_step AS step, 'attempt' AS kind FROM attempt
           WHERE job_id = $1 AND started_at IS NOT NULL AND epoch > (SELECT min(epoch) FROM attempt WHERE job_id = $1)
         UNION ALL SELECT step, 'checkpoint' FROM checkpoint WHERE job_id = $1
       ) marks ORDER BY step, kind`,
      [jobId],
    );
  }

  /** The result file of OpenAI's contract: one line a step, blanks where nothing was measured. Once in a transaction. */
  async *csv(jobId: string, manager: EntityManager): AsyncGenerator<Buffer> {
    const evaluations = new Map(
      (await this.evaluations(jobId, manager)).map((row) => [row.step, row]),
    );
    yield Buffer.from('step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n');
    // One sorted pass: pages with a query each would sort what is left for each of them.
    await this.database.query(
      `DECLARE curve NO SCROLL CURSOR FOR
         SELECT DISTINCT ON (step) step, loss, accuracy FROM metric WHERE job_id = $1 ORDER BY step, epoch DESC`,
      [jobId],
      manager,
    );
    for (;;) {
      const page = await this.database.query<{ step: number; loss: number; accuracy: number }>(
        'FETCH 5000 FROM curve',
        [],
        manager,
      );
      if (page.length === 0) return;
      const lines = page.map(({ step, loss, accuracy }) => {
        const valid = evaluations.get(step);
        return [step, loss, accuracy, valid?.loss ?? '', valid?.accuracy ?? ''].join(',') + '\n';
      });
      yield Buffer.from(lines.join(''));
    }
  }
}
