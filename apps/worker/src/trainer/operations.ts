// Operations on adapters, which are processed in parts between the turns of training runs.
import {
  failureOf,
  operate,
  operationBytes,
  operationInWords,
  type Base,
  type OperationResult,
  type Work,
} from '@graft/peft-core';
import { keyOf } from '../protocol/protocol.js';
import type { AdmitCommand, AttemptKey, Fact, StartCommand } from '../protocol/protocol.js';
import { eventOf } from './training-runs.js';
import type { WorkMark } from './work-mark.js';

type Operation = NonNullable<StartCommand['spec']['operation']>;

interface Job {
  readonly key: AttemptKey;
  readonly base: Base;
  readonly operation: Operation;
  readonly work: Work<OperationResult>;
  /** Whether memory is reserved for it. */
  isAdmitted: boolean;
}

const PHASE = 'operating';

export class Operations {
  private readonly jobs = new Map<string, Job>();

  constructor(
    private readonly send: (fact: Fact) => boolean,
    private readonly mark: WorkMark,
    private readonly nextId: () => number,
  ) {}

  get busy(): boolean {
    return [...this.jobs.values()].some(({ isAdmitted }) => isAdmitted);
  }

  /** @throws if its files cannot be read */
  start(
    base: Base,
    { jobId, attempt, spec, baseName, adapterDirs = [], workDir, asks }: StartCommand,
  ): void {
    const key = { jobId, attempt };
    const operation = spec.operation as Operation;
    const work = operate(base, spec, {
      nextId: this.nextId,
      baseName,
      adapterDirs,
      workDir,
      onLog: (level, message) =>
        void this.send(eventOf(key, { type: 'log', level, code: null, message })),
    });
    const waits = asks === true;
    const bytes = operationBytes(base, operation, adapterDirs);
    this.jobs.set(keyOf(key), { key, base, operation, work, isAdmitted: !waits });
    if (waits) this.send({ type: 'needs', ...key, bytes });
  }

  /** Admits an operation. Returns false if the key is not that of an operation. */
  admit(command: AdmitCommand): boolean {
    const job = this.jobs.get(keyOf(command));
    if (job) job.isAdmitted = true;
    return job !== undefined;
  }

  /** Discards an operation. Returns false if the key is not that of an operation. */
  stop(key: AttemptKey): boolean {
    const job = this.jobs.get(keyOf(key));
    if (!job) return false;
    this.jobs.delete(keyOf(key));
    // Releases resources of the base.
    job.work.return(undefined as never);
    return true;
  }

  /** Continues each operation by a part. */
  work(): void {
    for (const job of this.jobs.values()) if (job.isAdmitted) this.next(job);
  }

  private next({ key, base, operation, work }: Job): void {
    this.mark.runs([key]);
    try {
      const { done, value } = work.next();
      const message = operationInWords(operation);
      if (!done) this.send(eventOf(key, { type: 'phase', code: PHASE, message, progress: value }));
      else this.finished(key, base, value);
    } catch (error) {
      this.jobs.delete(keyOf(key));
      this.send(eventOf(key, failureOf(error)));
    }
    this.mark.idle();
  }

  private finished(key: AttemptKey, base: Base, result: OperationResult): void {
    const { parameters, ...fact } = result;
    this.jobs.delete(keyOf(key));
    this.send(
      eventOf(key, {
        type: 'started',
        from_step: 0,
        total_steps: 0,
        trainable_parameters: parameters,
        total_parameters: base.model.parameterCount,
        training_examples: 0,
      }),
    );
    this.send(eventOf(key, fact));
  }
}
