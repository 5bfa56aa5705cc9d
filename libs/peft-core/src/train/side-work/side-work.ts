import type { RunFact } from '../facts.js';

/** What a run does beside its steps and evaluations, a piece in each of its turns. */
export interface SideWork {
  /** "Its loss ledger", for who is told that it could not be done. */
  readonly what: string;
  /** Whether it belongs to the step that is done, so that a run which is told to stop ends it first. */
  readonly isOfStep: boolean;
  /** One piece. Null until it is done, then what came of it. */
  next(): RunFact | null;
  dispose(): void;
}
