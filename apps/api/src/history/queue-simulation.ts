import { USE_HALF_LIFE_SECONDS } from '../lifecycle/close-attempt.js';

/** A queued job. */
export interface Waiting {
  readonly id: string;
  readonly project: string;
  readonly priority: number;
  /** Rank by age among all queued jobs. */
  readonly age: number;
  /** Seconds until the job may start. */
  readonly dueIn: number;
  /** Seconds for which the job will hold its slot; null if unknown. */
  readonly seconds: number | null;
}

/** A job that holds a slot of the pool. */
export interface Running {
  readonly project: string;
  /** Seconds for which it has held its slot, and seconds that remain (null if unknown). */
  readonly held: number;
  readonly left: number | null;
}

export interface Sharing {
  readonly id: string;
  readonly weight: number;
  readonly limit: number | null;
  /** Number of running jobs in other pools. */
  readonly elsewhere: number;
  /** Recent slot seconds in the pool. */
  readonly used: number;
}

export interface PoolState {
  readonly freeSlots: number;
  readonly running: readonly Running[];
  readonly waiting: readonly Waiting[];
  readonly projects: readonly Sharing[];
}

export interface Start {
  readonly id: string;
  /** Seconds from now; null if it depends on a job of unknown duration. */
  readonly seconds: number | null;
}

/** Assumed duration of a job whose duration is unknown. */
const SOME_SECONDS = 600;

/** State of a project during the simulation. */
interface Line extends Sharing {
  here: number;
  /** Like `used`, including the jobs that have ended in the simulation. */
  spent: number;
  /** Sorted; the next job comes first. */
  readonly waiting: Waiting[];
}

interface Slot {
  readonly startedAt: number;
  readonly endsAt: number;
  readonly known: boolean;
  /** Undefined if the project has no queued jobs, so that it does not affect the order. */
  readonly line: Line | undefined;
}

/**
 * Simulates the order and the times in which queued jobs start if no other jobs arrive. Uses the order of
 * lifecycle/lease/next-job; a slot becomes free when its job ends. Omits jobs that may never start.
 */
export function simulate(
  { freeSlots, running, waiting, projects }: PoolState,
  halfLife: number = USE_HALF_LIFE_SECONDS,
): readonly Start[] {
  const lines = linesOf(projects, waiting);
  const slots: Slot[] = [];
  for (const { project, held, left } of running) {
    const line = lines.get(project);
    if (line) line.here++;
    occupy(slots, { startedAt: -held, endsAt: left ?? SOME_SECONDS, known: left !== null, line });
  }
  const all = [...lines.values()];
  const starts: Start[] = [];
  let now = 0;
  // Without any slot, use the order for a single slot and no times.
  let known = freeSlots + running.length > 0;
  let free = known ? freeSlots : 1;
  for (;;) {
    const next = free > 0 ? takeBest(all, now) : null;
    if (next) {
      const { job, line } = next;
      free--;
      line.here++;
      starts.push({ id: job.id, seconds: known ? now : null });
      occupy(slots, {
        startedAt: now,
        endsAt: now + (job.seconds ?? SOME_SECONDS),
        known: known && job.seconds !== null,
        line,
      });
      continue;
    }
    const due = free > 0 ? nextDue(all, now) : Infinity;
    const ending = slots.at(-1);
    if (ending && ending.endsAt <= due) {
      slots.pop();
      now = ending.endsAt;
      known &&= ending.known;
      free++;
      const { line } = ending;
      if (!line) continue;
      line.here--;
      // Usage decays exponentially. Scale later usage up instead of decaying all earlier usage.
      line.spent += (now - ending.startedAt) * 2 ** Math.min(1000, now / halfLife);
    } else if (due < Infinity) now = due;
    else return starts;
  }
}

function linesOf(projects: readonly Sharing[], waiting: readonly Waiting[]): Map<string, Line> {
  const lines = new Map<string, Line>(
    projects.map((project) => [
      project.id,
      { ...project, here: 0, spent: project.used, waiting: [] },
    ]),
  );
  for (const job of waiting) lines.get(job.project)?.waiting.push(job);
  for (const line of lines.values())
    line.waiting.sort((a, b) => a.priority - b.priority || a.age - b.age);
  return lines;
}

/** Inserts a slot. The list is sorted so that the slot that ends first is last. */
function occupy(slots: Slot[], slot: Slot): void {
  let [low, high] = [0, slots.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((slots[middle] as Slot).endsAt > slot.endsAt) low = middle + 1;
    else high = middle;
  }
  slots.splice(low, 0, slot);
}

/** Removes the next job from its project's queue. */
function takeBest(lines: readonly Line[], now: number): { job: Waiting; line: Line } | null {
  let best: { job: Waiting; line: Line; at: number } | null = null;
  for (const line of lines) {
    if (line.limit !== null && line.here + line.elsewhere >= line.limit) continue;
    const at = line.waiting.findIndex((job) => job.dueIn <= now);
    const job = line.waiting[at];
    if (job && (!best || isBefore({ job, line }, best))) best = { job, line, at };
  }
  if (!best) return null;
  if (best.at === 0) best.line.waiting.shift();
  else best.line.waiting.splice(best.at, 1);
  return best;
}

interface Head {
  readonly job: Waiting;
  readonly line: Line;
}

function isBefore(a: Head, b: Head): boolean {
  const order =
    a.job.priority - b.job.priority ||
    a.line.here / a.line.weight - b.line.here / b.line.weight ||
    a.line.spent / a.line.weight - b.line.spent / b.line.weight ||
    a.job.age - b.job.age;
  return order < 0;
}

function nextDue(lines: readonly Line[], now: number): number {
  let due = Infinity;
  for (const line of lines)
    for (const job of line.waiting) if (job.dueIn > now && job.dueIn < due) due = job.dueIn;
  return due;
}
