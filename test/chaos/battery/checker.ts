// Checks the state after a battery: the clients' history, the database and the blob folder must agree.
// It shares no code with the service that it checks.
import type { Entry } from './history.js';

export interface JobRow {
  readonly id: string;
  readonly state: string;
  readonly attempt: number;
  readonly total_steps: number | null;
  readonly step: number;
  readonly replay_mismatches: number;
  readonly error: { readonly code: string } | null;
  /** Token from the request that created the job. */
  readonly token: string | null;
  /** Name of the control run whose bytes it must reproduce. */
  readonly control: string | null;
  /** SHA-256 of its adapter's weights. */
  readonly adapter: string | null;
}

export interface AttemptRow {
  readonly job_id: string;
  readonly number: number;
  readonly assignedMs: number;
  readonly endedMs: number | null;
  readonly from_step: number;
  readonly outcome: string | null;
}

/**
 * Row written for an attempt, and the attempt that was current at that moment. The battery's own triggers
 * record it.
 */
export interface WitnessRow {
  readonly job_id: string;
  readonly what: string;
  readonly attempt: number;
  readonly current: number;
  readonly state: string;
}

export interface Watched {
  readonly job: string;
  /** Numbers of the events that a client received, over all its connections. */
  readonly seen: readonly number[];
}

export interface Evidence {
  readonly history: readonly Entry[];
  readonly jobs: readonly JobRow[];
  readonly attempts: readonly AttemptRow[];
  readonly metrics: readonly { job_id: string; attempt: number; step: number; loss: string }[];
  readonly witnesses: readonly WitnessRow[];
  /** Event numbers by job. */
  readonly events: ReadonlyMap<string, readonly number[]>;
  readonly watched: readonly Watched[];
  /**
   * Blob names that rows reference, names in the blob table, and files by name with the SHA-256 of their
   * content.
   */
  readonly named: readonly { owner: string; sha256: string }[];
  readonly blobs: readonly string[];
  readonly files: ReadonlyMap<string, string>;
  readonly unsentForMs: readonly number[];
  /** Adapter and losses by step of the control runs, which had no faults. */
  readonly controls: ReadonlyMap<string, { adapter: string; losses: ReadonlyMap<number, string> }>;
}

type OfJobs = 'I1' | 'I2' | 'I3' | 'I4' | 'I5' | 'I6' | 'I7' | 'I8' | 'I9' | 'I13';
/** I14 and later are checked by the files in `kinds`. */
export type Invariant =
  OfJobs | 'I14' | 'I15' | 'I16' | 'I17' | 'I18' | 'I19' | 'I20' | 'I21' | 'I22';

export interface Violation {
  readonly invariant: Invariant;
  readonly subject: string;
  readonly what: string;
}

/** Maximum age of an unsent wake-up, in milliseconds. */
const UNSENT_MS = 20_000;

const CHECKS: Record<OfJobs, (evidence: Evidence) => Iterable<[subject: string, what: string]>> = {
  I1: acknowledgedOnce,
  I2: endedOnce,
  I3: nothingStale,
  I4: wholeCurves,
  I5: bitsOfControls,
  I6: filesAndRows,
  I7: oneAtATime,
  I8: streamsInOrder,
  I9: nothingForgotten,
  I13: replaysEqual,
};

export function check(evidence: Evidence): Violation[] {
  return Object.entries(CHECKS).flatMap(([invariant, look]) =>
    [...look(evidence)].map(([subject, what]) => ({
      invariant: invariant as Invariant,
      subject,
      what,
    })),
  );
}

/**
 * I1: each job acknowledged to a client exists exactly once; each unacknowledged creation made at most one
 * job.
 */
function* acknowledgedOnce({ history, jobs }: Evidence): Generator<[string, string]> {
  const byToken = groupBy(
    jobs.filter(({ token }) => token !== null),
    ({ token }) => token as string,
  );
  const creations = groupBy(
    history.filter(({ what }) => what === 'create'),
    ({ subject }) => subject,
  );
  for (const [token, entries] of creations) {
    const made = byToken.get(token) ?? [];
    const jobIds = new Set(
      entries.filter(({ kind }) => kind === 'ok').map(({ job }) => job as string),
    );
    if (made.length > 1) yield [token, `${made.length} jobs of one creation`];
    if (jobIds.size > 1) yield [token, `its client received ${jobIds.size} job ids`];
    for (const id of jobIds)
      if (!made.some((job) => job.id === id)) yield [id, 'acknowledged, but missing'];
    const isRefused = entries.every(({ kind }) => kind === 'invoke' || kind === 'fail');
    if (isRefused && made.length > 0) yield [token, 'rejected, but created'];
  }
}

/** I2: each job has ended, in a state that agrees with the responses to its clients. */
function* endedOnce({ history, jobs, attempts }: Evidence): Generator<[string, string]> {
  const cancelled = new Set(
    history
      .filter(
        ({ kind, what, status }) => kind === 'ok' && what === 'cancel' && status === 'cancelled',
      )
      .map(({ subject }) => subject),
  );
  const done = groupBy(
    attempts.filter(({ outcome }) => outcome === 'done'),
    ({ job_id }) => job_id,
  );
  for (const { id, state, error } of jobs) {
    if (!['succeeded', 'failed', 'cancelled'].includes(state)) yield [id, `is ${state}`];
    if (state === 'failed' && error === null) yield [id, 'failed without a reason'];
    if (cancelled.has(id) && state !== 'cancelled') yield [id, `cancelled, but ${state}`];
    const ends = done.get(id)?.length ?? 0;
    if (ends > 1) yield [id, `${ends} attempts finished it`];
    if (state === 'succeeded' && ends !== 1) yield [id, 'succeeded, but no attempt finished it'];
  }
}

