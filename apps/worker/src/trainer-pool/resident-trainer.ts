import { DomainError, isEnd, readAnswer, type Blame, type RequestKind } from '@graft/contracts';
import type { BaseRef } from '@graft/contracts/grpc';
import type { TrainerProcess } from './trainer-process.js';
import { blameFor } from './blame.js';
import { failureClass, type TrainerExit } from './exit-class.js';
import {
  keyOf,
  type Command,
  type AskCommand,
  type NeedsFact,
  type ReadAnswer,
  type ReadEvent,
  type ReadFact,
  type AttemptKey,
  type StartCommand,
} from '../protocol/protocol.js';
import type { Bases, ReportPhase } from './bases.js';
import { allocatedBy } from './memory.js';
import type { Place, Precision } from './trainers.js';

export interface RunListener {
  needs(fact: NeedsFact): void;
  event(event: ReadEvent): void;
  /** The process exited during the run. `blame` is null if no run is to blame, or if it is unknown. */
  exit(exit: TrainerExit, blame: Blame | null): void;
}

/** Key of the reservation for model requests. */
export const ANSWERS = 'answers';

/** Time for a trainer to drop its only run before it is killed. */
const STOP_MS = 2000;

interface OpenRequest {
  readonly kind: RequestKind;
  readonly listener: (fact: ReadAnswer) => void;
}

/** Trainer process with its base, its runs and their listeners. */
export class ResidentTrainer {
  /** Number of runs and requests that use this process. */
  users = 0;
  idleSince = performance.now();
  isLoaded = false;
  readonly loaded: Promise<void>;
  /** Whether it is stopping, so that its memory will be free soon. */
  isLeaving = false;
  private readonly runs = new Map<string, RunListener>();
  /** Bytes reserved for runs and requests, without the base. */
  private readonly reserved = new Map<string, number>();
  private readonly answers = new Map<string, OpenRequest>();
  private readonly phases = new Set<ReportPhase>();
  /** GPU memory in use, as last reported by the trainer. */
  private deviceBytes = 0;

  constructor(
    readonly process: TrainerProcess,
    readonly base: BaseRef,
    precision: Precision,
    readonly place: Place,
    bases: Bases,
    /** Whether it is reserved for a single run. */
    readonly isAlone = false,
  ) {
    this.loaded = this.load(precision, bases);
    process.onFact((fact) => this.route(fact));
    process.on('loaded', ({ rssBytes }) => (this.deviceBytes = rssBytes));
    process.on('pong', ({ rssBytes }) => (this.deviceBytes = rssBytes));
    void process.exited.then((exit) => {
      const runs = [...this.runs];
      this.runs.clear();
      const processUsers = { runs: runs.map(([key]) => key), others: this.users > runs.length };
      for (const [key, listener] of runs) listener.exit(exit, blameFor(key, exit, processUsers));
    });
  }

  /** Device memory reserved for the base, runs and requests. */
  get reservedBytes(): number {
    let sum = this.place.bytes;
    for (const bytes of this.reserved.values()) sum += bytes;
    return sum;
  }

  get promises(): number {
    return this.reserved.size;
  }

  /** Device memory that the process uses. */
  get usedBytes(): number {
    if (this.place.device === 'cpu') return allocatedBy(this.process.pid);
    // Unused memory of a loaded base's reservation cannot be distinguished from memory that the driver holds.
    return this.isLoaded ? Math.max(this.deviceBytes, this.place.bytes) : this.deviceBytes;
  }

  reservedFor(key: string): number | undefined {
    return this.reserved.get(key);
  }

  reserve(key: string, bytes: number): void {
    this.reserved.set(key, bytes);
  }

  free(key: string): void {
    this.reserved.delete(key);
  }

  /** Subscribes to the phases of loading the base. Returns a function that unsubscribes. */
  onPhase(report: ReportPhase): () => void {
    this.phases.add(report);
    return () => void this.phases.delete(report);
  }

  /** @throws DomainError user_error if the command is too large */
  start(command: StartCommand, listener: RunListener): void {
    try {
      this.process.send(command);
      this.runs.set(keyOf(command), listener);
    } catch (error) {
      if (error instanceof DomainError) throw error;
      // The process had already exited, so this run did not cause it.
      void this.process.exited.then((exit) => listener.exit(exit, 'other'));
    }
  }

