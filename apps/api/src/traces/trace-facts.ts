import { EVAL_SCORE, type EvalRunStatus } from '@graft/contracts';
import { Injectable } from '@nestjs/common';
import { Database } from '../database/database.js';
import type { Attempt, Job } from '../database/entities/job.js';

export type TracedJob = Pick<
  Job,
  | 'id'
  | 'project_id'
  | 'base_id'
  | 'model'
  | 'pool'
  | 'suffix'
  | 'spec'
  | 'state'
  | 'error'
  | 'step'
  | 'total_steps'
  | 'trained_tokens'
  | 'fine_tuned_model'
  | 'received_at'
  | 'created_at'
  | 'finished_at'
>;

export type TracedAttempt = Pick<
  Attempt,
  'number' | 'worker_name' | 'assigned_at' | 'started_at' | 'ended_at' | 'outcome' | 'from_step'
> & {
  /** Last step that the attempt made; null if it made none. */
  readonly last_step: number | null;
};

/** Consecutive steps of an attempt that no earlier attempt reached, without an evaluation in between. */
export interface StepGroup {
  /** Number of the last step's event. */
  readonly number: number;
  readonly attempt: number;
  readonly first: number;
  readonly last: number;
  /** End of the first and of the last step. */
  readonly first_at: Date;
  readonly last_at: Date;
  /** Compute time of the first step and of all steps, without waits for other runs. */
  readonly first_seconds: number;
  readonly seconds: number;
  readonly tokens: number;
}

export interface Mark {
  /** Number of its event. */
  readonly number: number;
  readonly kind: 'evaluation' | 'checkpoint' | 'paused' | 'resumed';
  readonly at: Date;
  readonly step: number | null;
  /** Time at which the run reached the step of a checkpoint. */
  readonly since: Date | null;
}

/** Log line: a phase of an attempt before training, or a warning. */
export interface Line {
  readonly at: Date;
  readonly level: 'info' | 'warn' | 'error';
  readonly code: string | null;
  readonly message: string;
}

/** Eval run that scores a checkpoint while training continues. */
export interface TracedEval {
  readonly id: string;
  readonly step: number;
  readonly status: EvalRunStatus;
  readonly at: Date;
  /** End of the last finished item. */
  readonly last_at: Date | null;
}

/** Recorded times of a job's history, from which its trace is computed. */
export interface TraceFacts {
  readonly job: TracedJob;
  readonly attempts: readonly TracedAttempt[];
  readonly steps: readonly StepGroup[];
  readonly marks: readonly Mark[];
  readonly evals: readonly TracedEval[];
  readonly phases: readonly Line[];
  readonly warnings: readonly Line[];
  /** The database's time when these were read. */
  readonly now: Date;
}

/** Approximate limits of spans per kind: more steps are grouped; of more evaluations, every n-th is shown. */
const MOST_GROUPS = 200;
const MOST_MARKS = 500;
const MOST_LINES = 500;

/** SQL: an event of an evaluation by the trainer. Excludes scores of evals, which arrive at any time. */
const IS_EVALUATION = `(kind = 'evaluation' AND NOT (data ? '${EVAL_SCORE}'))`;

/** Reads the facts of a trace. They come from database rows only, so a restart loses none. */
@Injectable()
export class TraceFactsReader {
  constructor(private readonly database: Database) {}

  async of(job: TracedJob): Promise<TraceFacts> {
    const now = await this.database.now();
    const { evaluations } = await this.counts(job.id);
    const stride = Math.max(1, Math.ceil(evaluations / MOST_MARKS));
    return {
      job,
      now,
      attempts: await this.attempts(job.id),
      steps: await this.steps(job, stride),
      marks: await this.marks(job.id, stride),
      evals: await this.evals(job.id),
      phases: await this.lines(job.id, `type = 'log' AND data->>'source' = 'worker'`),
      warnings: await this.lines(job.id, `type = 'message' AND level <> 'info'`),
    };
  }

