import { Injectable } from '@nestjs/common';
import type {
  CompletionsUsagePage,
  EmbeddingsUsagePage,
  InferenceUsagePage,
  TrainingUsagePage,
} from '@graft/contracts';
import { isAdmin, type Principal } from '../auth/principal.js';
import { Database } from '../database/database.js';
import { USAGE_KINDS, type UsageKind } from '../database/entities/tenancy.js';
import { ownProject } from './own-project.js';
import { pageName, usageQuery, type UsageQuery } from './usage-query.js';

type Query = Record<string, unknown>;

interface Group {
  /** Number of the bucket in the page, from 0. */
  readonly bucket: number;
  readonly project_id: string | null;
  readonly model: string | null;
}

interface Used extends Group {
  readonly requests: number;
  readonly input: number;
  readonly output: number;
  readonly seconds: number;
}

interface Jobs extends Group {
  readonly created: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly cancelled: number;
}

/** Kinds of requests to models. */
const REQUESTS = USAGE_KINDS.filter((kind) => kind !== 'training');

const NOT_KEPT = { user_id: null, api_key_id: null };

/** Usage of projects over time, as pages of buckets. */
@Injectable()
export class UsageReports {
  constructor(private readonly database: Database) {}

  async completions(caller: Principal, query: Query): Promise<CompletionsUsagePage> {
    const asked = parsed(caller, query);
    return page(asked, await this.used(asked, ['completions']), (row) => ({
      object: 'organization.usage.completions.result',
      input_tokens: row.input,
      output_tokens: row.output,
      num_model_requests: row.requests,
      input_cached_tokens: 0,
      input_audio_tokens: 0,
      output_audio_tokens: 0,
      project_id: row.project_id,
      model: row.model,
      ...NOT_KEPT,
      batch: null,
    }));
  }

  async embeddings(caller: Principal, query: Query): Promise<EmbeddingsUsagePage> {
    const asked = parsed(caller, query);
    return page(asked, await this.used(asked, ['embeddings']), (row) => ({
      object: 'organization.usage.embeddings.result',
      input_tokens: row.input,
      num_model_requests: row.requests,
      project_id: row.project_id,
      model: row.model,
      ...NOT_KEPT,
    }));
  }

  async inference(caller: Principal, query: Query): Promise<InferenceUsagePage> {
    const asked = parsed(caller, query);
    return page(asked, await this.used(asked, REQUESTS), (row) => ({
      object: 'graft.usage.inference.result',
      input_tokens: row.input,
      output_tokens: row.output,
      num_model_requests: row.requests,
      project_id: row.project_id,
      model: row.model,
    }));
  }

  async training(caller: Principal, query: Query): Promise<TrainingUsagePage> {
    const asked = parsed(caller, query);
    const [used, jobs] = await Promise.all([this.used(asked, ['training']), this.jobs(asked)]);
    const key = ({ bucket, project_id, model }: Group): string =>
      JSON.stringify([bucket, project_id, model]);
    const usedBy = new Map(used.map((row) => [key(row), row]));
    const jobsBy = new Map(jobs.map((row) => [key(row), row]));
    const groups = new Map<string, Group>([...used, ...jobs].map((row) => [key(row), row]));
    return page(asked, [...groups.values()], (group) => {
      const [spent, counts] = [usedBy.get(key(group)), jobsBy.get(key(group))];
      return {
        object: 'graft.usage.training.result',
        training_seconds: Math.round((spent?.seconds ?? 0) * 10) / 10,
        trained_tokens: spent?.input ?? 0,
        jobs_created: counts?.created ?? 0,
        jobs_succeeded: counts?.succeeded ?? 0,
        jobs_failed: counts?.failed ?? 0,
        jobs_cancelled: counts?.cancelled ?? 0,
        project_id: group.project_id,
        model: group.model,
      };
    });
  }

