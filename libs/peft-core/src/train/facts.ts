// What the loop reports of a run, in the order it happens: the payloads of contracts (src/messages), and where its
// files lie.
import type { ErrorCode, PayloadOf, RunEvent, RunEventName } from '@graft/contracts';

export type { StopReason } from '@graft/contracts';

/** What train/watch.ts looks for. */
export type WarningCode =
  | 'loss_at_chance'
  | 'loss_spike'
  | 'diverged'
  | 'zero_gradient'
  | 'overfitting'
  | 'plateau'
  | 'slow';

/** Numbers by the names that the task's metrics and run-metrics.ts give them; every task has a loss. */
export type Metrics = Readonly<Record<string, number>> & { readonly loss: number };

interface Folder {
  /** Where the files were written. */
  readonly dir: string;
}

/** What is known of a payload here beyond what its schema says. */
interface Known {
  readonly step: { readonly metrics: Metrics & { learning_rate: number; grad_norm: number } };
  readonly evaluated: { readonly metrics: Metrics };
  readonly failed: { readonly code: ErrorCode };
  readonly saved: Folder;
  readonly finished: Folder;
}

export type RunFact = {
  [Kind in RunEventName]: { readonly type: Kind } & PayloadOf<Kind> &
    (Kind extends keyof Known ? Known[Kind] : unknown);
}[RunEventName];
export type FactOfRun<Kind extends RunEventName> = Extract<RunFact, { readonly type: Kind }>;

/** What travels of it: no path of this machine does. */
export function runEventOf({ type, ...payload }: RunFact): RunEvent {
  const { dir: _, ...told } = payload as Partial<Folder>;
  return { kind: type, payload: told } as RunEvent;
}
