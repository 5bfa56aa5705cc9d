import type { RunFact } from '../facts.js';

/** Work of a run in addition to its steps and evaluations, done one piece per turn. */
export interface SideWork {
  /** Name of the work in the message of a failure, such as "Computing the loss ledger". */
  readonly what: string;
  /** Does one piece. Returns null until the work is done, then its result. */
  next(): RunFact | null;
  dispose(): void;
}
