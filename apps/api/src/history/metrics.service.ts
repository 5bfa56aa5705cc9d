import { Injectable } from '@nestjs/common';
import type { Measured, MetricsObject } from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import type { Principal } from '../auth/principal.js';
import { Database } from '../database/database.js';
import type { StoredValues } from '../database/entities/job.js';
import { csvColumns } from './csv-columns.js';
import { JobsRepository } from './jobs.repository.js';
import { measured } from './metric-values.js';

const MAX_POINTS = 2000;

interface StepRow {
  readonly step: number;
  readonly values: StoredValues;
  readonly seconds: number;
  readonly tokens: number;
  readonly rss_bytes: number;
}

interface EvaluationRow extends Pick<StepRow, 'step' | 'values'> {
  /** Accuracy of always predicting the most frequent label; null if it is unknown. */
  readonly majority: number | null;
}

/** Metrics of a job, for each step as measured by the newest attempt. */
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
    const points = steps.map(stepMeasured);
    const names = new Set(points.flatMap((point) => Object.keys(point)));
    names.delete('step');
    return {
      object: 'graft.metrics',
      steps: points.map(({ step }) => step),
      series: Object.fromEntries(
        [...names].map((name) => [name, points.map((point) => point[name] ?? null)]),
      ),
      tokens: sumMeasured(steps, 'tokens'),
      seconds: sumMeasured(steps, 'seconds'),
      peak_rss_bytes: steps.length === 0 ? null : Math.max(...steps.map((row) => row.rss_bytes)),
      evaluations: evaluations.map(({ step, values, majority }) => ({
        ...measured(step, values),
        ...(majority !== null && { majority_accuracy: majority }),
      })),
      marks,
    };
  }

  /**
   * Returns at most `limit` evenly spaced steps, including the first and the last one. Each is found by the
   * index.
   */
  private steps(jobId: string, limit: number): Promise<StepRow[]> {
    return this.database.query<StepRow>(
      `WITH ends AS (
         SELECT (SELECT step FROM metric WHERE job_id = $1 ORDER BY step LIMIT 1) AS first,
           (SELECT step FROM metric WHERE job_id = $1 ORDER BY step DESC LIMIT 1) AS last
       ), wanted AS (
         SELECT generate_series(first, last,
           CASE WHEN last - first < $2 THEN 1 ELSE ceil((last - first + 1)::float8 / ($2 - 1))::int END) AS at FROM ends
         UNION SELECT last FROM ends
       )
       SELECT DISTINCT ON (found.step) found.* FROM wanted, LATERAL (
         SELECT step, "values", seconds, tokens, rss_bytes::float8 FROM metric WHERE job_id = $1 AND step = (
           SELECT step FROM metric WHERE job_id = $1 AND step >= wanted.at ORDER BY step LIMIT 1)
         ORDER BY attempt DESC LIMIT 1) AS found
       ORDER BY found.step`,
      [jobId, limit],
    );
  }

  private evaluations(jobId: string, manager?: EntityManager): Promise<EvaluationRow[]> {
    return this.database.query<EvaluationRow>(
      `SELECT DISTINCT ON (step) step, "values", (confusion->>'majority')::float8 AS majority
       FROM evaluation WHERE job_id = $1 ORDER BY step, attempt DESC, "full" DESC`,
      [jobId],
      manager,
    );
  }

  private marks(jobId: string): Promise<MetricsObject['marks'][number][]> {
    return this.database.query(
      `SELECT DISTINCT step, kind FROM (
         SELECT from_step AS step, 'attempt' AS kind FROM attempt
           WHERE job_id = $1 AND started_at IS NOT NULL AND number > (SELECT min(number) FROM attempt WHERE job_id = $1)
         UNION ALL SELECT step, 'checkpoint' FROM checkpoint WHERE job_id = $1
       ) marks ORDER BY step, kind`,
      [jobId],
    );
  }

  /** Metrics of the newest attempt at each of these steps, by step. */
  async at(jobId: string, steps: readonly number[]): Promise<Map<number, Measured>> {
    if (steps.length === 0) return new Map();
    // Join by attempt, so that each row is found by the primary key.
    const rows = await this.database.query<StepRow>(
      `SELECT DISTINCT ON (step) step, "values", seconds, tokens, rss_bytes::float8
       FROM attempt JOIN metric ON metric.job_id = attempt.job_id AND metric.attempt = attempt.number
       WHERE attempt.job_id = $1 AND metric.step = ANY($2) ORDER BY step, attempt.number DESC`,
      [jobId, steps],
    );
    return new Map(rows.map((row) => [row.step, stepMeasured(row)]));
  }

  /**
   * Result file in OpenAI's format: one line per step, with empty cells where nothing was measured. Call it
   * once per transaction.
   */
  async *csv(jobId: string, manager: EntityManager): AsyncGenerator<Buffer> {
    const evaluations = new Map(
      (await this.evaluations(jobId, manager)).map((row) => [row.step, row.values]),
    );
    const columns = csvColumns(await this.task(jobId, manager), {
      train: await this.names(jobId, manager),
      valid: [...evaluations.values()].flatMap((values) => Object.keys(values)),
    });
    yield Buffer.from(['step', ...columns.map(({ title }) => title)].join(',') + '\n');
    // Use a cursor to sort once: a query per page would sort the remaining rows each time.
    await this.database.query(
      `DECLARE curve NO SCROLL CURSOR FOR
         SELECT DISTINCT ON (step) step, "values" FROM metric WHERE job_id = $1 ORDER BY step, attempt DESC`,
      [jobId],
      manager,
    );
    for (;;) {
      const page = await this.database.query<Pick<StepRow, 'step' | 'values'>>(
        'FETCH 5000 FROM curve',
        [],
        manager,
      );
      if (page.length === 0) return;
      const lines = page.map(({ step, values: train }) => {
        const rows = { train, valid: evaluations.get(step) ?? {} };
        return [step, ...columns.map(({ of, name }) => rows[of][name] ?? '')].join(',') + '\n';
      });
      yield Buffer.from(lines.join(''));
    }
  }

  private async task(jobId: string, manager: EntityManager): Promise<string> {
    const [row] = await this.database.query<{ task: string }>(
      `SELECT spec->>'task' AS task FROM job WHERE id = $1`,
      [jobId],
      manager,
    );
    return row?.task ?? '';
  }

  /**
   * Returns the names of all metrics of a job's steps. Most steps have the same names, so each query searches
   * for a step with a name that is not known yet.
   */
  private async names(jobId: string, manager: EntityManager): Promise<string[]> {
    const names = new Set<string>();
    for (;;) {
      const [other] = await this.database.query<Pick<StepRow, 'values'>>(
        `SELECT "values" FROM metric WHERE job_id = $1 AND "values" - $2::text[] <> '{}' LIMIT 1`,
        [jobId, [...names]],
        manager,
      );
      if (!other) return [...names];
      for (const name of Object.keys(other.values)) names.add(name);
    }
  }
}

/**
 * Cumulative sums at the end of each step. A step that is missing counts like the next one that is present.
 */
export function sumMeasured(
  rows: readonly Pick<StepRow, 'step' | 'seconds' | 'tokens'>[],
  of: 'seconds' | 'tokens',
): number[] {
  let [sum, last] = [0, 0];
  return rows.map((row) => {
    sum += row[of] * Math.max(1, row.step - last);
    last = row.step;
    return sum;
  });
}

function stepMeasured({ step, values, seconds, tokens }: StepRow): Measured {
  return { ...measured(step, values), tokens_per_second: seconds > 0 ? tokens / seconds : null };
}
