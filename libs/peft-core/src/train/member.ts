// A run in a group: its state between two turns, its pass over the base, and the time spent on it.
import { noGrad } from '@graft/kernels';
import { addTotals, NO_SUMS, type Example, type Sums } from '../tasks/task.js';
import { microBatches, wholeBatches, type MicroBatch } from './micro-batches.js';
import type { RunData } from './run-data.js';
import type { Run } from './run.js';
import type { SideWork } from './side-work/side-work.js';

export type Evaluation = NonNullable<ReturnType<RunData['evaluationAt']>>;

/** State of a run, which decides its next turn: see the table in loop.ts. */
export type State =
  | 'starting'
  | 'stepping'
  | 'evaluating'
  | 'answering'
  | 'ledger'
  | 'saving'
  | 'finalLedger'
  | 'done';

/** A pass over the examples of a step or of an evaluation. */
interface Pass {
  readonly evaluation: Evaluation | null;
  readonly microBatches: readonly MicroBatch<Example>[];
  /** Factor of the loss: 1 / units of all examples, so that the micro-batches of a step add up to a mean. */
  readonly scale: number;
  forwardsDone: number;
  /** Updated in place: a confusion matrix is large, and copying it for each micro-batch is slow. */
  readonly sums: { units: number; readonly totals: Record<string, number> };
  /** Metrics of the evaluation that need more forward passes, once their measurement has started. */
  measuring: Generator<void, Sums['totals'], undefined> | null;
}

export interface MemberTerms {
  /** Memory reserved for the run, in bytes. */
  readonly bytes: number;
  /** Growth of memory when the run was opened, in bytes. */
  readonly grown: number;
  /** Rows of a micro-batch. */
  readonly budget: number;
  readonly now: () => number;
}

const MARGIN_TIMES = 1.5;
const MARGIN_BYTES = 128 << 20;

export class Member {
  state: State = 'starting';
  /** Whether its micro-batches must not share a forward pass, because a shared one has failed. */
  alone = false;
  /** Whether a failed forward pass may have left partial gradients. */
  private isSpoiled = false;
  private pass: Pass | null = null;
  private side: SideWork | null = null;
  /** Seconds that the process has worked for the run. */
  private spent = 0;
  private since: number | null = null;
  /** Value of `spent` at the start of its step. */
  private spentBefore = 0;
  /** Time and value of `spent` when its last step was reported. */
  private reported: { at: number; spent: number };

  private readonly now: () => number;

  constructor(
    readonly run: Run,
    private readonly terms: MemberTerms,
  ) {
    this.now = terms.now;
    this.reported = { at: this.now(), spent: 0 };
  }

  /**
   * Bytes by which its work may still grow memory: 1.5 reservations plus 128 MiB, because allocators round up
   * and cache.
   */
  get mayGrowBy(): number {
    const { bytes, grown } = this.terms;
    return MARGIN_TIMES * bytes + MARGIN_BYTES - grown;
  }

  /** The micro-batch of its next forward pass. */
  get microBatch(): MicroBatch<Example> {
    const { microBatches, forwardsDone } = (this.pass ??= this.step());
    return microBatches[forwardsDone] as MicroBatch<Example>;
  }

  /** Completed forward passes of its step or evaluation. */
  get forwardsDone(): number {
    return this.pass?.forwardsDone ?? 0;
  }

  get scale(): number {
    return this.pass?.scale ?? 1;
  }

  get sums(): Sums {
    return this.pass?.sums ?? NO_SUMS;
  }

  /** The current evaluation. */
  get evaluation(): Evaluation | null {
    return this.pass?.evaluation ?? null;
  }

  /** The current side work: sample answers or the loss ledger. */
  get sideWork(): SideWork | null {
    return this.side;
  }

  /** Whether its step or evaluation has micro-batches left. */
  get needsForward(): boolean {
    if (this.side) return false;
    return this.pass === null || this.pass.forwardsDone < this.pass.microBatches.length;
  }

  take(sums: Sums): void {
    const pass = this.pass as Pass;
    pass.sums.units += sums.units;
    addTotals(pass.sums.totals, sums.totals);
    pass.forwardsDone += 1;
  }

  /** Measures one piece of the additional metrics of its evaluation. Returns whether all are measured. */
  measure(): boolean {
    const pass = this.pass as Pass;
    pass.measuring ??= this.run.measuring(pass.evaluation?.examples ?? []);
    const { measuring } = pass;
    const { done = false, value } = noGrad(() => measuring.next());
    if (done && value) addTotals(pass.sums.totals, value);
    return done;
  }

  evaluate(evaluation: Evaluation): void {
    this.pass = this.begin(evaluation.examples, evaluation);
  }

  /** Sets the side work to do. Returns false if there is none. */
  startSideWork(work: SideWork | null): boolean {
    this.side = work;
    return work !== null;
  }

  /** Frees what the current state holds, before the next state. */
  end(): void {
    this.side?.dispose();
    this.side = null;
    this.pass?.measuring?.return({});
    this.pass = null;
    this.alone = false;
  }

  /** Restarts the current step without other runs. The result has the same bits as a run alone. */
  repeatAlone(): void {
    this.pass = null;
    this.alone = true;
    this.isSpoiled = true;
  }

  /** Ensures that the next forward pass adds only to gradients of its own step. */
  makeReady(): void {
    if (this.isSpoiled) this.run.optimizer.forget();
    this.isSpoiled = false;
  }

  /** Starts counting time for the run, until `rest`. */
  work(): void {
    this.since = this.now();
  }

  rest(): void {
    this.spent = this.seconds;
    this.since = null;
  }

  /** Returns the seconds spent on the step, and those spent on other runs since the previous report. */
  report(): { seconds: number; waited_seconds: number } {
    const [at, spent] = [this.now(), this.seconds];
    const { reported } = this;
    this.reported = { at, spent };
    return {
      seconds: spent - this.spentBefore,
      waited_seconds: Math.max(0, at - reported.at - (spent - reported.spent)),
    };
  }

  private get seconds(): number {
    return this.spent + (this.since === null ? 0 : this.now() - this.since);
  }

  private step(): Pass {
    this.spentBefore = this.seconds;
    return this.begin(this.run.batch, null);
  }

  private begin(examples: readonly Example[], evaluation: Evaluation | null): Pass {
    const { task, spec } = this.run;
    const batches = task.wholeBatches
      ? wholeBatches(examples, spec.batch_size)
      : microBatches(examples, this.terms.budget);
    const scale = 1 / this.run.unitsIn(examples);
    return {
      evaluation,
      microBatches: batches,
      scale,
      forwardsDone: 0,
      sums: { units: 0, totals: {} },
      measuring: null,
    };
  }
}
