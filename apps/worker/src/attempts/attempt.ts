import { join } from 'node:path';
import { DomainError, type Spec } from '@graft/contracts';
import { Blame, type Assignment, type Lease } from '@graft/contracts/grpc';
import type { Logger } from 'pino';
import type { Blobs } from '../blobs/blobs.js';
import { removeWritten } from '../blobs/written-folder.js';
import { isStale } from '../connection/connection-error.js';
import * as wire from '../events/wire-facts.js';
import { shortTexts } from '../protocol/fact-frames.js';
import { keyOf } from '../protocol/protocol.js';
import type {
  AttemptFact,
  FailedFact,
  FinishedFact,
  NeedsFact,
  StopReason,
} from '../protocol/protocol.js';
import { inWords, inWordsFor, isTogether } from '../trainers/blame.js';
import { failureClass, type TrainerExit } from '../trainers/exit-class.js';
import type { ResidentTrainer } from '../trainers/resident-trainer.js';
import type { Trainers } from '../trainers/trainers.js';
import { AttemptEvents, type Emit } from './attempt-events.js';
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
  readonly emit: Emit;
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
    const { assignment, folder, emit } = options;
    this.jobId = assignment.jobId;
    this.attempt = assignment.attempt;
    this.step = assignment.checkpointStep;
    this.log = options.log.child({ job: this.jobId, attempt: this.attempt });
    const workDir = join(folder, 'work');
    this.events = new AttemptEvents(this, emit);
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
        fact: (fact) => this.onFact(fact),
        exit: (exit, blame) => this.onTrainerExit(exit, blame),
      });
    } catch (error) {
      if (this.ended) return;
      if (this.stopping !== null) this.finish(wire.stopped(this.stopping, this.step));
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
      this.finish(wire.stopped(reason, this.step));
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
    if (trainer === null || spec === null || this.hasStarted) return;
    const key = keyOf(this);
    try {
      const run = { trainer, key, spec, bytes };
      const signal = AbortSignal.any([this.abort.signal, this.waiting.signal]);
      const reserved = await this.options.trainers.room.reserve(run, signal, this.events.phases());
      if (this.ended || !this.occupiesSlot) return trainer.free(key);
      this.reservedBytes = reserved;
      trainer.send({ type: 'admit', jobId, attempt, bytes: reserved });
    } catch (error) {
      if (this.ended || this.waiting.signal.aborted) return;
      trainer.send({ type: 'stop', jobId, attempt, reason: 'cancel' });
      this.finish(failureOf(error));
    }
  }

  private onFact(fact: AttemptFact): void {
    if (!this.ended) this.handleFact(shortTexts(fact));
  }

  private handleFact(fact: AttemptFact): void {
    switch (fact.type) {
      case 'needs':
        return void this.admit(fact);
      case 'started':
        this.hasStarted = true;
        this.step = fact.fromStep;
        return this.events.add(
          wire.started(fact, this.trainer?.process.name ?? '', this.reservedBytes),
        );
      case 'step':
        this.step = fact.step;
        return this.events.add(wire.step(fact));
      case 'evaluated':
        return this.events.add(wire.evaluated(fact));
      case 'sampled':
        return this.events.add(wire.sampled(fact));
      case 'ledger':
        return this.events.add(wire.ledger(fact));
      case 'phase':
        return this.events.add(wire.phase(fact));
      case 'log':
        return this.events.add(wire.log(fact.level, fact.message, fact.code));
      case 'saved':
        return this.uploads.checkpoint(fact);
      case 'finished':
        return void this.handOver(fact);
      case 'failed':
        // of media, as its field tells; after a checkpoint the next try would have to fetch what it reads anew
        if (fact.code === 'disk_full' && fact.param) void this.options.blobs.dropIdle();
        return void this.endAfterUploads(this.failed(fact));
      case 'stopped':
        if (this.hasStarted) this.step = fact.step;
        return void this.endAfterUploads(wire.stopped(fact.reason, this.step));
      default:
        return fact satisfies never;
    }
  }

  /** What the run itself failed of. Where it names no field of the job, others may have had a part in it. */
  private failed(fact: FailedFact): wire.EventFact {
    const isOwn = Boolean(fact.param) || !isTogether(fact.code);
    const isSuspect = !isOwn && this.trainer?.holdsOnly(this) === false;
    const blame = isSuspect ? { blame: Blame.BLAME_SHARED } : {};
    return wire.failed({ ...fact, ...blame, ...this.process, param: fact.param ?? '' });
  }

  private get process(): { readonly process?: string } {
    return this.trainer === null ? {} : { process: this.trainer.process.name };
  }

  private onTrainerExit(exit: TrainerExit, blame: Blame): void {
    if (this.ended || !this.occupiesSlot) return;
    this.log.warn(
      { class: exit.class, signal: exit.signal, code: exit.code, blame: inWords(blame) },
      'trainer ended under a run',
    );
    if (this.stopping === 'cancel')
      return void this.endAfterUploads(wire.stopped('cancel', this.step));
    void this.endAfterUploads(
      wire.failed({
        code: failureClass(exit),
        message: inWordsFor(exit, blame),
        // What the process said last may be of another's data.
        stderrTail: blame === Blame.BLAME_OTHER ? '' : exit.stderrTail,
        blame,
        ...this.process,
      }),
    );
  }

  private forceStop(): void {
    if (this.ended || !this.occupiesSlot) return;
    this.trainer?.terminate(this, false);
    void this.endAfterUploads(wire.stopped('cancel', this.step));
  }

  /** The run is done: when its adapter is up, so is the lease. */
  private async handOver(fact: FinishedFact): Promise<void> {
    this.leaveTrainer();
    try {
      await this.uploads.adapter(fact.adapter);
      this.finish(wire.finished(fact));
    } catch (error) {
      if (isStale(error)) this.kill();
      else this.finish(failureOf(error));
    }
  }

  private async endAfterUploads(fact: wire.EventFact): Promise<void> {
    this.leaveTrainer();
    await this.uploads.settled();
    this.finish(fact);
  }

  /** The last fact. The lease stays until the control plane has it. */
  private finish(fact: wire.EventFact): void {
    if (this.ended) return;
    this.leaveTrainer();
    if (fact.$case === 'failed' && fact.value.code === 'damaged_checkpoint')
      fact.value.damagedStep = this.options.assignment.checkpointStep;
    this.events.add(fact, () => this.options.onEnd());
    this.close();
    this.log.info({ step: this.step, fact: fact.$case }, 'run ended');
    void this.cleanUp();
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
