/**
 * The loss of each training example, once a run has learnt all that it will or after an epoch, and of the worst of them
 * what the base alone makes of it: a row that is not below it was never learnt. Looked at a few at a time, as turns are;
 * memory is a number for each example.
 *
 *   L_i = the task's loss of {example i}          without dropout; NaN counts as the worst
 *       = its part in the loss of its batch       of tasks whose examples are learnt from each other: batches of
 *                                                 batch_size in the order of the file, as an evaluation has them
 */
import { MAX_LEDGER_ROWS } from '@graft/contracts';
import { noGrad, tidy } from '@graft/kernels';
import { BARE_BASE } from '../../nn/batch.js';
import type { Model } from '../../models/model.js';
import type { Example, Task } from '../../tasks/task.js';
import type { FactOfRun } from '../facts.js';
import type { RunData } from '../run-data.js';
import type { SideWork } from './side-work.js';

/** Rows of the forwards of one turn; at least one example. */
const TURN_ROWS = 512;

export interface LedgerOptions {
  readonly model: Model;
  readonly run: number;
  readonly task: Task;
  readonly taskOptions: unknown;
  readonly data: Pick<RunData, 'examples' | 'lines'>;
  readonly batchSize: number;
  /** That is done. */
  readonly step: number;
}

/** What one run makes of some examples. */
interface Look {
  readonly run: number;
  /** Places that begin what is looked at together: an example, or a batch. */
  readonly starts: readonly number[];
  done: number;
  /** By place. */
  readonly losses: Float64Array;
}

export class Ledger implements SideWork {
  readonly what = 'Its loss ledger';
  private readonly own: Look;
  /** Of the worst, by place, and what the base makes of them. */
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
    // it holds nothing of the device
  }

  /** A head of the task's own is the run's, and answers are preferred over those of the base itself. */
  private get asksBase(): boolean {
    const { head, method } = this.options.task;
    return head === undefined && method === 'supervised';
  }

  /** How many are looked at together. */
  private get size(): number {
    return this.options.task.wholeBatches ? this.options.batchSize : 1;
  }

  private look(run: number, places: readonly number[]): Look {
    const { size } = this;
    const starts = [...new Set(places.map((place) => place - (place % size)))];
    const losses = new Float64Array(this.options.data.examples.length);
    return { run, starts, done: 0, losses };
  }

  /** Looks at as many as a turn has rows for; answers with whether none is left. */
  private turn(look: Look): boolean {
    let rows = 0;
    while (look.done < look.starts.length && rows < TURN_ROWS)
      rows += this.lookAt(look, look.starts[look.done++] as number);
    return look.done === look.starts.length;
  }

  /** Answers with the rows that it took. */
  private lookAt({ run, losses }: Look, start: number): number {
    const { model, task, taskOptions, data } = this.options;
    const end = Math.min(start + this.size, data.examples.length);
    // The last batch is as full as the others: what an example is told apart from says how hard that is.
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

/** Places of the highest losses, the highest first and of equal ones the first. */
function worstOf(losses: Float64Array): number[] {
  const rank = (place: number): number => {
    const loss = losses[place] as number;
    return Number.isNaN(loss) ? Infinity : loss;
  };
  return Array.from(losses.keys())
    .sort((a, b) => (rank(a) === rank(b) ? a - b : rank(b) - rank(a)))
    .slice(0, MAX_LEDGER_ROWS);
}