  private used(asked: UsageQuery, kinds: readonly UsageKind[]): Promise<Used[]> {
    return this.database.query<Used>(
      `SELECT ${bucketOf('hour')} AS bucket, ${groupColumns(asked, 'model')},
         sum(requests)::float8 AS requests, sum(input_tokens)::float8 AS input, sum(output_tokens)::float8 AS output,
         sum(seconds) AS seconds
       FROM usage_hour WHERE ${ofProjects('usage_hour')} AND kind = ANY($6)
         AND hour >= to_timestamp($1) AND hour < to_timestamp($2) AND ($5::text[] IS NULL OR model = ANY($5))
       GROUP BY 1, 2, 3 ORDER BY 1, 2, 3`,
      [...valuesOf(asked), kinds],
    );
  }

  /** Counts jobs that were created or have ended in the buckets. Jobs that were deleted permanently are missing. */
  private jobs(asked: UsageQuery): Promise<Jobs[]> {
    const ended = (state: string): string => `(count(*) FILTER (WHERE what = '${state}'))::int`;
    return this.database.query<Jobs>(
      `WITH marks AS (
         SELECT project_id, base_id, created_at AS at, 'created' AS what FROM job
         WHERE ${ofProjects('job')} AND created_at >= to_timestamp($1) AND created_at < to_timestamp($2)
         UNION ALL SELECT project_id, base_id, finished_at, state FROM job
         WHERE ${ofProjects('job')} AND updated_at >= to_timestamp($1)
           AND finished_at >= to_timestamp($1) AND finished_at < to_timestamp($2)
       )
       SELECT ${bucketOf('at')} AS bucket, ${groupColumns(asked, 'base_id')}, ${ended('created')} AS created,
         ${ended('succeeded')} AS succeeded, ${ended('failed')} AS failed, ${ended('cancelled')} AS cancelled
       FROM marks WHERE $5::text[] IS NULL OR base_id = ANY($5) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3`,
      [...valuesOf(asked)],
    );
  }
}

/** Values of the parameters $1 to $5 of the statements. */
const valuesOf = ({ start, end, width, projects, models }: UsageQuery): unknown[] => [
  start,
  end,
  width,
  projects,
  models,
];

const bucketOf = (time: string): string =>
  `floor((EXTRACT(EPOCH FROM ${time}) - $1::float8) / $3::float8)::int`;

/** SQL condition: rows of the selected projects. The subquery lets each project use an index. */
const ofProjects = (table: string): string =>
  `${table}.project_id IN (SELECT id FROM project WHERE $4::text[] IS NULL OR id = ANY($4))`;

/** SQL: the columns that results are grouped by, or null. */
const groupColumns = ({ groups }: UsageQuery, model: string): string =>
  `${groups.includes('project_id') ? 'project_id' : 'NULL::text'} AS project_id,
   ${groups.includes('model') ? model : 'NULL::text'} AS model`;

/** Parses the query. Callers who are no administrators get the usage of their own project. */
function parsed(caller: Principal, query: Query): UsageQuery {
  const asked = usageQuery(query, Math.ceil(Date.now() / 1000));
  for (const id of asked.projects ?? []) ownProject(caller, id);
  return isAdmin(caller) ? asked : { ...asked, projects: [caller.projectId] };
}

interface UsagePage<R> {
  readonly object: 'page';
  readonly data: readonly {
    readonly object: 'bucket';
    readonly start_time: number;
    readonly end_time: number;
    readonly results: readonly R[];
  }[];
  readonly has_more: boolean;
  readonly next_page: string | null;
}

function page<G extends Group, R>(
  { start, end, width, next }: UsageQuery,
  rows: readonly G[],
  result: (row: G) => R,
): UsagePage<R> {
  const data = Array.from({ length: Math.ceil((end - start) / width) }, (_, n) => ({
    object: 'bucket' as const,
    start_time: start + n * width,
    end_time: start + (n + 1) * width,
    results: rows.filter(({ bucket }) => bucket === n).map(result),
  }));
  return { object: 'page', data, has_more: next !== null, next_page: pageName(next) };
}