  private async counts(id: string): Promise<{ evaluations: number }> {
    const [row] = await this.database.query<{ evaluations: number }>(
      `SELECT count(*)::int AS evaluations FROM event WHERE job_id = $1 AND ${IS_EVALUATION}`,
      [id],
    );
    return row ?? { evaluations: 0 };
  }

  private attempts(id: string): Promise<TracedAttempt[]> {
    return this.database.query<TracedAttempt>(
      `SELECT number, worker_name, assigned_at, started_at, ended_at, outcome, from_step,
         (SELECT step FROM metric WHERE job_id = $1 AND attempt = number ORDER BY step DESC LIMIT 1) AS last_step
       FROM attempt WHERE job_id = $1 ORDER BY number`,
      [id],
    );
  }

  /**
   * A step has one event, from the attempt that made it first. The group size depends only on what is known
   * before the job ends.
   */
  private steps(job: TracedJob, stride: number): Promise<StepGroup[]> {
    const size = Math.max(1, Math.ceil(Math.max(job.total_steps ?? 0, job.step) / MOST_GROUPS));
    return this.database.query<StepGroup>(
      `WITH numbered AS (
         SELECT number, kind, created_at AS at, (data->>'step')::int AS step,
           count(*) FILTER (WHERE kind = 'evaluation') OVER (ORDER BY number) / $3::int AS part
         FROM event WHERE job_id = $1 AND (kind = 'step' OR ${IS_EVALUATION})
       )
       SELECT attempt, max(number) AS number, min(numbered.step) AS first, max(numbered.step) AS last, min(at) AS first_at, max(at) AS last_at,
         (array_agg(seconds ORDER BY number))[1] AS first_seconds, sum(seconds)::float8 AS seconds,
         sum(tokens)::float8 AS tokens
       FROM numbered, LATERAL (
         SELECT attempt, seconds, tokens FROM metric WHERE job_id = $1 AND step = numbered.step ORDER BY attempt LIMIT 1) AS made
       WHERE kind = 'step' GROUP BY attempt, (numbered.step - 1) / $2::int, part ORDER BY min(number)`,
      [job.id, size, stride],
    );
  }

  private marks(id: string, stride: number): Promise<Mark[]> {
    return this.database.query<Mark>(
      `WITH numbered AS (
         SELECT number, kind, created_at AS at, (data->>'step')::int AS step,
           row_number() OVER (PARTITION BY kind ORDER BY number) AS nth, count(*) OVER (PARTITION BY kind) AS count
         FROM event WHERE job_id = $1 AND (kind IN ('checkpoint', 'paused', 'resumed') OR ${IS_EVALUATION})
       ), reached AS (
         SELECT (data->>'step')::int AS step, max(created_at) AS since FROM event
         WHERE job_id = $1 AND (kind = 'step' OR ${IS_EVALUATION})
           AND (data->>'step')::int IN (SELECT step FROM numbered WHERE kind = 'checkpoint') GROUP BY 1
       )
       SELECT number, kind, at, numbered.step, CASE WHEN kind = 'checkpoint' THEN since END AS since
       FROM numbered LEFT JOIN reached ON reached.step = numbered.step
       WHERE CASE kind WHEN 'evaluation' THEN nth % $2::int = 0
         WHEN 'checkpoint' THEN nth % GREATEST(1, ceil(count::float8 / ${MOST_MARKS})::int) = 0 ELSE true END
       ORDER BY number`,
      [id, stride],
    );
  }

  private evals(id: string): Promise<TracedEval[]> {
    return this.database.query<TracedEval>(
      `SELECT id, step, status, created_at AS at,
         (SELECT max(done_at) FROM eval_item WHERE run_id = eval_run.id) AS last_at
       FROM eval_run WHERE job_id = $1 ORDER BY step LIMIT ${MOST_MARKS}`,
      [id],
    );
  }

  private lines(id: string, which: string): Promise<Line[]> {
    return this.database.query<Line>(
      `SELECT created_at AS at, level, data->>'code' AS code, message FROM event WHERE job_id = $1 AND ${which}
       ORDER BY number LIMIT ${MOST_LINES}`,
      [id],
    );
  }
}
