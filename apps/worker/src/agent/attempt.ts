import { join } from 'node:path';
import { DomainError, Spec } from '@graft/contracts';
import type { Assignment, BlobRef, Event, Lease } from '@graft/contracts/grpc';
import type { Logger } from 'pino';
import { failureClass, wasAsked, type TrainerExit } from '../trainer/exit-class.js';
import { shortTexts } from '../trainer/fact-frames.js';
import type { Fact, FactOf, StopReason } from '../trainer/protocol.js';
import { makePassage } from '../trainer/sandbox.js';
import type { BlobCache } from './blob-cache.js';
import { assemble, type BlobFolder } from './blob-folder.js';
import * as facts from './facts.js';
import { isStale } from './refusal.js';
import type { ResidentTrainer } from './resident-trainer.js';
import type { BaseWish, Say, Trainers } from './trainers.js';
import { Uploads } from './uploads.js';
import { removeWritten } from './written-folder.js';

export interface AttemptOptions {
  readonly assignment: Assignment;
  readonly cache: BlobCache;
  readonly trainers: Trainers;
  /** The base's files; shared by every run on that base. */
  readonly baseFolder: (wish: BaseWish, say: Say) => Promise<BlobFolder>;
  /** The only folder of this attempt; removed when it ends. */
  readonly folder: string;
  readonly put: (
    attempt: Attempt,
    path: string,
    ref: BlobRef,
    signal: AbortSignal,
  ) => Promise<void>;
  readonly emit: (event: Event, acknowledged?: () => void) => void;
  readonly log: Logger;
  /** The trainer has let go of the run: its slot is free. */
  readonly onFree: (attempt: Attempt) => void;
  /** The control plane knows how it ended (or does not care): the lease is over. */
  readonly onEnd: (attempt: Attempt) => void;
}

/** A cancelled run gets this long to go by itself. */
const CANCEL_MS = 10_000;

/** One lease on this worker: fetches what the run needs, gives it to a trainer, and carries its facts up. */
export class Attempt {
  readonly jobId: string;
  readonly epoch: number;
  step: number;
  /** False once the trainer has let go of it; only facts and files are still on their way. */
  occupiesSlot = true;
  private sequence = 0;
  private ended = false;
  private waitsFor = '';
  private stopping: StopReason | null = null;
  private trainer: ResidentTrainer | null = null;
  private running = false;
  /** Ends everything, the uploads too. */
  private readonly abort = new AbortController();
  /** Ends only what comes before training. */
  private readonly preparation = new AbortController();
  private readonly folders: BlobFolder[] = [];
  private readonly uploads: Uploads;

  constructor(private readonly options: AttemptOptions) {
    this.jobId = options.assignment.jobId;
    this.epoch = options.assignment.epoch;
    this.step = options.assignment.checkpointStep;
    this.uploads = new Uploads({
      workDir: this.workDir,
      cache: options.cache,
      put: (path, ref, signal) => options.put(this, path, ref, signal),
      signal: this.abort.signal,
      onFailure: (error) => this.uploadFailed(error),
    });
  }

  private get workDir(): string {
    return join(this.options.folder, 'work');
  }

  get lease(): Lease {
    return { jobId: this.jobId, epoch: this.epoch, step: this.step };
  }

  /** Never rejects: whatever goes wrong becomes the run's `failed` fact. */
  async start(): Promise<void> {
    try {
      await this.prepareAndStart();
    } catch (error) {
      if (this.abort.signal.aborted || this.ended) return;
      if (this.stopping !== null) this.finish(this.stoppedFact(this.step));
      else this.finish(failureOf(error));
    }
  }

  /** Idempotent. cancel ends it; pause and drain save a checkpoint first. */
  stop(reason: StopReason): void {
    if (this.ended || !this.occupiesSlot) return;
    if (this.stopping === reason || this.stopping === 'cancel') return;
    this.stopping = reason;
    if (!this.running || this.trainer === null) {
      // Nothing was computed yet: it ends where its checkpoint was.
      this.finish(this.stoppedFact(this.step));
      this.preparation.abort(new DomainError('conflict', 'the run was stopped'));
      return;
    }
    this.trainer.tell({ type: 'stop', jobId: this.jobId, epoch: this.epoch, reason });
    if (reason === 'cancel') setTimeout(() => this.insist(), CANCEL_MS).unref();
  }

  /** The lease is not ours any more: ends the run at once and tells nobody. */
  kill(): void {
    if (this.ended) return;
    this.options.log.warn(
      { job: this.jobId, epoch: this.epoch },
      'run killed: its lease is not ours any more',
    );
    this.abandon(new DomainError('conflict', 'the lease was lost'));
  }

