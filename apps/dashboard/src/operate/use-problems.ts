import type { ProblemObject } from '@graft/contracts';
import { useContext } from 'react';
import { api } from '../api/api.js';
import { useLoaded, type Loaded } from '../api/loaded.js';
import { OwnKey, useMay } from '../api/own-key.js';

/**
 * Returns what is wrong now, most severe first. Nothing is requested until the rights of the key are known, or if
 * it may not read jobs.
 */
export function useProblems(everyMs = 10_000): Loaded<readonly ProblemObject[]> {
  const isKnown = useContext(OwnKey) !== null;
  const may = useMay()('jobs:read') && isKnown;
  return useLoaded<readonly ProblemObject[]>(
    ['problems', may],
    async () => (may ? await api.problems() : []),
    may ? everyMs : 0,
  );
}