  /** Whether no other run or request uses the process. */
  holdsOnly(run: AttemptKey): boolean {
    return this.users <= 1 && this.runs.size <= 1 && this.runs.has(keyOf(run));
  }

  /**
   * Sends a model request, whose facts go to `listener` until `endAnswer`. A chunk that does not match the kind of the
   * command ends the process.
   * @throws DomainError user_error if the command is too large
   */
  answer(command: AskCommand, listener: (fact: ReadAnswer) => void): void {
    this.process.send(command);
    this.answers.set(command.id, { kind: command.kind, listener });
  }

  endAnswer(id: string): void {
    this.answers.delete(id);
    if (this.answers.size === 0) this.free(ANSWERS);
  }

  /** Sends a command, ignoring an exiting trainer, which is reported by `exit`. */
  send(command: Command): void {
    try {
      this.process.send(command);
    } catch {
      // stdin was closed shortly before the exit is reported
    }
  }

  /** Removes the listener and the reservation of a run that has ended. */
  unsubscribe(run: AttemptKey): void {
    this.runs.delete(keyOf(run));
    this.free(keyOf(run));
  }

  /**
   * Ends a run without a report. If it is alone in the process, the process is killed: immediately, or after 2 s if the run
   * has already been asked to stop. If it shares the process, it is stopped at the next step, so that other runs are not
   * affected; its later events are rejected. A trainer that does not stop is killed when it would count as hung.
   * @param isStopping whether the run was asked to stop before
   */
  terminate(run: AttemptKey, isStopping: boolean): void {
    const key = keyOf(run);
    if (!this.runs.has(key)) return;
    this.runs.delete(key);
    const alone = this.runs.size === 0 && this.users <= 1;
    if (alone && !isStopping) {
      this.process.kill();
      return;
    }
    const patience = alone ? STOP_MS : this.process.patienceMs;
    const timer = setTimeout(() => this.process.kill(), patience);
    const settled = () => {
      clearTimeout(timer);
      unsubscribe();
      unsubscribeExit();
    };
    const unsubscribe = this.process.onFact((fact) => {
      if (fact.type === 'event' && isEnd(fact.kind) && keyOf(fact) === key) settled();
    });
    const unsubscribeExit = this.process.onExit(settled);
    this.send({ type: 'stop', jobId: run.jobId, attempt: run.attempt, reason: 'cancel' });
  }

  private async load({ dtype, quantization }: Precision, bases: Bases): Promise<void> {
    const folder = await bases.fetch(this.base, (code, message, progress) =>
      this.report(code, message, progress),
    );
    void this.process.exited.then(() => folder.release());
    await this.process.ready;
    const answer = new Promise<void>((resolve, reject) => {
      this.process.on('loaded', () => resolve());
      this.process.on('loadFailed', (fact) =>
        reject(new DomainError(fact.code, fact.message, fact.param)),
      );
      void this.process.exited.then((exit) =>
        reject(new DomainError(failureClass(exit), `while loading the base: ${exit.message}`)),
      );
    });
    this.process.send({
      type: 'load',
      baseId: this.base.id,
      path: folder.path,
      dtype,
      quantization,
      device: this.place.device,
    });
    await answer;
    this.isLoaded = true;
  }

  private report(code: string, message: string, progress?: number): void {
    for (const report of this.phases) report(code, message, progress);
  }

  /** @throws Error, on which TrainerProcess ends the process, if the chunk does not match the schema of its kind */
  private routeAnswer(fact: ReadAnswer): void {
    const request = this.answers.get(fact.id);
    if (request === undefined) return;
    if (fact.piece !== null) readAnswer(request.kind, JSON.parse(fact.piece));
    request.listener(fact);
  }

  private route(fact: ReadFact): void {
    if (fact.type === 'answer') this.routeAnswer(fact);
    else if (fact.type === 'event') this.runs.get(keyOf(fact))?.event(fact);
    else if (fact.type === 'needs') this.runs.get(keyOf(fact))?.needs(fact);
    else if (fact.type === 'phase')
      this.report(fact.code, fact.message, fact.progress ?? undefined);
  }
}
