// Facts as a trainer tells them → facts as they travel to the control plane.
import type { BlobRef, Event, Failed } from '@graft/contracts/grpc';
import type {
  EvaluatedFact,
  FailedFact,
  PhaseFact,
  StartedFact,
  StepFact,
  StopReason,
  WrittenFile,
} from '../trainer/protocol.js';

export type EventFact = NonNullable<Event['fact']>;

export const STOP_WORDS: Readonly<Record<StopReason, string>> = {
  cancel: 'cancelled',
  pause: 'paused',
  drain: 'drained',
};

export function started(fact: StartedFact): EventFact {
  return {
    $case: 'started',
    value: {
      fromStep: count(fact.fromStep),
      totalSteps: count(fact.totalSteps),
      trainableParameters: count(fact.trainableParameters),
      totalParameters: count(fact.totalParameters),
      trainingExamples: count(fact.trainingExamples),
    },
  };
}

export function step(fact: StepFact): EventFact {
  return {
    $case: 'step',
    value: {
      step: count(fact.step),
      loss: real(fact.loss),
      learningRate: real(fact.learningRate),
      gradNorm: real(fact.gradNorm),
      tokens: count(fact.tokens),
      supervisedTokens: count(fact.supervisedTokens),
      accuracy: real(fact.accuracy),
      seconds: real(fact.seconds),
      rssBytes: count(fact.rssBytes),
    },
  };
}

export function evaluated(fact: EvaluatedFact): EventFact {
  return {
    $case: 'evaluated',
    value: {
      step: count(fact.step),
      loss: real(fact.loss),
      accuracy: real(fact.accuracy),
      tokens: count(fact.tokens),
      full: fact.full,
    },
  };
}

export function failed(
  failure: Pick<FailedFact, 'code' | 'message' | 'retryable'> & Partial<Failed>,
): EventFact {
  const { code, message, retryable, param = '', stderrTail = '' } = failure;
  return { $case: 'failed', value: { code, message, param, retryable, stderrTail } };
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
export function count(value: number): number {
  return Number.isFinite(value) ? Math.max(0, Math.round(value)) : 0;
}

function real(value: number | null): number {
  return value ?? NaN;
}
