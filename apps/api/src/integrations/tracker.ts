import type { IntegrationType, JobStatus } from '@graft/contracts';
import type { Job } from '../database/entities/job.js';
import type { Integration, IntegrationRun } from '../database/entities/integrations.js';
import type { Point } from '../history/job-points.js';
import type { z } from 'zod';

/** Data of a job that its run contains. */
export type TrackedJob = Pick<
  Job,
  | 'id'
  | 'model'
  | 'spec'
  | 'suffix'
  | 'training_file'
  | 'validation_file'
  | 'fine_tuned_model'
  | 'started_at'
  | 'finished_at'
> & { readonly state: JobStatus; readonly settings: IntegrationRun['settings'] };

export type Connection = Pick<Integration, 'url' | 'username' | 'secret'>;

export interface TrackerRequest {
  readonly method: 'GET' | 'POST';
  /** Path after the tracker's address. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

/** Sends a request to a tracker and returns the JSON of its response. @throws TrackerError */
export type SendRequest = (connection: Connection, request: TrackerRequest) => Promise<unknown>;

/** State of a run that the tracker's module stores in the database, as JSON. */
export type RemoteRun = Readonly<Record<string, unknown>>;

/**
 * Type of server that runs are sent to. One process at a time sends a run, but it may stop before its
 * progress is stored. So each method may be called again with the same arguments and must be idempotent.
 */
export interface Tracker {
  readonly type: IntegrationType;
  /** Heartbeat, for trackers that mark a run as crashed after some minutes without data. */
  beat?(ask: SendRequest, connection: Connection, remote: RemoteRun): Promise<void>;
  /** Finds or creates the job's run. */
  open(
    ask: SendRequest,
    connection: Connection,
    job: TrackedJob,
  ): Promise<{ readonly remote: RemoteRun; readonly url: string }>;
  /** Appends points. Returns the new state of the run. */
  send(
    ask: SendRequest,
    connection: Connection,
    remote: RemoteRun,
    job: TrackedJob,
    points: readonly Point[],
  ): Promise<RemoteRun>;
  /** Sends the job's final state. */
  finish(
    ask: SendRequest,
    connection: Connection,
    remote: RemoteRun,
    job: TrackedJob,
  ): Promise<void>;
}

/** Error of a request to a tracker. */
export class TrackerError extends Error {
  constructor(
    message: string,
    /** HTTP status; null without a readable response. */
    readonly status: number | null,
    /** Error code of the tracker. */
    readonly code: string | null = null,
  ) {
    // PostgreSQL's text type cannot contain NUL.
    super(message.replaceAll('\0', '').slice(0, 300));
  }

  /** Whether the error may concern only this run, and not the server, the key or the rate of requests. */
  get isOfRun(): boolean {
    const { status } = this;
    return (
      status !== null && status >= 400 && status < 500 && ![401, 408, 425, 429].includes(status)
    );
  }

  /** Whether rights are missing, for this run's project or for all. They may be granted later. */
  get isForbidden(): boolean {
    return this.status === 403;
  }
}

/** Parses a response. @throws TrackerError for any other JSON, which is not an error of the run */
export function parseResponse<T>(form: z.ZodType<T>, answer: unknown, { url }: Connection): T {
  const read = form.safeParse(answer);
  if (read.success) return read.data;
  throw new TrackerError(
    `answered with unexpected JSON; check that ${url} is the address of the tracker`,
    null,
  );
}

/** Name of a run: as requested, or the job's suffix or ID. */
export const runName = ({ settings, suffix, id }: TrackedJob): string =>
  settings.name ?? suffix ?? id;

/** Config of a run: the job's spec, model and files. */
export const configOf = (job: TrackedJob): Record<string, unknown> => ({
  ...job.spec,
  fine_tuning_job: job.id,
  model: job.model,
  training_file: job.training_file,
  validation_file: job.validation_file,
});

/** Numbers that JSON does not have (NaN, Infinity) as strings. */
export const jsonNumber = (value: number): number | string =>
  Number.isFinite(value) ? value : String(value);

export const basic = (name: string, secret: string): string =>
  `Basic ${Buffer.from(`${name}:${secret}`).toString('base64')}`;
