import { JOB_STATUSES, type JobStatus, type ProjectDeletionObject } from '@graft/contracts';
import type { Database } from '../database/database.js';

/** Counts stop at this number, so that each statement is fast in a project of any size. */
const MOST_COUNTED = 10_000;

type Contents = Pick<ProjectDeletionObject, 'deletes' | 'keeps' | 'at_least'>;
type Kind = Exclude<keyof (Contents['deletes'] & Contents['keeps']), 'events' | 'stored_bytes'>;

/** SQL: up to `MOST_COUNTED` rows of a table with project $1. */
const rowsOf = (table: string): string =>
  `SELECT * FROM ${table} WHERE project_id = $1 LIMIT ${MOST_COUNTED}`;

/** SQL for the rows of project $1, by kind. */
const ROWS: Readonly<Record<Kind, string>> = {
  jobs: rowsOf('job'),
  checkpoints: `SELECT 1 FROM (${rowsOf('job')}) AS job JOIN checkpoint ON checkpoint.job_id = job.id`,
  files: rowsOf('file'),
  uploads: rowsOf('upload'),
  models: rowsOf('model'),
  sweeps: rowsOf('sweep'),
  evals: rowsOf('eval'),
  // eval_run has an index on the eval, but none on the project.
  eval_runs: `SELECT 1 FROM (${rowsOf('eval')}) AS eval JOIN eval_run ON eval_run.eval_id = eval.id`,
  responses: rowsOf('response'),
  batches: rowsOf('batch'),
  webhook_endpoints: rowsOf('webhook_endpoint'),
  integrations: rowsOf('integration'),
  api_keys: rowsOf('api_key'),
  members: rowsOf('member'),
  audit_logs: rowsOf('audit'),
};

/** Kinds that are counted only for the counted rows of another kind. */
const COUNTED_WITHIN: Readonly<Record<string, Kind>> = {
  checkpoints: 'jobs',
  events: 'jobs',
  eval_runs: 'evals',
};

/** Counts the rows of a project by kind. `at_least` lists kinds that may have more rows. */
export async function contentsOf(
  database: Database,
  id: string,
  storedBytes: number,
): Promise<Contents> {
  const { jobs, events } = await jobsOf(database, id);
  const rows: Partial<Record<string, number>> = {};
  for (const [kind, sql] of Object.entries(ROWS)) rows[kind] = await countOf(database, sql, id);
  const { audit_logs, ...deletes } = rows as Record<Kind, number>;
  const isFull = (kind: string): boolean => rows[kind] === MOST_COUNTED;
  return {
    deletes: { ...deletes, jobs, events, stored_bytes: storedBytes },
    keeps: { audit_logs },
    at_least: [...Object.keys(ROWS), 'events'].filter(
      (kind) => isFull(kind) || isFull(COUNTED_WITHIN[kind] ?? kind),
    ),
  };
}

async function countOf(database: Database, rows: string, id: string): Promise<number> {
  const [row] = await database.query<{ count: number }>(
    `SELECT count(*)::int AS count FROM (SELECT 1 FROM (${rows}) AS one LIMIT ${MOST_COUNTED}) AS counted`,
    [id],
  );
  return row?.count ?? 0;
}

/** Counts jobs by status, and their events. */
async function jobsOf(
  database: Database,
  id: string,
): Promise<Pick<Contents['deletes'], 'jobs' | 'events'>> {
  const states = await database.query<{ state: JobStatus; count: number; events: number }>(
    `SELECT state, count(*)::int AS count, sum(event_counter)::float8 AS events
     FROM (${rowsOf('job')}) AS job GROUP BY state`,
    [id],
  );
  const countIn = (status: JobStatus): number =>
    states.find(({ state }) => state === status)?.count ?? 0;
  return {
    jobs: Object.fromEntries(
      JOB_STATUSES.map((status) => [status, countIn(status)]),
    ) as Contents['deletes']['jobs'],
    events: states.reduce((sum, { events }) => sum + events, 0),
  };
}
