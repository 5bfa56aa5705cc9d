// The events that the loop reports for a run, in order: the payloads of contracts (src/messages) and the folders of
// their files.
import type { ErrorCode, PayloadOf, RunEvent, RunEventName } from '@graft/contracts';

export type { StopReason } from '@graft/contracts';

/** Codes of the warnings that train/watch.ts raises. */
export type WarningCode =
  | 'loss_at_chance'
  | 'loss_spike'
  | 'diverged'
  | 'zero_gradient'
  | 'overfitting'
  | 'plateau'
  | 'slow';

/** Values by metric name, from the task's metrics and run-metrics.ts. Every task has a loss. */
export type Metrics = Readonly<Record<string, number>> & { readonly loss: number };

interface Folder {
  /** Folder of the written files. */
  readonly dir: string;
}

/** Types of payload fields that are narrower here than in the schema. */
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

/** Returns the event to send, without paths of this machine. */
export function runEventOf({ type, ...payload }: RunFact): RunEvent {
  const { dir: _, ...told } = payload as Partial<Folder>;
  return { kind: type, payload: told } as RunEvent;
}
