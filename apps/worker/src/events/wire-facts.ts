// Facts as a trainer tells them → facts as they travel to the control plane.
import { isRetryable } from '@graft/contracts';
import type { BlobRef, Event, Failed, Finished } from '@graft/contracts/grpc';
import type {
  EvaluatedFact,
  FailedFact,
  FinishedFact,
  LedgerFact,
  LogFact,
  PhaseFact,
  SampledFact,
  SavedFact,
  StartedFact,
  StepFact,
  StopReason,
  WrittenFile,
} from '../protocol/protocol.js';

export type EventFact = NonNullable<Event['fact']>;

const STOP_WORDS: Readonly<Record<StopReason, string>> = {
  cancel: 'cancelled',
  pause: 'paused',
  drain: 'drained',
  preempt: 'preempted',
};

/**
 * @param process name of the trainer process that it runs in
 * @param bytes what was reserved for it beside the base, if it asked
 */
export function started(fact: StartedFact, process: string, bytes: number | null): EventFact {
  return {
    $case: 'started',
    value: {
      fromStep: count(fact.fromStep),
      totalSteps: count(fact.totalSteps),
      trainableParameters: count(fact.trainableParameters),
      totalParameters: count(fact.totalParameters),
      trainingExamples: count(fact.trainingExamples),
      process,
      ...(bytes === null ? {} : { runBytes: count(bytes) }),
    },
  };
}

export function step(fact: StepFact): EventFact {
  return {
    $case: 'step',
    value: {
      step: count(fact.step),
      tokens: count(fact.tokens),
      seconds: real(fact.seconds),
      waitedSeconds: real(fact.waitedSeconds),
      rssBytes: count(fact.rssBytes),
      metrics: reals(fact.metrics),
    },
  };
}

export function evaluated(fact: EvaluatedFact): EventFact {
  return {
    $case: 'evaluated',
    value: {
      step: count(fact.step),
      full: fact.full,
      metrics: reals(fact.metrics),
      ...(fact.confusion && {
        confusion: {
          classes: [...fact.confusion.classes],
          cells: [...fact.confusion.cells],
          examples: [...(fact.confusion.examples ?? [])],
        },
      }),
    },
  };
}

export function sampled({ step, samples }: SampledFact): EventFact {
  return { $case: 'sampled', value: { step: count(step), samples: [...samples] } };
}

export function ledger({ step, examples, meanLoss, rows }: LedgerFact): EventFact {
  return {
    $case: 'ledger',
    value: {
      step: count(step),
      examples: count(examples),
      meanLoss: real(meanLoss),
      rows: rows.map(({ line, loss, baseLoss }) => ({
        line: count(line),
        loss: real(loss),
        ...(baseLoss === null ? {} : { baseLoss }),
      })),
    },
  };
}

export function saved({ step, files, adapter }: SavedFact): EventFact {
  return {
    $case: 'saved',
    value: { step: count(step), files: blobs(files), adapter: blobs(adapter) },
  };
}

export function finished(fact: FinishedFact): EventFact {
  return {
    $case: 'finished',
    value: {
      step: count(fact.step),
      trainedTokens: count(fact.trainedTokens),
      adapter: blobs(fact.adapter),
      peakRssBytes: count(fact.peakRssBytes),
      publishedStep: count(fact.publishedStep),
      ...forgetting(fact),
    },
  };
}

/** Numbers that are none are left out. */
function forgetting({ forgetting: found }: FinishedFact): Pick<Finished, 'forgetting'> {
  const { loss = null, baseLoss = null } = found ?? {};
  return loss === null || baseLoss === null ? {} : { forgetting: { loss, baseLoss } };
}

export function stopped(reason: StopReason, step: number): EventFact {
  return { $case: 'stopped', value: { reason: STOP_WORDS[reason], step: count(step) } };
}

export function log(
  level: LogFact['level'],
  message: string,
  code: string | null = null,
): EventFact {
  return { $case: 'log', value: { level, message, code: code ?? '' } };
}

export function failed(failure: Pick<FailedFact, 'code' | 'message'> & Partial<Failed>): EventFact {
  const { code, message, param = '', stderrTail = '', blame, process, damagedStep } = failure;
  const { retryable = isRetryable(code) } = failure;
  return {
    $case: 'failed',
    value: { code, message, param, retryable, stderrTail, blame, process, damagedStep },
  };
}

export function phase(fact: Pick<PhaseFact, 'code' | 'message' | 'progress'>): EventFact {
  return {
    $case: 'phase',
    value: { code: fact.code, message: fact.message, progress: real(fact.progress ?? 0) },
  };
}

export function blobs(files: readonly WrittenFile[]): BlobRef[] {
  return files.map(({ name, sha256, size }) => ({ name, sha256, size }));
}

/** Protobuf's unsigned integers take no fractions; JSON turned NaN into null on the way here. */
function count(value: number): number {
  return Number.isFinite(value) ? Math.max(0, Math.round(value)) : 0;
}

function reals(metrics: Readonly<Record<string, number | null>>): Record<string, number> {
  return Object.fromEntries(Object.entries(metrics).map(([name, value]) => [name, real(value)]));
}

function real(value: number | null): number {
  return value ?? NaN;
}
