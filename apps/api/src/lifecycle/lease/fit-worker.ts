import { SCHEMA_VERSION } from '@graft/contracts';

/** SQL condition: the worker may get new jobs. `leaseMs` is the placeholder of the lease's milliseconds. */
export const acceptsJobs = (leaseMs: string): string =>
  `worker.state = 'online' AND NOT worker.cordoned
   AND worker.last_seen_at > clock_timestamp() - ${leaseMs} * interval '1 millisecond'`;

/**
 * SQL: selects the worker if it is fit: its session is current, its join token is valid and its last
 * heartbeat is at most one lease old. The parameters are placeholders of the worker's id, its session's id
 * and the lease's milliseconds.
 */
export const selectFitWorker = (id: string, session: string, leaseMs: string): string =>
  `SELECT 1 FROM worker JOIN join_token ON join_token.id = join_token_id
   WHERE worker.id = ${id} AND session_id = ${session} AND revoked_at IS NULL
     AND last_seen_at > clock_timestamp() - ${leaseMs} * interval '1 millisecond'`;

/**
 * SQL: highest schema version of a job that this process can assign to a worker. The worker's row contains
 * the lower version of its build and of the API process that it is connected to (Workers.hello).
 */
export const WORKER_VERSION = `LEAST(worker.schema_version, ${SCHEMA_VERSION})`;
