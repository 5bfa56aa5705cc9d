import { join } from 'node:path';
import {
  DomainError,
  isRetryable,
  type Blame,
  type EndName,
  type PayloadOf,
  type RunEventOf,
  type Spec,
  type StopReason,
} from '@graft/contracts';
import type { Assignment, Lease } from '@graft/contracts/grpc';
import type { Logger } from 'pino';
import type { Blobs } from '../blobs/blobs.js';
import { removeWritten } from '../blobs/written-folder.js';
import { isStale } from '../connection/connection-error.js';
import type { EventFeed } from '../events/event-feed.js';
import { keyOf } from '../protocol/protocol.js';
import type { NeedsFact, ReadEvent } from '../protocol/protocol.js';
import { exitMessageFor, isTogether } from '../trainer-pool/blame.js';
import { failureClass, type TrainerExit } from '../trainer-pool/exit-class.js';
import type { ResidentTrainer } from '../trainer-pool/resident-trainer.js';
import type { Trainers } from '../trainer-pool/trainers.js';
import { AttemptEvents } from './attempt-events.js';
import { failureOf } from './failure.js';
import { Preparation } from './preparation.js';
import { Uploads } from './uploads.js';

export interface AttemptOptions {
  readonly assignment: Assignment;
  readonly blobs: Blobs;
  readonly trainers: Trainers;
  /** Creates a folder that trainers may write to. */
  readonly makeFolder: (path: string) => Promise<void>;
  /** Folder of this attempt; removed when it ends. */
  readonly folder: string;
  /** Sends the events of the attempt to the control plane. */
  readonly feed: Pick<EventFeed, 'add'>;
  readonly log: Logger;
  /** Called when the trainer has released the run, so that its slot is free. */
  readonly onFree: () => void;
  /** Called when the lease is over: the control plane has acknowledged the end, or the lease was lost. */
  readonly onEnd: () => void;
}

/** Time for a canceled run to stop by itself before it is killed. */
const CANCEL_MS = 10_000;

/** Lease on this worker: prepares a run, trains it in a trainer, and uploads its files and its result. */
export class Attempt {
  readonly jobId: string;
  readonly attempt: number;
  step: number;
  /** Whether the trainer holds the run. Afterwards, only facts and files are still being sent. */
  occupiesSlot = true;
  private ended = false;
  private stopping: StopReason | null = null;
  /** Trainer of the run; null until the run is started in it. */
  private trainer: ResidentTrainer | null = null;
  private spec: Spec | null = null;
  private hasStarted = false;
  /** Reserved device memory, without the base. */
  private reservedBytes: number | null = null;
  /** Cancels waiting for memory. */
  private readonly waiting = new AbortController();
  /** Cancels everything, including uploads. */
  private readonly abort = new AbortController();
  private readonly events: AttemptEvents;
  private readonly preparation: Preparation;
  private readonly uploads: Uploads;
  private readonly log: Logger;

  constructor(private readonly options: AttemptOptions) {
    const { assignment, folder, feed } = options;
    this.jobId = assignment.jobId;
    this.attempt = assignment.attempt;
    this.step = assignment.checkpointStep;
    this.log = options.log.child({ job: this.jobId, attempt: this.attempt });
    const workDir = join(folder, 'work');
    this.events = new AttemptEvents(this, feed);
    this.preparation = new Preparation({ ...options, workDir, report: this.events.phases() });
    this.uploads = new Uploads({
      attempt: { jobId: this.jobId, attempt: this.attempt },
      workDir,
      blobs: options.blobs,
      events: this.events,
      signal: this.abort.signal,
      log: this.log,
      onStale: () => this.kill(),
    });
  }

  get lease(): Lease {
    return { jobId: this.jobId, attempt: this.attempt, step: this.step };
  }

  /** Never rejects: errors are reported as the run's `failed` event. */
  async start(): Promise<void> {
    try {
      const { trainer, command } = await this.preparation.run();
      this.trainer = trainer;
      this.spec = command.spec;
      trainer.start(command, {
        needs: (fact) => void this.admit(fact),
        event: (event) => this.onEvent(event),
        exit: (exit, blame) => this.onTrainerExit(exit, blame),
      });
    } catch (error) {
      if (this.ended) return;
      if (this.stopping !== null) this.finish(this.stopped(this.stopping));
      else this.finish(failureOf(error));
    }
  }

