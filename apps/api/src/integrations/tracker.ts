import type { IntegrationType, JobStatus } from '@graft/contracts';
import type { Job } from '../database/entities/job.js';
import type { Integration, IntegrationRun } from '../database/entities/integrations.js';
import type { Point } from '../history/job-points.js';
import type { z } from 'zod';

/** A job as its run is told of it. */
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
  /** After the tracker's address. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

/** Asks a tracker, and answers with its JSON. @throws TrackerRefusal */
export type Ask = (connection: Connection, request: TrackerRequest) => Promise<unknown>;

/** What a tracker's file keeps of a run, in the database: as JSON. */
export type Remote = Readonly<Record<string, unknown>>;

/**
 * A kind of server that runs are written to. A run is written by one process at a time, but what a process did may
 * not have been recorded before it was lost: each of these may be called again with the same, and must come to the same.
 */
export interface Tracker {
  readonly type: IntegrationType;
  /** Takes a run for dead where nothing comes for minutes: it is told now and then that it is not. */
  beat?(ask: Ask, connection: Connection, remote: Remote): Promise<void>;
  /** Finds the job's run, or makes it. */
  open(
    ask: Ask,
    connection: Connection,
    job: TrackedJob,
  ): Promise<{ readonly remote: Remote; readonly url: string }>;
  /** Adds points after those that are there; answers with what to keep of the run now. */
  send(
    ask: Ask,
    connection: Connection,
    remote: Remote,
    job: TrackedJob,
    points: readonly Point[],
  ): Promise<Remote>;
  /** Says how the job ended. */
  finish(ask: Ask, connection: Connection, remote: Remote, job: TrackedJob): Promise<void>;
}

/** A tracker that did not do what it was asked. */
export class TrackerRefusal extends Error {
  constructor(
    message: string,
    /** HTTP status; null: there was no answer that could be read. */
    readonly status: number | null,
    /** What the tracker calls it. */
    readonly code: string | null = null,
  ) {
    // Postgres text cannot hold NUL.
    super(message.replaceAll('\0', '').slice(0, 300));
  }

  /** Whether it may be about this one run, and is not about the server, the key or how many requests came. */
  get isOfRun(): boolean {
    const { status } = this;
    return (
      status !== null && status >= 400 && status < 500 && ![401, 408, 425, 429].includes(status)
    );
  }

  /** Whether rights are lacking: those to one run's place there, or all of them, which may be given back. */
  get isForbidden(): boolean {
    return this.status === 403;
  }
}

/** An answer in the tracker's form. @throws TrackerRefusal for any other JSON, which says nothing of the run */
export function answerOf<T>(form: z.ZodType<T>, answer: unknown, { url }: Connection): T {
  const read = form.safeParse(answer);
  if (read.success) return read.data;
  throw new TrackerRefusal(
    `answered with unexpected JSON; check that ${url} is the address of the tracker`,
    null,
  );
}

/** How a run is called where nobody said so. */
export const runName = ({ settings, suffix, id }: TrackedJob): string =>
  settings.name ?? suffix ?? id;

/** What a person looks up of a job: its spec, and what it was made of. */
export const configOf = (job: TrackedJob): Record<string, unknown> => ({
  ...job.spec,
  fine_tuning_job: job.id,
  model: job.model,
  training_file: job.training_file,
  validation_file: job.validation_file,
});

/** By name, where JSON has no such number. */
export const jsonNumber = (value: number): number | string =>
  Number.isFinite(value) ? value : String(value);

export const basic = (name: string, secret: string): string =>
  `Basic ${Buffer.from(`${name}:${secret}`).toString('base64')}`;
