import { DomainError } from '@graft/contracts';
import type { TrainerProcess } from '../trainer/client.js';
import { failureClass, type TrainerExit } from '../trainer/exit-class.js';
import {
  keyOf,
  type Command,
  type Fact,
  type RunKey,
  type StartCommand,
} from '../trainer/protocol.js';
import type { BaseFiles, BaseWish, Say } from './trainers.js';

export interface RunListener {
  fact(fact: Fact): void;
  /** The process is gone while it held the run. */
  exit(exit: TrainerExit): void;
}

/** Within this a trainer must drop the only run that it has. */
const OBEY_MS = 2000;

/** A trainer process with the base it holds, the runs in it and who listens to them. */
export class ResidentTrainer {
  /** Runs and answers that need this process. */
  users = 0;
  idleSince = performance.now();
  isLoaded = false;
  readonly baseId: string;
  readonly loaded: Promise<void>;
  private readonly runs = new Map<string, RunListener>();
  private readonly phases = new Set<Say>();

  constructor(
    readonly process: TrainerProcess,
    wish: BaseWish,
    readonly neededBytes: number,
    files: BaseFiles,
  ) {
    this.baseId = wish.base.id;
    this.loaded = this.load(wish, files);
    process.onFact((fact) => this.route(fact));
    void process.exited.then((exit) => {
      for (const [key, listener] of [...this.runs]) {
        this.runs.delete(key);
        listener.exit(exit);
      }
    });
  }

  /** Hears what the base is waiting for; returns the function that stops it. */
  onPhase(say: Say): () => void {
    this.phases.add(say);
    return () => void this.phases.delete(say);
  }

  /** @throws Error if it cannot be told */
  start(command: StartCommand, listener: RunListener): void {
    this.process.send(command);
    this.runs.set(keyOf(command), listener);
  }

  /** Says something that a dying trainer need not hear: its end is told by `exit`. */
  tell(command: Command): void {
    try {
      this.process.send(command);
    } catch {
      // its stdin closed a moment before we heard that it ended
    }
  }

  /** The run ended by its own fact: nobody listens any more. */
  forget(run: RunKey): void {
    this.runs.delete(keyOf(run));
  }

  /**
   * Ends a run at once without a word. Alone in the process: SIGKILL, after 2 s if it has been told to go
   * already. Beside others it goes at the next step, however long that lasts: what it still does is refused,
   * and its neighbours must not pay for it. A trainer that does not obey is killed once it would count as hung.
   */
  drop(run: RunKey, alreadyGoing: boolean): void {
    const key = keyOf(run);
    if (!this.runs.has(key)) return;
    this.runs.delete(key);
    const alone = this.runs.size === 0 && this.users <= 1;
    if (alone && !alreadyGoing) {
      this.process.kill();
      return;
    }
    const patience = alone ? OBEY_MS : this.process.patienceMs;
    const timer = setTimeout(() => this.process.kill(), patience);
    const settled = () => {
      clearTimeout(timer);
      stopHearing();
      stopWaiting();
    };
    const stopHearing = this.process.onFact((fact) => {
      if (isRunEnd(fact) && keyOf(fact) === key) settled();
    });
    const stopWaiting = this.process.onExit(settled);
    this.tell({ type: 'stop', jobId: run.jobId, epoch: run.epoch, reason: 'cancel' });
  }

  private async load(wish: BaseWish, files: BaseFiles): Promise<void> {
    const folder = await files((code, message, progress) => this.say(code, message, progress));
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
      baseId: wish.base.id,
      path: folder.path,
      dtype: wish.dtype,
      quantization: wish.quantization,
    });
    await answer;
    this.isLoaded = true;
  }

  private say(code: string, message: string, progress?: number): void {
    for (const say of this.phases) say(code, message, progress);
  }

  private route(fact: Fact): void {
    if (!('jobId' in fact) || fact.jobId === undefined || fact.epoch === undefined) {
      if (fact.type === 'phase') this.say(fact.code, fact.message, fact.progress ?? undefined);
      return;
    }
    this.runs.get(keyOf({ jobId: fact.jobId, epoch: fact.epoch }))?.fact(fact);
  }
}

function isRunEnd(fact: Fact): fact is Extract<Fact, { type: 'finished' | 'failed' | 'stopped' }> {
  return fact.type === 'finished' || fact.type === 'failed' || fact.type === 'stopped';
}
