import { SCHEMA_VERSION } from '@graft/contracts';

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
 * SQL: the highest schema version of a job that this process can give a worker. The version in a worker's row is that of
 * its build or of the API process that its stream ends at, whichever is lower (Workers.hello).
 */
export const TAKES_VERSION = `LEAST(worker.schema_version, ${SCHEMA_VERSION})`;
