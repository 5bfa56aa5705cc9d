// State of a worker in words, for users who cannot distinguish colors.
import type { WorkerObject } from '@graft/contracts';
import { duration } from '@graft/contracts/duration';

export interface WorkerState {
  readonly tone: 'good' | 'warn' | 'bad';
  readonly text: string;
}

/** Returns the state of a worker: "online", "silent for 12 s", "cordoned", "draining", "offline for 3 min". */
export function workerState(worker: WorkerObject): WorkerState {
  const { state, silent_seconds: silent, cordoned } = worker;
  if (state === 'offline')
    return { tone: 'bad', text: silent === null ? 'offline' : `offline for ${duration(silent)}` };
  if (silent !== null) return { tone: 'bad', text: `silent for ${duration(silent)}` };
  if (state === 'draining') return { tone: 'warn', text: 'draining' };
  if (cordoned) return { tone: 'warn', text: 'cordoned' };
  return { tone: 'good', text: 'online' };
}