  /** Ends everything of this run here, uploads too, without a fact. */
  abandon(reason: Error): void {
    if (this.ended) return;
    this.ended = true;
    this.abort.abort(reason);
    this.preparation.abort(reason);
    this.trainer?.drop(this, this.stopping === 'cancel');
    void this.cleanUp().then(() => this.options.onEnd(this));
  }

  private async prepareAndStart(): Promise<void> {
    const { assignment, trainers, folder } = this.options;
    const { base, trainingFile } = assignment;
    const spec = readSpec(assignment.specJson);
    if (base === undefined || trainingFile === undefined)
      throw new DomainError('io_error', 'the assignment names no base or no training file');
    const { signal } = this.preparation;
    const say = this.say();
    await makePassage(folder);
    await trainers.makeFolder(this.workDir);
    const fetched = async (name: string, files: readonly BlobRef[]): Promise<string | null> => {
      if (files.length === 0) return null;
      const place = await assemble(this.options, join(folder, name), files, signal, (share) =>
        say('downloading', `downloading the ${name} files`, share),
      );
      if (signal.aborted) {
        await place.release();
        throw signal.reason;
      }
      this.folders.push(place);
      return place.path;
    };
    const trainDir = await fetched('training', [trainingFile]);
    const validDir =
      assignment.validationFile && (await fetched('validation', [assignment.validationFile]));
    const initAdapterDir = await fetched('initial-adapter', assignment.initAdapter);
    const checkpointDir = await fetched('checkpoint', assignment.checkpoint);
    const wish: BaseWish = { base, dtype: spec.base_dtype, quantization: spec.quantization };
    const trainer = await trainers.acquire(
      wish,
      (tell) => this.options.baseFolder(wish, tell),
      signal,
      say,
    );
    if (signal.aborted) {
      trainers.release(trainer);
      throw signal.reason;
    }
    this.trainer = trainer;
    this.running = true;
    trainer.start(
      {
        type: 'start',
        jobId: this.jobId,
        epoch: this.epoch,
        spec,
        baseId: base.id,
        baseName: base.nameOrPath || base.id,
        trainFile: join(trainDir ?? '', trainingFile.name),
        validFile:
          validDir && assignment.validationFile
            ? join(validDir, assignment.validationFile.name)
            : null,
        initAdapterDir,
        checkpointDir,
        workDir: this.workDir,
      },
      { fact: (fact) => this.hear(fact), exit: (exit) => this.trainerExited(exit) },
    );
  }

  private hear(fact: Fact): void {
    if (this.ended) return;
    this.take(shortTexts(fact));
  }

  private take(fact: Fact): void {
    switch (fact.type) {
      case 'started':
        this.step = fact.fromStep;
        return this.emit(facts.started(fact));
      case 'step':
        this.step = fact.step;
        return this.emit(facts.step(fact));
      case 'evaluated':
        return this.emit(facts.evaluated(fact));
      case 'phase':
        return this.emit(facts.phase(fact));
      case 'log':
        return this.emit({
          $case: 'log',
          value: { level: fact.level, message: fact.message, code: fact.code ?? '' },
        });
      case 'saved':
        return this.saved(fact);
      case 'finished':
        void this.finished(fact);
        return;
      case 'failed':
        void this.endAfterUploads(facts.failed({ ...fact, param: fact.param ?? '' }));
        return;
      case 'stopped':
        this.step = fact.step;
        void this.endAfterUploads(this.stoppedFact(fact.step, fact.reason));
        return;
      default:
        return;
    }
  }

  private saved(fact: FactOf<'saved'>): void {
    const value = {
      step: facts.count(fact.step),
      files: facts.blobs(fact.files),
      adapter: facts.blobs(fact.adapter),
    };
    this.uploads.checkpoint(value.step, fact.files, () => {
      if (!this.ended) this.emit({ $case: 'saved', value });
    });
  }

  private async finished(fact: FactOf<'finished'>): Promise<void> {
    this.leaveTrainer();
    try {
      await this.uploads.last(fact.adapter);
      this.finish({
        $case: 'finished',
        value: {
          step: facts.count(fact.step),
          trainedTokens: facts.count(fact.trainedTokens),
          adapter: facts.blobs(fact.adapter),
          peakRssBytes: facts.count(fact.peakRssBytes),
        },
      });
    } catch (error) {
      if (isStale(error)) this.kill();
      else if (!this.ended) this.finish(failureOf(error));
    }
  }

  private async endAfterUploads(fact: facts.EventFact): Promise<void> {
    this.leaveTrainer();
    await this.uploads.settled();
    if (!this.ended) this.finish(fact);
  }

