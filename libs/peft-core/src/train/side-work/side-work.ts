import type { RunFact } from '../facts.js';

/** What a run does beside its steps and evaluations, one piece in each of its turns. */
export interface SideWork {
  /** Its name in a message that it failed, such as "Its loss ledger". */
  readonly what: string;
  /** Does one piece. Null until the work is done, then its result. */
  next(): RunFact | null;
  dispose(): void;
}
