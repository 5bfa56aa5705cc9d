import { USE_HALVES_SECONDS } from '../lifecycle/close-attempt.js';

/** A job that waits. */
export interface Waiting {
  readonly id: string;
  readonly project: string;
  readonly priority: number;
  /** Its place by age among all. */
  readonly age: number;
  /** Seconds until it may start at all. */
  readonly dueIn: number;
  /** Seconds that it will hold its slot; null: nothing is known. */
  readonly seconds: number | null;
}

/** A job that holds a slot of the pool. */
export interface Running {
  readonly project: string;
  /** Seconds that it held its slot so far, and will yet. */
  readonly held: number;
  readonly left: number | null;
}

export interface Sharing {
  readonly id: string;
  readonly weight: number;
  readonly limit: number | null;
  /** Jobs that run in other pools. */
  readonly elsewhere: number;
  /** Slot seconds of the pool lately. */
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
  /** Seconds from now; null: it depends on a job of which nothing is known. */
  readonly seconds: number | null;
}

/** Of a job of which nothing is known, so that the order can go on behind it. */
const SOME_SECONDS = 600;

/** A project while time goes on. */
interface Line extends Sharing {
  here: number;
  /** As `used`, of the jobs that ended by then. */
  spent: number;
  /** The one that is next first. */
  readonly waiting: Waiting[];
}

interface Slot {
  readonly begunAt: number;
  readonly endsAt: number;
  readonly known: boolean;
  /** None: its project has nothing that waits, and no say. */
  readonly line: Line | undefined;
}

/**
 * In which order and when waiting jobs will start, if nothing else comes: by the order of lifecycle/lease/next-job, slot by
 * slot, as the jobs before them end. Jobs that may never start are left out.
 */
export function simulate(
  { freeSlots, running, waiting, projects }: PoolState,
  halfLife: number = USE_HALVES_SECONDS,
): readonly Start[] {
  const lines = linesOf(projects, waiting);
  const slots: Slot[] = [];
  for (const { project, held, left } of running) {
    const line = lines.get(project);
    if (line) line.here++;
    occupy(slots, { begunAt: -held, endsAt: left ?? SOME_SECONDS, known: left !== null, line });
  }
  const all = [...lines.values()];
  const starts: Start[] = [];
  let now = 0;
  // Where there is no slot at all the order is that of one, some day.
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
        begunAt: now,
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
      // In units of now, when what was used before counts less.
      line.spent += (now - ending.begunAt) * 2 ** Math.min(1000, now / halfLife);
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

/** Kept with the one that ends first at the end. */
function occupy(slots: Slot[], slot: Slot): void {
  let [low, high] = [0, slots.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((slots[middle] as Slot).endsAt > slot.endsAt) low = middle + 1;
    else high = middle;
  }
  slots.splice(low, 0, slot);
}

/** Takes the job that is next out of its line. */
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