  private trainerExited(exit: TrainerExit): void {
    if (this.ended || !this.occupiesSlot) return;
    this.options.log.warn(
      {
        job: this.jobId,
        epoch: this.epoch,
        class: exit.class,
        signal: exit.signal,
        code: exit.code,
      },
      'trainer ended under a run',
    );
    if (this.stopping === 'cancel') return void this.endAfterUploads(this.stoppedFact(this.step));
    const asked = wasAsked(exit);
    void this.endAfterUploads(
      facts.failed({
        code: failureClass(exit),
        message: asked ? 'the trainer process was ended while it held this run' : exit.message,
        retryable: asked || exit.retryable,
        stderrTail: exit.stderrTail,
      }),
    );
  }

  /** An upload is refused for now and tried again: said once, and again only in other words. */
  uploadWaits(reason: string): void {
    if (this.ended || reason === this.waitsFor) return;
    this.waitsFor = reason;
    this.emit({
      $case: 'log',
      value: { level: 'warn', message: `an upload waits: ${reason}`, code: '' },
    });
  }

  private uploadFailed(error: unknown): void {
    if (isStale(error)) return this.kill();
    const message = error instanceof Error ? error.message : String(error);
    this.options.log.error(
      { job: this.jobId, epoch: this.epoch, error: message },
      'a checkpoint could not be uploaded',
    );
    this.emit({
      $case: 'log',
      value: {
        level: 'error',
        message: `a checkpoint could not be uploaded: ${message}`,
        code: '',
      },
    });
  }

  private insist(): void {
    if (this.ended || !this.occupiesSlot) return;
    this.trainer?.drop(this, false);
    void this.endAfterUploads(this.stoppedFact(this.step));
  }

  private stoppedFact(
    step: number,
    reason: StopReason = this.stopping ?? 'drain',
  ): facts.EventFact {
    return {
      $case: 'stopped',
      value: { reason: facts.STOP_WORDS[reason], step: facts.count(step) },
    };
  }

  /** The last fact. The lease stays until the control plane has it. */
  private finish(fact: facts.EventFact): void {
    if (this.ended) return;
    this.leaveTrainer();
    const event = this.event(fact);
    this.ended = true;
    this.options.log.info(
      { job: this.jobId, epoch: this.epoch, step: this.step, fact: fact.$case },
      'run ended',
    );
    void this.cleanUp();
    this.options.emit(event, () => this.options.onEnd(this));
  }

  private leaveTrainer(): void {
    this.trainer?.forget(this);
    if (!this.occupiesSlot) return;
    this.occupiesSlot = false;
    if (this.trainer !== null) this.options.trainers.release(this.trainer);
    this.options.onFree(this);
  }

  private async cleanUp(): Promise<void> {
    this.leaveTrainer();
    await this.uploads.settled();
    for (const folder of this.folders.splice(0)) await folder.release();
    await removeWritten(this.options.folder).catch((error: Error) =>
      this.options.log.warn(
        { job: this.jobId, error: error.message },
        'the run folder could not be removed',
      ),
    );
  }

  private say(): Say {
    let last = '';
    let saidAt = 0;
    return (code, message, progress) => {
      // A download reports thousands of shares; people read two a second.
      const now = performance.now();
      if (this.ended || (message === last && (progress === undefined || now - saidAt < 500)))
        return;
      last = message;
      saidAt = now;
      this.emit(facts.phase({ code, message, progress: progress ?? null }));
    };
  }

  private emit(fact: facts.EventFact): void {
    this.options.emit(this.event(fact));
  }

  private event(fact: facts.EventFact): Event {
    return {
      jobId: this.jobId,
      epoch: this.epoch,
      sequence: ++this.sequence,
      atUnixMs: Date.now(),
      fact,
    };
  }
}

function readSpec(json: string): Spec {
  try {
    return Spec.parse(JSON.parse(json));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new DomainError(
      'unsupported',
      `this worker cannot read the job's spec (is it older than the API?): ${reason}`,
    );
  }
}

/** Classes that another try, perhaps elsewhere, may cure. */
const RETRYABLE: ReadonlySet<string> = new Set([
  'io_error',
  'crash',
  'hang',
  'lost_worker',
  'oom_host',
  'disk_full',
]);

function failureOf(error: unknown): facts.EventFact {
  if (error instanceof DomainError)
    return facts.failed({
      code: error.code,
      message: error.message,
      param: error.param ?? '',
      retryable: RETRYABLE.has(error.code),
    });
  const full =
    error instanceof Error &&
    'code' in error &&
    (error.code === 'ENOSPC' || error.code === 'EDQUOT');
  const message = error instanceof Error ? error.message : String(error);
  return facts.failed({ code: full ? 'disk_full' : 'io_error', message, retryable: true });
}
