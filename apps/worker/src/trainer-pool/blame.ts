// Blame for the exit of a trainer process, per run.
import type { Blame } from '@graft/contracts';
import { wasRequested, type TrainerExit } from './exit-class.js';

/** Runs and requests in the process when it exited. */
export interface ProcessUsers {
  /** Keys of the runs. */
  readonly runs: readonly string[];
  /** Whether a model request or a run in preparation also used the process. */
  readonly others: boolean;
}

/**
 * Exit classes that all runs in the process may have contributed to. Host memory, JavaScript heap and device
 * memory are shared, and the run that made the last allocation does not need to be the largest.
 */
const TOGETHER: ReadonlySet<string> = new Set(['oom_host', 'oom_heap', 'oom_gpu']);

export const isTogether = (code: string): boolean => TOGETHER.has(code);

/**
 * Returns the blame of a run for an exit. The run whose work was in progress is to blame. Runs that shared the work are
 * suspects, and so are all runs if no work was in progress. A requested exit has no culprit (null), except that runs whose
 * work was not in progress get "other". A process that was killed on purpose has no culprit, whatever it worked on.
 */
export function blameFor(
  key: string,
  exit: TrainerExit,
  { runs, others }: ProcessUsers,
): Blame | null {
  if (exit.class === 'interrupted') return null;
  const { work } = exit;
  const wasActive = work.kind === 'runs' && work.keys.includes(key);
  if (work.kind === 'answers' || (work.kind === 'runs' && !wasActive)) return 'other';
  if (exit.class === 'cancelled') return null;
  if (runs.length <= 1 && !others) return 'own';
  if (isTogether(exit.class)) return 'shared';
  if (work.kind === 'runs') return work.keys.length > 1 ? 'shared' : 'own';
  return runs.length <= 1 ? 'own' : 'shared';
}

/** Returns the error message for a run whose process exited. */
export function exitMessageFor(exit: TrainerExit, blame: Blame | null): string {
  if (blame === 'other')
    return exit.work.kind === 'answers'
      ? 'a chat request crashed the trainer process that it shared with this job'
      : 'another job crashed the trainer process that it shared with this job';
  return wasRequested(exit) ? 'the trainer process was stopped during this run' : exit.message;
}
