import { simulate, type PoolState, type Start, type Waiting } from './queue-simulation.js';
import type { NamedPoolState } from './queue-forecasts.js';

/** A change to a pool whose consequences are asked for. */
export type PoolAction =
  | { readonly kind: 'front'; readonly job: string; readonly priority: number }
  | {
      readonly kind: 'drain' | 'cordon';
      readonly worker: string;
      /** Unused slots of the worker, which the pool loses. */
      readonly freeSlots: number;
      /** Rank by age among the queued jobs, for each job of the worker. */
      readonly ages: ReadonlyMap<string, number>;
    };

/** A job whose start differs. Seconds are from now; null if unknown. */
export interface ChangedStart {
  readonly id: string;
  readonly wasRunning: boolean;
  readonly before: number | null;
  readonly after: number | null;
  /** Position afterwards, from 1. */
  readonly position: number;
}

/** Differences below this many seconds are not reported. */
const NOTICEABLE = 1;

/** Returns the pool after an action: a job with another priority, or without a worker. */
export function stateAfter(state: NamedPoolState, action: PoolAction): PoolState {
  if (action.kind === 'front')
    return {
      ...state,
      waiting: state.waiting.map((job) =>
        job.id === action.job ? { ...job, priority: action.priority } : job,
      ),
    };
  const running = state.running.filter(({ worker }) => worker !== action.worker);
  const left = { ...state, freeSlots: Math.max(0, state.freeSlots - action.freeSlots), running };
  // A cordoned worker finishes its jobs, and its slots start no other ones.
  if (action.kind === 'cordon') return left;
  const returned = state.running
    .filter(({ worker }) => worker === action.worker)
    .map(({ id, project, priority, left: seconds }): Waiting => {
      const age = action.ages.get(id) ?? 0;
      return { id, project, priority, age, dueIn: 0, seconds };
    });
  return { ...left, waiting: [...state.waiting, ...returned] };
}

/** Returns the queued jobs whose start an action changes, and the running ones that it returns to the queue. */
export function changedStarts(state: NamedPoolState, action: PoolAction): readonly ChangedStart[] {
  const before = new Map(simulate(state).map(({ id, seconds }) => [id, seconds]));
  const runs = new Set(state.running.map(({ id }) => id));
  return simulate(stateAfter(state, action)).flatMap(({ id, seconds }: Start, n) => {
    const wasRunning = runs.has(id);
    const was = wasRunning ? 0 : (before.get(id) ?? null);
    const isSame =
      was === seconds || (was !== null && seconds !== null && Math.abs(was - seconds) < NOTICEABLE);
    if (isSame && !wasRunning && !(action.kind === 'front' && id === action.job)) return [];
    return [{ id, wasRunning, before: was, after: seconds, position: n + 1 }];
  });
}

/** Returns the highest number that makes a job start before all others; `highest` if none does. */
export function frontPriority(state: NamedPoolState, job: string, highest: number): number {
  const others = state.waiting.filter(({ id }) => id !== job).map(({ priority }) => priority);
  const own = state.waiting.find(({ id }) => id === job)?.priority ?? Infinity;
  return Math.max(highest, Math.min(own, Math.min(...others) - 1));
}
