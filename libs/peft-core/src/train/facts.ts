// What the loop reports of a run, in the order it happens.
import type { Confusion, ErrorCode } from '@graft/contracts';
import type { Forgetting } from './side-work/forgetting.js';
import type { FileFact } from '../io/commit-folder.js';

/** What train/watch.ts looks for. */
export type WarningCode =
  | 'loss_at_chance'
  | 'loss_spike'
  | 'diverged'
  | 'zero_gradient'
  | 'overfitting'
  | 'plateau'
  | 'slow';

export type StopReason = 'cancel' | 'pause' | 'drain' | 'preempt';

/** Numbers by the names that the task's metrics and run-metrics.ts give them; every task has a loss. */
export type Metrics = Readonly<Record<string, number>> & { readonly loss: number };

/** What was written after a prompt. */
export interface Sample {
  readonly text: string;
  readonly finishReason: 'stop' | 'length';
  readonly tokens: number;
}

export interface LedgerRow {
  /** Of the training file. */
  readonly line: number;
  readonly loss: number;
  /** Of the base alone; null where it has none. */
  readonly baseLoss: number | null;
}

export type RunFact =
  | {
      readonly type: 'step';
      /** Optimiser steps done, this one included. */
      readonly step: number;
      /** Time that the process worked on it. */
      readonly seconds: number;
      /** Time since the step before in which the process worked for other runs and for answers. */
      readonly waitedSeconds: number;
      readonly tokens: number;
      readonly rssBytes: number;
      /** The task's own, of the step's examples before the update, and the run's. */
      readonly metrics: Metrics & { readonly learning_rate: number; readonly grad_norm: number };
    }
  | {
      readonly type: 'evaluated';
      readonly step: number;
      /** The task's own. */
      readonly metrics: Metrics;
      /** Whole validation file, or only a sample of it. */
      readonly full: boolean;
      /** Which labels were taken for which; left out where there is nothing of the kind. */
      readonly confusion?: Confusion;
    }
  | {
      /** What it answered to its sample prompts, in their order. */
      readonly type: 'sampled';
      readonly step: number;
      readonly samples: readonly Sample[];
    }
  | {
      /** The training examples with the highest loss at the end, the worst first, of all that there are. */
      readonly type: 'ledger';
      readonly step: number;
      readonly examples: number;
      readonly meanLoss: number;
      readonly rows: readonly LedgerRow[];
    }
  | {
      /** A checkpoint committed under `dir`. */
      readonly type: 'saved';
      readonly step: number;
      readonly dir: string;
      readonly files: readonly FileFact[];
      /** Those of the files that PEFT reads. */
      readonly adapter: readonly FileFact[];
      /** Whether its evaluation is the best so far, of a run that publishes the best (load_best_model_at_end). */
      readonly best: boolean;
    }
  | {
      readonly type: 'finished';
      readonly step: number;
      /** The step whose weights the adapter holds: of the best evaluation where that is asked for, else the last. */
      readonly publishedStep: number;
      readonly dir: string;
      readonly adapter: readonly FileFact[];
      readonly trainedTokens: number;
      readonly peakRssBytes: number;
      /** Where it is asked for, and can be measured. */
      readonly forgetting: Forgetting | null;
    }
  | {
      /** The run is over and gone; its neighbours go on. */
      readonly type: 'failed';
      readonly code: ErrorCode;
      readonly message: string;
      readonly param: string | null;
      readonly retryable: boolean;
    }
  | { readonly type: 'stopped'; readonly reason: StopReason; readonly step: number }
  | {
      readonly type: 'log';
      readonly level: 'info' | 'warn' | 'error';
      /** Of a warning about the run itself; null otherwise. */
      readonly code: WarningCode | null;
      readonly message: string;
    };

export type FactOfRun<K extends RunFact['type']> = Extract<RunFact, { type: K }>;
