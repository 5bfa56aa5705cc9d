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
  /** The process is gone while it held the run. `blame` is null where nobody is to blame, or nobody can tell. */
  exit(exit: TrainerExit, blame: Blame | null): void;
}

/** Under what its answers' bytes are reserved. */
export const ANSWERS = 'answers';

/** Within this a trainer must drop the only run that it has. */
const STOP_MS = 2000;

interface Asked {
  readonly kind: RequestKind;
  readonly listener: (fact: ReadAnswer) => void;
}

/** A trainer process with the base it holds, the runs in it and who listens to them. */
export class ResidentTrainer {
  /** Runs and answers that need this process. */
  users = 0;
  idleSince = performance.now();
  isLoaded = false;
  readonly loaded: Promise<void>;
  /** Told to end: its memory will be free in a moment. */
  isLeaving = false;
  private readonly runs = new Map<string, RunListener>();
  /** Bytes promised to runs and answers, beside the base's. */
  private readonly reserved = new Map<string, number>();
  private readonly answers = new Map<string, Asked>();
  private readonly phases = new Set<ReportPhase>();
  /** Of a GPU's memory, as the trainer said last. */
  private held = 0;

  constructor(
    readonly process: TrainerProcess,
    readonly base: BaseRef,
    precision: Precision,
    readonly place: Place,
    bases: Bases,
    /** It has one run, which nothing joins. */
    readonly isAlone = false,
  ) {
    this.loaded = this.load(precision, bases);
    process.onFact((fact) => this.route(fact));
    process.on('loaded', ({ rssBytes }) => (this.held = rssBytes));
    process.on('pong', ({ rssBytes }) => (this.held = rssBytes));
    void process.exited.then((exit) => {
      const held = [...this.runs];
      this.runs.clear();
      const company = { runs: held.map(([key]) => key), others: this.users > held.length };
      for (const [key, listener] of held) listener.exit(exit, blameFor(key, exit, company));
    });
  }

  /** Bytes of its device that are promised to the base, and to its runs and answers. */
  get reservedBytes(): number {
    let sum = this.place.bytes;
    for (const bytes of this.reserved.values()) sum += bytes;
    return sum;
  }

  get promises(): number {
    return this.reserved.size;
  }

  /** Of them, what it has taken. */
  get usedBytes(): number {
    if (this.place.device === 'cpu') return allocatedBy(this.process.pid);
    // What a loaded base leaves of its share is not told apart from what the driver keeps.
    return this.isLoaded ? Math.max(this.held, this.place.bytes) : this.held;
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

  /** Subscribes to what the base is waiting for; returns the function that unsubscribes. */
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
      // It ended a moment before: for that it had nothing of this run yet.
      void this.process.exited.then((exit) => listener.exit(exit, 'other'));
    }
  }

  /** Whether the run has the process for itself. */
  holdsOnly(run: AttemptKey): boolean {
    return this.users <= 1 && this.runs.size <= 1 && this.runs.has(keyOf(run));
  }

  /**
   * Asks for an answer, whose facts go to `listener` until `endAnswer`. A piece that is not of the command's kind ends the
   * process.
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

  /** Sends a command that a dying trainer need not get: `exit` follows. */
  send(command: Command): void {
    try {
      this.process.send(command);
    } catch {
      // its stdin closed a moment before its exit was reported
    }
  }

  /** The run ended by its own fact: nobody listens any more. */
  unsubscribe(run: AttemptKey): void {
    this.runs.delete(keyOf(run));
    this.free(keyOf(run));
  }

  /**
   * Ends a run at once without a word. Alone in the process: SIGKILL, after 2 s if it has been told to go
   * already. Beside others it goes at the next step, however long that lasts: what it still does is refused,
   * and its neighbours must not pay for it. A trainer that does not stop is killed once it would count as hung.
   */
  terminate(run: AttemptKey, alreadyGoing: boolean): void {
    const key = keyOf(run);
    if (!this.runs.has(key)) return;
    this.runs.delete(key);
    const alone = this.runs.size === 0 && this.users <= 1;
    if (alone && !alreadyGoing) {
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

  /** @throws Error, for which TrainerProcess ends the process, if the piece does not match the schema of its kind */
  private routeAnswer(fact: ReadAnswer): void {
    const asked = this.answers.get(fact.id);
    if (asked === undefined) return;
    if (fact.piece !== null) readAnswer(asked.kind, JSON.parse(fact.piece));
    asked.listener(fact);
  }

  private route(fact: ReadFact): void {
    if (fact.type === 'answer') this.routeAnswer(fact);
    else if (fact.type === 'event') this.runs.get(keyOf(fact))?.event(fact);
    else if (fact.type === 'needs') this.runs.get(keyOf(fact))?.needs(fact);
    else if (fact.type === 'phase')
      this.report(fact.code, fact.message, fact.progress ?? undefined);
  }
}
