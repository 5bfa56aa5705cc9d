// Whose fault the end of a trainer process is for each run that it held.
import type { Blame } from '@graft/contracts';
import { wasAsked, type TrainerExit } from './exit-class.js';

/** Who was in the process when it ended. */
export interface Company {
  /** Keys of its runs. */
  readonly runs: readonly string[];
  /** An answer, or a run that was still to join, had the process too. */
  readonly others: boolean;
}

/**
 * Ends that everybody in the process works towards: memory, JavaScript's heap and the device are used up by all, and
 * who asks for the last of it need not be who took most.
 */
const TOGETHER: ReadonlySet<string> = new Set(['oom_host', 'oom_heap', 'oom_gpu']);

export const isTogether = (code: string): boolean => TOGETHER.has(code);

/**
 * The run whose work was on is to blame, whoever else was present; runs that shared the work are suspects, and so is
 * everybody when it was at nobody's. An end that we asked for is nobody's fault, but it is not that of a run either
 * that was only present. Null where nobody is to blame.
 */
export function blameFor(key: string, exit: TrainerExit, { runs, others }: Company): Blame | null {
  const { work } = exit;
  const mine = work.kind === 'runs' && work.keys.includes(key);
  if (work.kind === 'answers' || (work.kind === 'runs' && !mine)) return 'other';
  if (exit.class === 'cancelled') return null;
  if (runs.length <= 1 && !others) return 'own';
  if (isTogether(exit.class)) return 'shared';
  if (work.kind === 'runs') return work.keys.length > 1 ? 'shared' : 'own';
  return runs.length <= 1 ? 'own' : 'shared';
}

/** What a run is told of the end of its process. */
export function inWordsFor(exit: TrainerExit, blame: Blame | null): string {
  if (blame === 'other')
    return exit.work.kind === 'answers'
      ? 'an answer to a chat ended the process that it shared with the job'
      : 'another job ended the process that both shared';
  return wasAsked(exit) ? 'the trainer process was ended while it held this run' : exit.message;
}