  /** Stops the run; all reasons but `cancel` save a checkpoint first. Idempotent. */
  stop(reason: StopReason): void {
    if (this.ended || !this.occupiesSlot) return;
    if (this.stopping === reason || this.stopping === 'cancel') return;
    this.stopping = reason;
    if (this.trainer === null) {
      // The run has not computed anything yet and ends at the step of its checkpoint.
      this.finish(this.stopped(reason));
      this.preparation.stop(new DomainError('conflict', 'the run was stopped'));
      return;
    }
    this.waiting.abort(new DomainError('conflict', 'the run was stopped'));
    this.trainer.send({ type: 'stop', jobId: this.jobId, attempt: this.attempt, reason });
    if (reason === 'cancel') setTimeout(() => this.forceStop(), CANCEL_MS).unref();
  }

  /**
   * Finishes the run at a step, with a model of that step. Idempotent. Before training starts it has no effect; the command
   * is repeated with the next heartbeat.
   */
  finishAt(step: number): void {
    if (this.ended || !this.occupiesSlot || !this.hasStarted) return;
    const { jobId, attempt } = this;
    this.trainer?.send({ type: 'finish', jobId, attempt, step });
  }

  /** Kills the trainer process as a drill. This run and all others in it are reported as failed. */
  interrupt(): void {
    if (this.ended || !this.occupiesSlot || this.trainer === null) return;
    this.log.warn('the trainer process is killed on purpose');
    this.trainer.process.interrupt();
  }

  /** Ends the run immediately and without a report, because its lease was lost. */
  kill(): void {
    if (this.ended) return;
    this.log.warn('run killed because its lease was lost');
    this.abandon(new DomainError('conflict', 'the lease was lost'));
  }

  /** Ends the run and its uploads without a report. */
  abandon(reason: Error): void {
    if (this.ended) return;
    this.close();
    this.abort.abort(reason);
    this.preparation.stop(reason);
    this.trainer?.terminate(this, this.stopping === 'cancel');
    void this.cleanUp().then(() => this.options.onEnd());
  }

  /** Starts the run when enough memory is free. */
  private async admit({ bytes }: NeedsFact): Promise<void> {
    const { trainer, spec, jobId, attempt } = this;
    if (this.ended || trainer === null || spec === null || this.hasStarted) return;
    const key = keyOf(this);
    try {
      const run = { trainer, key, spec, bytes };
      const signal = AbortSignal.any([this.abort.signal, this.waiting.signal]);
      const reserved = await this.options.trainers.memory.reserve(
        run,
        signal,
        this.events.phases(),
      );
      if (this.ended || !this.occupiesSlot) return trainer.free(key);
      this.reservedBytes = reserved;
      trainer.send({ type: 'admit', jobId, attempt, bytes: reserved });
    } catch (error) {
      if (this.ended || this.waiting.signal.aborted) return;
      trainer.send({ type: 'stop', jobId, attempt, reason: 'cancel' });
      this.finish(failureOf(error));
    }
  }

  /** Processes events that concern the lease or the files, and forwards all others to the control plane. */
  private onEvent(event: ReadEvent): void {
    if (this.ended) return;
    switch (event.kind) {
      case 'started':
        return this.started(event.payload);
      case 'saved':
        return this.uploads.checkpoint(event.payload);
      case 'finished':
        return void this.handOver(event.payload);
      case 'failed':
        return this.failed(event.payload);
      case 'stopped':
        if (this.hasStarted) this.step = event.payload.step;
        return void this.endAfterUploads(this.stopped(event.payload.reason));
      case 'step':
        this.step = event.payload.step;
        return this.events.forward(event.kind, event.json);
      default:
        return this.events.forward(event.kind, event.json);
    }
  }

  private started(payload: PayloadOf<'started'>): void {
    this.hasStarted = true;
    this.step = payload.from_step;
    const { reservedBytes } = this;
    const reserved = reservedBytes === null ? {} : { run_bytes: Math.round(reservedBytes) };
    const origin = this.trainer === null ? {} : this.options.trainers.originOf(this.trainer);
    this.events.add({
      kind: 'started',
      payload: { ...payload, ...this.process, ...origin, ...reserved },
    });
  }

