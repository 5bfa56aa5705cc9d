/**
 * The loss of each training example at the end of a run or of an epoch, and the loss of the worst examples
 * under the base model: an example whose loss is not below it was never learned. A turn evaluates a few
 * examples. Memory is at most two f64 values per example.
 *
 *   L_i = the task's loss of {example i}          without dropout; NaN counts as the worst
 *       = its part in the loss of its batch       for tasks that contrast the examples of a batch: batches of
 *                                                 batch_size in file order
 */
import { MAX_LEDGER_ROWS } from '@graft/contracts';
import { noGrad, tidy } from '@graft/kernels';
import { BARE_BASE } from '../../nn/batch.js';
import type { Model } from '../../models/model.js';
import type { Example, Task } from '../../tasks/task.js';
import type { FactOfRun } from '../facts.js';
import type { RunData } from '../run-data.js';
import type { SideWork } from './side-work.js';

/** Rows of the forward passes of one turn; a turn has at least one example. */
const TURN_ROWS = 512;

export interface LedgerOptions {
  readonly model: Model;
  readonly run: number;
  readonly task: Task;
  readonly taskOptions: unknown;
  readonly data: Pick<RunData, 'examples' | 'lines'>;
  readonly batchSize: number;
  /** Optimizer steps done. */
  readonly step: number;
}

/** The losses of some examples under one model. */
interface Look {
  readonly run: number;
  /** Start indices of the groups that are evaluated together: examples or batches. */
  readonly starts: readonly number[];
  done: number;
  /** Losses by index. */
  readonly losses: Float64Array;
}

export class Ledger implements SideWork {
  readonly what = 'Computing the loss ledger';
  private readonly own: Look;
  /** Indices of the worst examples; below, their losses under the base model. */
  private worst: readonly number[] = [];
  private base: Look | null = null;

  constructor(private readonly options: LedgerOptions) {
    const all = Array.from(options.data.examples.keys());
    this.own = this.look(options.run, all);
  }

  next(): FactOfRun<'ledger'> | null {
    if (this.base === null) {
      if (!this.turn(this.own)) return null;
      this.worst = worstOf(this.own.losses);
      if (!this.asksBase) return this.fact(this.worst);
      this.base = this.look(BARE_BASE, this.worst);
      return null;
    }
    return this.turn(this.base) ? this.fact(this.worst) : null;
  }

  dispose(): void {
    // holds no device memory
  }

  /**
   * Whether the worst examples are evaluated on the base model too. Not for tasks with a head, which the base
   * model does not have, and not for preference tasks, whose loss is already relative to the base.
   */
  private get asksBase(): boolean {
    const { head, method } = this.options.task;
    return head === undefined && method === 'supervised';
  }

  /** Number of examples that are evaluated together. */
  private get size(): number {
    return this.options.task.wholeBatches ? this.options.batchSize : 1;
  }

  private look(run: number, places: readonly number[]): Look {
    const { size } = this;
    const starts = [...new Set(places.map((place) => place - (place % size)))];
    const losses = new Float64Array(this.options.data.examples.length);
    return { run, starts, done: 0, losses };
  }

  /** Evaluates as many examples as fit in a turn. Returns whether none is left. */
  private turn(look: Look): boolean {
    let rows = 0;
    while (look.done < look.starts.length && rows < TURN_ROWS)
      rows += this.lookAt(look, look.starts[look.done++] as number);
    return look.done === look.starts.length;
  }

  /** Evaluates one group and returns the number of its rows. */
  private lookAt({ run, losses }: Look, start: number): number {
    const { model, task, taskOptions, data } = this.options;
    const end = Math.min(start + this.size, data.examples.length);
    // The last batch is filled with the examples before it: the loss depends on the number of other examples
    // in a batch.
    const from = Math.max(0, end - this.size);
    const examples: readonly Example[] = data.examples.slice(from, end);
    const shares = [{ run, examples, options: taskOptions }];
    const ctx = { training: false, runs: new Map([[run, { seed: 0, step: 0 }]]) };
    const sums = noGrad(() => tidy(() => task.loss(model, shares, ctx, null))).get(run);
    const [loss] = task.metrics;
    const found = sums?.each ?? [(sums && loss?.of(sums)) ?? NaN];
    losses.set(found.slice(start - from), start);
    return examples.reduce((sum, example) => sum + example.rows, 0);
  }

  private fact(worst: readonly number[]): FactOfRun<'ledger'> {
    const { losses } = this.own;
    const { data, step } = this.options;
    return {
      type: 'ledger',
      step,
      examples: losses.length,
      mean_loss: losses.reduce((sum, loss) => sum + loss, 0) / losses.length,
      rows: worst.map((place) => ({
        line: data.lines[place] ?? place + 1,
        loss: losses[place] as number,
        base_loss: this.base?.losses[place] ?? null,
      })),
    };
  }
}

/** Indices of the highest losses, in descending order; of equal losses, the first index comes first. */
function worstOf(losses: Float64Array): number[] {
  const rank = (place: number): number => {
    const loss = losses[place] as number;
    return Number.isNaN(loss) ? Infinity : loss;
  };
  return Array.from(losses.keys())
    .sort((a, b) => (rank(a) === rank(b) ? a - b : rank(b) - rank(a)))
    .slice(0, MAX_LEDGER_ROWS);
}
