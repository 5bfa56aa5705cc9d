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
import { inWordsFor, isTogether } from '../trainer-pool/blame.js';
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
  /** Makes a folder that a trainer may write in. */
  readonly makeFolder: (path: string) => Promise<void>;
  /** The only folder of this attempt; removed when it ends. */
  readonly folder: string;
  /** Takes its events up the stream. */
  readonly feed: Pick<EventFeed, 'add'>;
  readonly log: Logger;
  /** The trainer has let go of the run: its slot is free. */
  readonly onFree: () => void;
  /** The control plane knows how it ended (or does not care): the lease is over. */
  readonly onEnd: () => void;
}

/** A cancelled run gets this long to go by itself. */
const CANCEL_MS = 10_000;

/** One lease on this worker: a run is prepared, trained by a trainer, and its files and its end are handed over. */
export class Attempt {
  readonly jobId: string;
  readonly attempt: number;
  step: number;
  /** False once the trainer has let go of it; only facts and files are still on their way. */
  occupiesSlot = true;
  private ended = false;
  private stopping: StopReason | null = null;
  /** Set once the run is in it. */
  private trainer: ResidentTrainer | null = null;
  private spec: Spec | null = null;
  private hasStarted = false;
  /** Of its device's memory, beside the base. */
  private reservedBytes: number | null = null;
  /** Ends its waiting for memory. */
  private readonly waiting = new AbortController();
  /** Ends everything, the uploads too. */
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

  /** Never rejects: whatever goes wrong becomes the run's `failed` fact. */
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

  /** Idempotent. cancel ends it; the others save a checkpoint first. */
  stop(reason: StopReason): void {
    if (this.ended || !this.occupiesSlot) return;
    if (this.stopping === reason || this.stopping === 'cancel') return;
    this.stopping = reason;
    if (this.trainer === null) {
      // Nothing was computed yet: it ends where its checkpoint was.
      this.finish(this.stopped(reason));
      this.preparation.stop(new DomainError('conflict', 'the run was stopped'));
      return;
    }
    this.waiting.abort(new DomainError('conflict', 'the run was stopped'));
    this.trainer.send({ type: 'stop', jobId: this.jobId, attempt: this.attempt, reason });
    if (reason === 'cancel') setTimeout(() => this.forceStop(), CANCEL_MS).unref();
  }

  /** Its model is what it has at that step. Idempotent; before it trains it is told again by the next heartbeat. */
  finishAt(step: number): void {
    if (this.ended || !this.occupiesSlot || !this.hasStarted) return;
    const { jobId, attempt } = this;
    this.trainer?.send({ type: 'finish', jobId, attempt, step });
  }

  /** The lease is not ours any more: ends the run at once and tells nobody. */
  kill(): void {
    if (this.ended) return;
    this.log.warn('run killed: its lease is not ours any more');
    this.abandon(new DomainError('conflict', 'the lease was lost'));
  }

  /** Ends everything of this run here, uploads too, without a fact. */
  abandon(reason: Error): void {
    if (this.ended) return;
    this.close();
    this.abort.abort(reason);
    this.preparation.stop(reason);
    this.trainer?.terminate(this, this.stopping === 'cancel');
    void this.cleanUp().then(() => this.options.onEnd());
  }

  /** The run begins when there is room for what it needs. */
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

  /** Acts on the kinds that concern the lease or the files; all others are the control plane's alone. */
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
    this.events.add({ kind: 'started', payload: { ...payload, ...this.process, ...reserved } });
  }

  /** The run itself failed. Where it names no field of the job, others may have had a part in it. */
  private failed({ code, message, param, retryable }: PayloadOf<'failed'>): void {
    // A full disk that names a field has no room for decoded media. A checkpoint that did not fit names none: the next try
    // needs what is in the cache.
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
      'trainer ended under a run',
    );
    if (this.stopping === 'cancel') return void this.endAfterUploads(this.stopped('cancel'));
    const code = failureClass(exit);
    void this.endAfterUploads({
      kind: 'failed',
      payload: {
        code,
        message: inWordsFor(exit, blame),
        param: null,
        retryable: isRetryable(code),
        // The last lines of the process may be about another run's data.
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

  /** The run is done: when its adapter is up, so is the lease. */
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

  /** The last event. The lease stays until the control plane has it. */
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
