import { Injectable } from '@nestjs/common';
import { EVAL_SCORE, type SweepMetric, type TrialObject, type TrialRung } from '@graft/contracts';
import { Database } from '../database/database.js';
import type { Job } from '../database/entities/job.js';
import { JOB_NAME } from '../history/job-name.js';
import { finite } from '../history/job-object.js';
import { IS_SCORING, MODEL_STEP } from '../lifecycle/sweep-ends.js';

type OfJob = Pick<
  Job,
  | 'id'
  | 'state'
  | 'step'
  | 'total_steps'
  | 'end_at_step'
  | 'valid_loss'
  | 'best'
  | 'fine_tuned_model'
  | 'error'
  | 'forgetting'
>;

type Summed =
  'id' | 'state' | 'step' | 'total_steps' | 'end_at_step' | 'valid_loss' | 'fine_tuned_model';

/** Values of a trial that are needed to summarize its sweep. */
export interface TrialSummary extends Pick<OfJob, Summed> {
  readonly sweep_id: string;
  readonly trial: number;
  /**
   * Set if trials are compared by it. For a succeeded trial, the score of its model, or of its last step if
   * its model has no score.
   */
  readonly eval_score: number | null;
  /** Whether the trial succeeded and an eval of its model is still running. */
  readonly scoring: boolean;
  /** `null` if there is no model or it was deleted. */
  readonly model_bytes: number | null;
  /** A deleted trial still counts for the status of its sweep but is not shown. */
  readonly deleted_at: Date | null;
}

export interface TrialRow extends TrialSummary, OfJob {
  readonly name: string;
  readonly trial_options: Readonly<Record<string, unknown>>;
  readonly run_bytes: number | null;
  readonly trainable_parameters: number | null;
  readonly seconds: number;
  readonly rungs: readonly TrialRung[] | null;
}

/**
 * SQL of the validation loss. For a succeeded trial, the loss of its model, which may be from an earlier step
 * (load_best_model_at_end), or the last loss if that step was not measured.
 */
const VALID_LOSS = `CASE WHEN job.state = 'succeeded' AND job.published_step < job.step THEN
    COALESCE((SELECT ("values"->>'loss')::float8 FROM evaluation WHERE job_id = job.id AND step = job.published_step
      AND "values" ? 'loss' ORDER BY attempt DESC LIMIT 1), valid_loss) ELSE valid_loss END AS valid_loss`;

const SUMMARY = `job.id, job.sweep_id, trial, job.state, job.step, total_steps, end_at_step, ${VALID_LOSS}, fine_tuned_model, job.deleted_at,
  model.bytes::float8 AS model_bytes,
  CASE WHEN sweep.search->>'metric' = '${EVAL_SCORE}' THEN
    (SELECT ("values"->>'${EVAL_SCORE}')::float8 FROM evaluation WHERE job_id = job.id AND "values" ? '${EVAL_SCORE}'
      AND (job.state <> 'succeeded' OR evaluation.step IN (${MODEL_STEP}, job.step))
      ORDER BY evaluation.step = ${MODEL_STEP} DESC, evaluation.step DESC LIMIT 1) END AS eval_score,
  ${IS_SCORING} AS scoring`;

const WHOLE = `${SUMMARY}, ${JOB_NAME} AS name, trial_options, best, job.error, forgetting, run_bytes::float8 AS run_bytes,
  trainable_parameters::float8 AS trainable_parameters,
  (SELECT COALESCE(sum(EXTRACT(EPOCH FROM COALESCE(ended_at, clock_timestamp()) - started_at)), 0)::float8
    FROM attempt WHERE job_id = job.id) AS seconds,
  (SELECT json_agg(json_build_object('step', rung.step, 'score', rung.score, 'kept', rung.kept) ORDER BY rung.step)
    FROM sweep_rung AS rung WHERE job_id = job.id) AS rungs`;

/** Reads the jobs of sweeps, including deleted ones, with the values by which they are compared. */
@Injectable()
export class Trials {
  constructor(private readonly database: Database) {}

  of(sweep: string): Promise<readonly TrialRow[]> {
    return this.read<TrialRow>(WHOLE, [sweep]);
  }

  /** Returns the trials of each sweep, with only the values that lists show. */
  async summaries(
    sweeps: readonly string[],
  ): Promise<ReadonlyMap<string, readonly TrialSummary[]>> {
    const bySweep = new Map<string, TrialSummary[]>(sweeps.map((id) => [id, []]));
    for (const row of await this.read<TrialSummary>(SUMMARY, sweeps))
      bySweep.get(row.sweep_id)?.push(row);
    return bySweep;
  }

  private read<R extends TrialSummary>(columns: string, sweeps: readonly string[]): Promise<R[]> {
    return this.database.query<R>(
      `SELECT ${columns} FROM job JOIN sweep ON sweep.id = job.sweep_id LEFT JOIN model
         ON model.id = fine_tuned_model AND model.project_id = job.project_id AND model.deleted_at IS NULL
       WHERE job.sweep_id = ANY($1) ORDER BY job.sweep_id, trial`,
      [sweeps],
    );
  }
}

export function trialObject(row: TrialRow, metric: SweepMetric): TrialObject {
  return {
    number: row.trial,
    job: row.id,
    name: row.name,
    options: row.trial_options,
    status: row.state,
    step: row.step,
    total_steps: row.total_steps,
    ended_at_step: endedEarly(row) ? row.end_at_step : null,
    score: scoreOf(row, metric),
    best: row.best,
    rungs: row.rungs ?? [],
    forgetting: row.forgetting,
    training_seconds: Math.round(row.seconds * 10) / 10,
    memory_bytes: row.run_bytes,
    trainable_parameters: row.trainable_parameters,
    model: row.fine_tuned_model,
    model_bytes: row.model_bytes,
    error: row.error,
  };
}

/**
 * Whether a trial was ended early at a rung. A trial that reached its last step before it received
 * the command is complete; a trial that failed or was cancelled ended for another reason.
 */
export const endedEarly = ({
  state,
  step,
  total_steps: total,
  end_at_step: rung,
}: TrialSummary): boolean =>
  rung !== null && state === 'succeeded' && (total === null || step < total);

export const scoreOf = (row: TrialSummary, metric: SweepMetric): number | null =>
  finite(metric === EVAL_SCORE ? row.eval_score : row.valid_loss);

/** Returns the best trial that has a model and a score; on a tie, the first. */
export function bestOf<R extends TrialSummary>(rows: readonly R[], metric: SweepMetric): R | null {
  const sign = metric === EVAL_SCORE ? -1 : 1;
  const worth = (row: R): number => sign * (scoreOf(row, metric) as number);
  return rows
    .filter((row) => row.state === 'succeeded' && row.model_bytes !== null)
    .filter((row) => scoreOf(row, metric) !== null)
    .reduce<R | null>((best, row) => (!best || worth(row) < worth(best) ? row : best), null);
}
