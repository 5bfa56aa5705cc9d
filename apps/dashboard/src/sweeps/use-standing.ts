import type { SweepObject } from '@graft/contracts';
import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { standingOf, type Standing } from './standing.js';

/** Returns how the trials of a sweep compare. The number of held-out examples decides what is noise. */
export function useStanding(sweep: SweepObject): Standing | null {
  const winner = sweep.winner?.job ?? null;
  const job = useLoaded(['job-of-standing', winner], () =>
    winner === null ? Promise.resolve(null) : api.job(winner),
  );
  return standingOf(sweep, job.value?.graft.data?.validation_examples ?? null);
}
