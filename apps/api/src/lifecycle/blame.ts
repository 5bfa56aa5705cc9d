// Whose fault the end of a trainer process was for a job whose run it held, as its worker says.
import { Blame } from '@graft/contracts/grpc';

/** own: its work was on, and nobody else's. shared: it may be its fault. other: it was not. */
export type JobBlame = 'own' | 'shared' | 'other';

/** Null where no process died, or the worker does not say: it is older. */
export function jobBlame(blame: Blame | undefined): JobBlame | null {
  switch (blame) {
    case Blame.BLAME_OWN:
      return 'own';
    case Blame.BLAME_SHARED:
      return 'shared';
    case Blame.BLAME_OTHER:
      return 'other';
    default:
      return null;
  }
}

/** Deaths without a new checkpoint in between after which a job that may have caused them runs alone. */
const ALONE_AFTER = 2;

/** Whether it gets a trainer process of its own. */
export const runsAlone = ({ present_at_deaths: deaths }: { present_at_deaths: number }): boolean =>
  deaths >= ALONE_AFTER;
