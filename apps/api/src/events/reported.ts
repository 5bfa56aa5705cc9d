import { DomainError, MAX_INTEGER, readRunEvent, type RunEvent } from '@graft/contracts';
import type { Event } from '@graft/contracts/grpc';
import type { EntityManager } from 'typeorm';
import type { Job } from '../database/entities/job.js';
import { storableText } from '../database/jsonb.js';
import type { Progress } from './progress.js';

/**
 * Context in which an event of an attempt is applied. The job's row is locked, and the attempt is its current one.
 */
export interface Reported {
  readonly manager: EntityManager;
  readonly job: Job;
  /** Changes of the row, which are written once at the end of the batch. */
  readonly progress: Progress;
  /** Time of the event, by the worker's clock. */
  readonly at: Date;
}

/** An event whose payload matches its schema. */
export interface ReadEvent {
  readonly jobId: string;
  readonly attempt: number;
  readonly sequence: number;
  readonly atUnixMs: number;
  /** `null` for a kind that this build does not know because the worker is newer. */
  readonly event: RunEvent | null;
}

/** Whether the event's ids are in the range that the database can store. */
export const canExist = ({ jobId, attempt }: Pick<Event, 'jobId' | 'attempt'>): boolean =>
  attempt <= MAX_INTEGER && jobId === storableText(jobId);

export const payloadText = ({ payload }: Pick<Event, 'payload'>): string =>
  Buffer.from(payload.buffer, payload.byteOffset, payload.length).toString();

/**
 * Parses the payload of an event.
 * @throws DomainError naming the field that cannot be stored
 */
export function readEvent(reported: Event): ReadEvent {
  const { jobId, attempt, sequence, atUnixMs, kind } = reported;
  if (sequence > MAX_INTEGER)
    throw new DomainError(
      'invalid_value',
      `sequence: expected an integer ≤ ${MAX_INTEGER}, got ${sequence}`,
    );
  const event = readRunEvent(kind, payloadText(reported), { mayBeNewer: true });
  return { jobId, attempt, sequence, atUnixMs, event };
}
