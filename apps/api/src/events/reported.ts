import { DomainError } from '@graft/contracts';
import type { BlobRef, Event } from '@graft/contracts/grpc';
import type { EntityManager } from 'typeorm';
import type { Job } from '../database/entities/job.js';
import { storableText } from '../database/jsonb.js';
import type { Progress } from './progress.js';

/** What an event of an attempt is applied to. The job's row is locked, and the attempt is its current one. */
export interface Reported {
  readonly manager: EntityManager;
  readonly job: Job;
  /** What the batch changes on the row, written once at its end. */
  readonly progress: Progress;
  /** When it happened, by the worker's clock. */
  readonly at: Date;
}

type Fact = NonNullable<Event['fact']>;

/** PostgreSQL's integer. */
const MOST = 2 ** 31 - 1;
const LONGEST_TEXT = 8192;

/** Counts that are stored as such integers, by kind of fact. */
const COUNTS: { readonly [Kind in Fact['$case']]?: readonly string[] } = {
  started: ['fromStep', 'totalSteps'],
  step: ['step', 'tokens'],
  evaluated: ['step'],
  sampled: ['step'],
  ledger: ['step', 'examples'],
  saved: ['step'],
  finished: ['step'],
  stopped: ['step'],
};

/** Whether such an attempt can exist at all. */
export const canExist = ({ jobId, attempt }: Pick<Event, 'jobId' | 'attempt'>): boolean =>
  attempt <= MOST && jobId === storableText(jobId);

/**
 * An event as it can be stored: its texts cleaned, and none longer than people read.
 * @throws DomainError naming the number that is too large
 */
export function storable(event: Event): Event {
  const { fact, sequence } = event;
  check('sequence', sequence);
  if (!fact) return event;
  for (const name of COUNTS[fact.$case] ?? [])
    check(`${fact.$case}.${name}`, (fact.value as unknown as Record<string, number>)[name] ?? 0);
  if (fact.$case === 'saved') checkBlobs([...fact.value.files, ...fact.value.adapter]);
  if (fact.$case === 'finished') checkBlobs(fact.value.adapter);
  // Metrics have names, which are looked at where they are stored, and no texts.
  if (fact.$case === 'step' || fact.$case === 'evaluated') return event;
  return { ...event, fact: cleaned(fact) };
}

function check(name: string, count: number): void {
  if (!(count <= MOST))
    throw new DomainError('invalid_value', `${name}: expected an integer ≤ ${MOST}, got ${count}`);
}

/** Their names become files in folders of other workers, and of who downloads them. */
function checkBlobs(blobs: readonly BlobRef[]): void {
  for (const { name, sha256 } of blobs)
    if (!/^\w[\w.-]{0,199}$/.test(name) || !/^[0-9a-f]{64}$/.test(sha256))
      throw new DomainError(
        'invalid_value',
        `${JSON.stringify(name.slice(0, 80))} is not a plain file name, or its sha256 is none`,
      );
}

function cleaned<T>(value: T): T {
  if (typeof value === 'string') return storableText(value.slice(0, LONGEST_TEXT)) as T;
  if (Array.isArray(value)) return value.map(cleaned) as T;
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => [name, cleaned(each as unknown)]),
  ) as T;
}