  /** Handles a failure that the run reported. If it names no field of the job, other runs may have caused it. */
  private failed({ code, message, param, retryable }: PayloadOf<'failed'>): void {
    // disk_full with a field: no space for decoded media, so free the cache. Without a field: a checkpoint did not fit, and
    // the next attempt needs the cached files.
    if (code === 'disk_full' && param) void this.options.blobs.dropIdle();
    const isOwn = Boolean(param) || !isTogether(code);
    const isSuspect = !isOwn && this.trainer?.holdsOnly(this) === false;
    const blame = isSuspect ? { blame: 'shared' as const } : {};
    const payload = { code, message, param, retryable, ...blame, ...this.process };
    void this.endAfterUploads({ kind: 'failed', payload });
  }

  private stopped(reason: PayloadOf<'stopped'>['reason']): RunEventOf<'stopped'> {
    return { kind: 'stopped', payload: { reason, step: this.step } };
  }

  private get process(): { readonly process?: string } {
    return this.trainer === null ? {} : { process: this.trainer.process.name };
  }

  private onTrainerExit(exit: TrainerExit, blame: Blame | null): void {
    if (this.ended || !this.occupiesSlot) return;
    this.log.warn(
      { class: exit.class, signal: exit.signal, code: exit.code, blame },
      'trainer exited during a run',
    );
    if (this.stopping === 'cancel') return void this.endAfterUploads(this.stopped('cancel'));
    const code = failureClass(exit);
    void this.endAfterUploads({
      kind: 'failed',
      payload: {
        code,
        message: exitMessageFor(exit, blame),
        param: null,
        retryable: isRetryable(code),
        // The end of stderr may be about another run's data.
        ...(blame === 'other' ? {} : { stderr_tail: exit.stderrTail }),
        ...(blame === null ? {} : { blame }),
        ...this.process,
      },
    });
  }

  private forceStop(): void {
    if (this.ended || !this.occupiesSlot) return;
    this.trainer?.terminate(this, false);
    void this.endAfterUploads(this.stopped('cancel'));
  }

  /** Uploads the adapter of a complete run, then ends the lease. */
  private async handOver(payload: PayloadOf<'finished'>): Promise<void> {
    this.leaveTrainer();
    try {
      await this.uploads.adapter(payload.adapter);
      this.finish({ kind: 'finished', payload });
    } catch (error) {
      if (isStale(error)) this.kill();
      else this.finish(failureOf(error));
    }
  }

  private async endAfterUploads(end: RunEventOf<EndName>): Promise<void> {
    this.leaveTrainer();
    await this.uploads.settled();
    this.finish(end);
  }

  /** Sends the last event. The lease stays until the control plane acknowledges it. */
  private finish(end: RunEventOf<EndName>): void {
    if (this.ended) return;
    this.leaveTrainer();
    this.events.add(this.withDamagedStep(end), () => this.options.onEnd());
    this.close();
    this.log.info({ step: this.step, event: end.kind }, 'run ended');
    void this.cleanUp();
  }

  private withDamagedStep(end: RunEventOf<EndName>): RunEventOf<EndName> {
    if (end.kind !== 'failed' || end.payload.code !== 'damaged_checkpoint') return end;
    const { checkpointStep } = this.options.assignment;
    return { kind: 'failed', payload: { ...end.payload, damaged_step: checkpointStep } };
  }

  private close(): void {
    this.ended = true;
    this.events.close();
  }

  private leaveTrainer(): void {
    this.waiting.abort(new DomainError('conflict', 'the run is over'));
    this.trainer?.unsubscribe(this);
    if (!this.occupiesSlot) return;
    this.occupiesSlot = false;
    if (this.trainer !== null) this.options.trainers.release(this.trainer);
    this.options.onFree();
  }

  private async cleanUp(): Promise<void> {
    this.leaveTrainer();
    await this.uploads.settled();
    await this.preparation.release();
    await removeWritten(this.options.folder).catch((error: Error) =>
      this.log.warn({ error: error.message }, 'the run folder could not be removed'),
    );
  }
}