/** I3: nothing was written for an attempt that was not its job's current one. */
function* nothingStale({ witnesses }: Evidence): Generator<[string, string]> {
  for (const { job_id, what, attempt, current, state } of witnesses)
    if (attempt !== current || state !== 'running')
      yield [
        job_id,
        `${what} of attempt ${attempt} while the job was ${state} with attempt ${current}`,
      ];
}

/** I4: a succeeded job has metrics for every step from 1 to N. */
function* wholeCurves({ jobs, metrics }: Evidence): Generator<[string, string]> {
  const points = groupBy(metrics, ({ job_id }) => job_id);
  for (const { id, state, total_steps } of jobs) {
    if (state !== 'succeeded') continue;
    const steps = new Set((points.get(id) ?? []).map(({ step }) => step));
    for (let step = 1; step <= (total_steps ?? 0); step++)
      if (!steps.has(step)) yield [id, `step ${step} of ${total_steps} is missing`];
    if (steps.size > (total_steps ?? 0)) yield [id, `${steps.size} steps of ${total_steps}`];
  }
}

/** I5: adapters, and the loss of each step including replays, equal those of the control runs. */
function* bitsOfControls({ jobs, metrics, controls }: Evidence): Generator<[string, string]> {
  const points = groupBy(metrics, ({ job_id }) => job_id);
  for (const { id, state, control, adapter } of jobs) {
    const untouched = control === null ? undefined : controls.get(control);
    if (!untouched) continue;
    if (state === 'succeeded' && adapter !== untouched.adapter) yield [id, 'its adapter differs'];
    for (const { step, loss, attempt } of points.get(id) ?? [])
      if (loss !== untouched.losses.get(step))
        yield [id, `its loss differs at step ${step} of attempt ${attempt}`];
  }
}

/**
 * I6: each referenced blob has a row and a file, and each file's content matches its name.
 * An unreferenced row may have no file: the row is committed before the bytes, so that the bytes of a killed
 * process are found.
 */
function* filesAndRows({ named, blobs, files }: Evidence): Generator<[string, string]> {
  const rows = new Set(blobs);
  for (const { owner, sha256 } of named) {
    if (!rows.has(sha256)) yield [owner, `names ${sha256}, which has no row`];
    if (!files.has(sha256)) yield [owner, `names ${sha256}, which has no file`];
  }
  for (const [sha256, content] of files)
    if (content !== sha256) yield [sha256, `its bytes are ${content}`];
}

/** I7: an attempt starts after the previous one has ended, and no attempt is still open. */
function* oneAtATime({ jobs, attempts }: Evidence): Generator<[string, string]> {
  const byJob = groupBy(attempts, ({ job_id }) => job_id);
  for (const { id, attempt } of jobs) {
    const all = [...(byJob.get(id) ?? [])].sort((a, b) => a.number - b.number);
    for (const [n, { number, assignedMs, endedMs, outcome }] of all.entries()) {
      if (number > attempt) yield [id, `attempt ${number} is newer than its job's attempt`];
      const next = all[n + 1];
      if (next && (endedMs === null || endedMs > next.assignedMs))
        yield [id, `attempt ${next.number} began before ${number} was over`];
      if (endedMs !== null && endedMs < assignedMs)
        yield [id, `attempt ${number} ended before it began`];
      if (endedMs === null && !next) yield [id, `attempt ${number} (${outcome}) has not ended`];
    }
  }
}

/** I8: events are numbered without gaps, and a reconnecting client received each one once, in order. */
function* streamsInOrder({ events, watched }: Evidence): Generator<[string, string]> {
  for (const [id, numbers] of events)
    for (const [n, number] of numbers.entries())
      if (number !== n + 1) {
        yield [id, `its event ${n + 1} has the number ${number}`];
        break;
      }
  for (const { job, seen } of watched)
    for (const [n, number] of seen.entries())
      if (number !== n + 1) {
        yield [job, `a client received event ${number} instead of ${n + 1}`];
        break;
      }
}

/** I9: no wake-up of a queued job stays unsent. */
function* nothingForgotten({ unsentForMs }: Evidence): Generator<[string, string]> {
  for (const ms of unsentForMs)
    if (ms > UNSENT_MS) yield ['outbox', `a wake-up was not sent for ${Math.round(ms)} ms`];
}

function* replaysEqual({ jobs }: Evidence): Generator<[string, string]> {
  for (const { id, replay_mismatches: count } of jobs)
    if (count > 0) yield [id, `${count} replayed steps differ`];
}

function groupBy<Item>(items: readonly Item[], key: (item: Item) => string): Map<string, Item[]> {
  const groups = new Map<string, Item[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group) group.push(item);
    else groups.set(key(item), [item]);
  }
  return groups;
}
