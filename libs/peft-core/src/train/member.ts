// A run in a group: its state between two turns, its pass over the base, and the time spent on it.
import { noGrad } from '@graft/kernels';
import { addTotals, NO_SUMS, type Example, type Sums } from '../tasks/task.js';
import { microBatches, wholeBatches, type MicroBatch } from './micro-batches.js';
import type { RunData } from './run-data.js';
import type { Run } from './run.js';
import type { SideWork } from './side-work/side-work.js';

export type Evaluation = NonNullable<ReturnType<RunData['evaluationAt']>>;

/** What a run does in its next turn: loop.ts has the table. */
export type State =
  | 'starting'
  | 'stepping'
  | 'evaluating'
  | 'answering'
  | 'ledger'
  | 'saving'
  | 'finalLedger'
  | 'done';

/** A step's examples, or those of an evaluation, on their way through the base. */
interface Pass {
  readonly evaluation: Evaluation | null;
  readonly microBatches: readonly MicroBatch<Example>[];
  /** What a loss is multiplied with so that the micro-batches of a step add up to a mean. */
  readonly scale: number;
  forwardsDone: number;
  /** They grow: labels that are taken for others are many, and are not copied for each micro-batch. */
  readonly sums: { units: number; readonly totals: Record<string, number> };
  /** What is measured beside its forwards, once it has begun. */
  measuring: Generator<void, Sums['totals'], undefined> | null;
}

export interface MemberTerms {
  /** Reserved for it. */
  readonly bytes: number;
  /** By how much memory grew when it was opened. */
  readonly grown: number;
  /** Rows of a micro-batch. */
  readonly budget: number;
  readonly now: () => number;
}

const MARGIN_TIMES = 1.5;
const MARGIN_BYTES = 128 << 20;

export class Member {
  state: State = 'starting';
  /** Its micro-batches share no forward: one that they shared has failed. */
  alone = false;
  /** Of the forward that failed, some gradients may be there. */
  private isSpoiled = false;
  private pass: Pass | null = null;
  private side: SideWork | null = null;
  /** Seconds that the process has worked for it, */
  private spent = 0;
  private since: number | null = null;
  /** and had until its step began, */
  private spentBefore = 0;
  /** and its last step was reported. */
  private reported: { at: number; spent: number };

  private readonly now: () => number;

  constructor(
    readonly run: Run,
    private readonly terms: MemberTerms,
  ) {
    this.now = terms.now;
    this.reported = { at: this.now(), spent: 0 };
  }

  /** What is left for its work of what is reserved for it, and a margin: allocators round up, and keep what was freed. */
  get mayGrowBy(): number {
    const { bytes, grown } = this.terms;
    return MARGIN_TIMES * bytes + MARGIN_BYTES - grown;
  }

  /** The micro-batch of its next forward. */
  get microBatch(): MicroBatch<Example> {
    const { microBatches, forwardsDone } = (this.pass ??= this.step());
    return microBatches[forwardsDone] as MicroBatch<Example>;
  }

  /** Forwards of its step or evaluation that are done. */
  get forwardsDone(): number {
    return this.pass?.forwardsDone ?? 0;
  }

  get scale(): number {
    return this.pass?.scale ?? 1;
  }

  get sums(): Sums {
    return this.pass?.sums ?? NO_SUMS;
  }

  /** The evaluation that it is in. */
  get evaluation(): Evaluation | null {
    return this.pass?.evaluation ?? null;
  }

  /** Its answers or its ledger, while it is at work on them. */
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

  /** One piece of what its evaluation measures beside its forwards. Whether that was the last, or there is none. */
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

  /** Whether there is such work. */
  startSideWork(work: SideWork | null): boolean {
    this.side = work;
    return work !== null;
  }

  /** Frees what its state holds: another one begins. */
  end(): void {
    this.side?.dispose();
    this.side = null;
    this.pass?.measuring?.return({});
    this.pass = null;
    this.alone = false;
  }

  /** Takes its step from the beginning, by itself: to the same bits as a run that has no neighbours. */
  repeatAlone(): void {
    this.pass = null;
    this.alone = true;
    this.isSpoiled = true;
  }

  /** Its next forward adds to gradients of its step alone. */
  makeReady(): void {
    if (this.isSpoiled) this.run.optimizer.forget();
    this.isSpoiled = false;
  }

  /** The process works for it until `rest`. */
  work(): void {
    this.since = this.now();
  }

  rest(): void {
    this.spent = this.seconds;
    this.since = null;
  }

  /** Seconds that its step has taken, and that it has waited for others since the step before. */
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
