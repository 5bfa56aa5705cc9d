// What the loop reports of a run, in the order it happens.
import type { ErrorCode } from '@graft/contracts';
import type { FileFact } from '../io/commit-folder.js';

/** What train/watch.ts looks for. */
export type WarningCode = 'loss_at_chance' | 'diverged' | 'zero_gradient' | 'overfitting';

export type StopReason = 'cancel' | 'pause' | 'drain';

export type RunFact =
  | {
      readonly type: 'step';
      /** Optimiser steps done, this one included. */
      readonly step: number;
      /** Mean over the step's supervised tokens, before the update. */
      readonly loss: number;
      readonly learningRate: number;
      /** Before clipping. */
      readonly gradNorm: number;
      readonly tokens: number;
      readonly supervisedTokens: number;
      /** Share of the supervised tokens that the model would have chosen. */
      readonly accuracy: number;
      /** Wall time of the whole step, in a pack shared by all its runs. */
      readonly seconds: number;
      readonly rssBytes: number;
    }
  | {
      readonly type: 'evaluated';
      readonly step: number;
      readonly loss: number;
      readonly accuracy: number;
      readonly tokens: number;
      /** Whole validation file, or only a sample of it. */
      readonly full: boolean;
    }
  | {
      /** A checkpoint committed under `dir`. */
      readonly type: 'saved';
      readonly step: number;
      readonly dir: string;
      readonly files: readonly FileFact[];
      /** Those of the files that PEFT reads. */
      readonly adapter: readonly FileFact[];
    }
  | {
      readonly type: 'finished';
      readonly step: number;
      readonly dir: string;
      readonly adapter: readonly FileFact[];
      readonly trainedTokens: number;
      readonly peakRssBytes: number;
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
