import { EVAL_SCORE } from '@graft/contracts';
import { Injectable } from '@nestjs/common';
import { Database } from '../database/database.js';
import type { StoredValues } from '../database/entities/job.js';
import { valueOf } from './metric-values.js';

/** Metrics of a step or an evaluation under their public names, such as `train/loss` and `valid/loss`. */
export interface Point {
  /** Number of the event that reported it. */
  readonly number: number;
  readonly at: Date;
  readonly step: number;
  /** Includes values that are not finite. */
  readonly values: Readonly<Record<string, number>>;
}

export interface PointRange {
  /** Event number to start after; 0 starts at the first event. */
  readonly after: number;
  /** Last event number to include: the job's event counter as read before. */
  readonly upTo: number;
  readonly limit: number;
}

interface PointRow {
  readonly number: number;
  readonly at: Date;
  readonly kind: 'step' | 'evaluation';
  readonly step: number;
  readonly values: StoredValues;
  readonly seconds: number | null;
  readonly tokens: number | null;
}

/**
 * SQL: an evaluation on a sample that is immediately followed by one on the whole data at the same step.
 * Without this condition, both would have the values of the evaluation on the whole data.
 */
const IS_REPLACED = `(event.kind = 'evaluation' AND NOT (event.data ? '${EVAL_SCORE}') AND COALESCE((
  SELECT kind = 'evaluation' AND data->'step' = event.data->'step' FROM event AS next
  WHERE next.job_id = event.job_id AND next.number > event.number AND next.number <= $3 AND next.type = 'metrics'
    AND NOT (next.data ? '${EVAL_SCORE}') ORDER BY next.number LIMIT 1), false))`;

/**
 * Metrics of a job in the order of its events. A client that passes the last event number it has seen
 * continues there, without gaps or duplicates. A step that is repeated after a resume has one event and is
 * always returned as its first attempt measured it. The score of an eval arrives later and has its own
 * event.
 */
@Injectable()
export class JobPoints {
  constructor(private readonly database: Database) {}

  async after(jobId: string, { after, upTo, limit }: PointRange): Promise<Point[]> {
    const rows = await this.database.query<PointRow>(
      `SELECT event.number, event.created_at AS at, event.kind, found.* FROM event, LATERAL (
         (SELECT step, "values", seconds, tokens FROM metric
          WHERE event.kind = 'step' AND job_id = event.job_id AND step = (event.data->>'step')::int
          ORDER BY attempt LIMIT 1)
         UNION ALL
         (SELECT step, CASE WHEN event.data ? '${EVAL_SCORE}'
            THEN jsonb_build_object('${EVAL_SCORE}', event.data->'${EVAL_SCORE}') ELSE "values" - '${EVAL_SCORE}' END, NULL, NULL
          FROM evaluation
          WHERE event.kind = 'evaluation' AND job_id = event.job_id AND step = (event.data->>'step')::int
          ORDER BY attempt LIMIT 1)) AS found
       WHERE event.job_id = $1 AND type = 'metrics' AND number > $2 AND number <= $3 AND NOT ${IS_REPLACED}
       ORDER BY number LIMIT $4`,
      [jobId, after, upTo, limit],
    );
    return rows.map(({ number, at, step, ...row }) => ({ number, at, step, values: pointOf(row) }));
  }
}

function pointOf({
  kind,
  values,
  seconds,
  tokens,
}: Pick<PointRow, 'kind' | 'values' | 'seconds' | 'tokens'>): Record<string, number> {
  const of = kind === 'step' ? TRAIN : VALID;
  const numbers = Object.keys(values).map((name) => [`${of}${name}`, valueOf(values, name)]);
  const all = Object.fromEntries(numbers) as Record<string, number>;
  if (seconds !== null && seconds > 0) all[TOKENS_PER_SECOND] = (tokens ?? 0) / seconds;
  return all;
}

export const TRAIN = 'train/';
export const VALID = 'valid/';
export const TOKENS_PER_SECOND = `${TRAIN}tokens_per_second`;
