// Training runs of this process, their attempts and their reports.
import { isEnd } from '@graft/contracts';
import { runEventOf, type Run, type RunFact } from '@graft/peft-core';
import type { AttemptKey, EventFact, Fact } from '../protocol/protocol.js';
import type { WorkMark } from './work-mark.js';

export class TrainingRuns {
  private readonly keys = new Map<Run, AttemptKey>();

  /** @param send returns false if the fact was too large, so that its run has failed */
  constructor(
    private readonly send: (fact: Fact) => boolean,
    private readonly mark: WorkMark,
  ) {}

  add(run: Run, key: AttemptKey): void {
    this.keys.set(run, key);
  }

  find({ jobId, attempt }: AttemptKey): Run | undefined {
    return [...this.keys].find(([, key]) => key.jobId === jobId && key.attempt === attempt)?.[0];
  }

  /** Marks the following work as that of these runs. */
  markWork(runs: readonly Run[]): void {
    this.mark.runs(runs.flatMap((run) => this.keys.get(run) ?? []));
  }

  report(run: Run, fact: RunFact): void {
    const key = this.keys.get(run);
    if (!key) return;
    if (!this.send(eventOf(key, fact))) run.stopping = 'cancel';
    if (isEnd(fact.type)) this.keys.delete(run);
  }
}

/** Returns a fact of a run as an event fact. */
export const eventOf = ({ jobId, attempt }: AttemptKey, fact: RunFact): EventFact => ({
  type: 'event',
  jobId,
  attempt,
  ...runEventOf(fact),
});
