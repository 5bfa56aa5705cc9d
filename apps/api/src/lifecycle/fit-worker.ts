import { OPERATION_TASK } from '@graft/contracts';
import { OLDEST_WORDS } from '../catalog/plugins.js';

/** SQL that holds of a worker whose slots are given jobs; a placeholder of a lease's milliseconds. */
export const takesJobs = (leaseMs: string): string =>
  `worker.state = 'online' AND NOT worker.cordoned
   AND worker.last_seen_at > clock_timestamp() - ${leaseMs} * interval '1 millisecond'`;

/**
 * Rows of the worker where it is well: the session is its current one, its join token stands, and a
 * heartbeat of it came within a lease. Placeholders of its id, its session's id and a lease's milliseconds.
 */
export const fitWorker = (id: string, session: string, leaseMs: string): string =>
  `SELECT 1 FROM worker JOIN join_token ON join_token.id = join_token_id
   WHERE worker.id = ${id} AND session_id = ${session} AND revoked_at IS NULL
     AND last_seen_at > clock_timestamp() - ${leaseMs} * interval '1 millisecond'`;

/**
 * SQL: what a worker's build does beside training, as the Hello of its current session says. That of an API process which
 * knows of no tasks leaves those of an earlier session behind, maybe another build's: they count no more.
 */
export const TASKS = `CASE WHEN worker.tasks_session = worker.session_id THEN worker.tasks ELSE '[]' END`;

/** SQL: what a worker's build must be able to do for a job; null where any will do. */
export const NEEDS = `CASE WHEN spec ? 'operation' THEN '${OPERATION_TASK}' || (spec #>> '{operation,type}') END`;

/** Words as `worker.words` has them. */
export const asKeys = (words: readonly string[]): string =>
  JSON.stringify(Object.fromEntries(words.map((word) => [word, true])));

const ofSession = (known: string, unknown: string): string =>
  `CASE WHEN worker.words_session = worker.session_id THEN ${known} ELSE ${unknown} END`;

/**
 * SQL: words (peft-core's build-words) of what a worker's build can do, as keys, by the Hello of its current session. Where
 * an API process took that which writes none, they are those of the oldest build. They are the worker's, and not what it
 * lacks of ours: a job may have been made by a process of a later build. In memory from here on (`||`): not unpacked again
 * for each job that they are held against.
 */
export const KNOWS = `(${ofSession('worker.words', `'${asKeys(OLDEST_WORDS).replaceAll("'", "''")}'::jsonb`)} || '{}'::jsonb)`;

/** SQL: the same of all workers that can do the same. */
export const BUILD = ofSession('worker.build', `(${TASKS})::text`);

/** SQL: builds of the workers that a condition holds of, by pool: `pool`, `build` (BUILD), `tasks` (TASKS), `knows` (KNOWS). */
export const buildsOf = (condition: string): string =>
  `SELECT worker.pool, ${BUILD} AS build, ${TASKS} AS tasks, ${KNOWS} AS knows FROM worker
   WHERE worker.id IN (SELECT min(worker.id) FROM worker WHERE ${condition} GROUP BY worker.pool, ${BUILD})`;
