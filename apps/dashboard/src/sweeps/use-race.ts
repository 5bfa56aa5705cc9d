import type { JobObject, MetricsObject, SweepObject, TrialObject } from '@graft/contracts';
import { useEffect, useRef, useState } from 'react';
import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { isOpen } from './race.js';

/** Polling interval in milliseconds while trials run. */
export const POLL_MS = 2500;
/** Number of requests at a time. */
const AT_ONCE = 6;

interface Curve {
  readonly metrics: MetricsObject;
  /** State of the trial when its curve was requested. A curve of the same state is not requested again. */
  readonly state: string;
}

export interface Race {
  /** Metrics of trials by their jobs. */
  readonly curves: ReadonlyMap<string, Curve>;
  /** Running jobs of the sweep by ID. */
  readonly jobs: ReadonlyMap<string, JobObject>;
}

const stateOf = ({ status, step }: TrialObject): string => `${status} ${step}`;

/** Loads the curves that have changed into `known`. */
async function load(trials: readonly TrialObject[], known: Map<string, Curve>): Promise<void> {
  const changed = trials.filter(
    (trial) => trial.step > 0 && known.get(trial.job)?.state !== stateOf(trial),
  );
  for (let from = 0; from < changed.length; from += AT_ONCE)
    await Promise.all(
      changed.slice(from, from + AT_ONCE).map(async (trial) => {
        const metrics = await api.metrics(trial.job);
        known.set(trial.job, { metrics, state: stateOf(trial) });
      }),
    );
}

/** Curves of a sweep's trials, and the state of the running ones. Updated while the sweep runs. */
export function useRace(sweep: SweepObject): Race {
  const { id, trials = [] } = sweep;
  const known = useRef(new Map<string, Curve>());
  const [curves, setCurves] = useState<ReadonlyMap<string, Curve>>(known.current);
  const state = trials.map(stateOf).join();
  useEffect(() => {
    let isUnmounted = false;
    // The next state of the sweep tries again what failed.
    const shown = () => isUnmounted || setCurves(new Map(known.current));
    load(trials, known.current).then(shown, shown);
    return () => {
      isUnmounted = true;
    };
  }, [id, state]);
  const jobs = useLoaded(
    ['race-jobs', id],
    async () => {
      const query = new URLSearchParams({ search: id, status: 'running', archived: 'any' });
      return (await api.jobs(query)).data;
    },
    isOpen(sweep) ? POLL_MS : 0,
  );
  return { curves, jobs: new Map((jobs.value ?? []).map((job) => [job.id, job])) };
}
