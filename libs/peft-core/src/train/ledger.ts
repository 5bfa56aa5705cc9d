/**
 * The loss of each training example by itself, once a run has learnt all that it will, and of the worst of them what the
 * base alone makes of it: a row that is not below it was never learnt. Looked at a few at a time, as turns are; memory is
 * a number for each example.
 *
 *   L_i = the task's loss of {example i}          without dropout; NaN counts as the worst
 */
import { noGrad, tidy } from '@graft/kernels';
import { BARE_BASE } from '../batch.js';
import type { Model } from '../models/model.js';
import type { Example, Task } from '../tasks/task.js';
import type { FactOfRun } from './facts.js';
import type { RunData } from './run-data.js';
import type { SideWork } from './side-work.js';

/** Kept of all examples: as many as somebody might read. */
const MOST_ROWS = 500;
/** Rows of the forwards of one turn; at least one example. */
const TURN_ROWS = 512;

export interface LedgerOptions {
  readonly model: Model;
  readonly run: number;
  readonly task: Task;
  readonly taskOptions: unknown;
  readonly data: Pick<RunData, 'examples' | 'lines'>;
  /** The run's last. */
  readonly step: number;
}

export class Ledger implements SideWork {
  readonly what = 'Its loss ledger';
  /** It is made anew from the run's last checkpoint. */
  readonly isOfStep = false;
  private readonly losses: Float64Array;
  private done = 0;
  /** Of the worst, by place, and what the base makes of them. */
  private worst: readonly number[] | null = null;
  private readonly baseLosses: number[] = [];

  constructor(private readonly options: LedgerOptions) {
    this.losses = new Float64Array(options.data.examples.length);
  }

  next(): FactOfRun<'ledger'> | null {
    const { losses } = this;
    if (this.worst === null) {
      this.done = this.turn(this.done, losses.length, (place) => {
        losses[place] = this.lossOf(this.options.run, place);
      });
      if (this.done < losses.length) return null;
      this.worst = worstOf(losses);
      return this.asksBase ? null : this.fact(this.worst);
    }
    const { worst } = this;
    this.turn(this.baseLosses.length, worst.length, (place) => {
      this.baseLosses[place] = this.lossOf(BARE_BASE, worst[place] as number);
    });
    return this.baseLosses.length < worst.length ? null : this.fact(worst);
  }

  dispose(): void {
    // it holds nothing of the device
  }

  /** A head of the task's own is the run's, and answers are preferred over those of the base itself. */
  private get asksBase(): boolean {
    const { head, method } = this.options.task;
    return head === undefined && method === 'supervised';
  }

  /** Looks at places from `from` on, as many as a turn has rows for; answers with the first that is left. */
  private turn(from: number, end: number, look: (place: number) => void): number {
    const { examples } = this.options.data;
    let rows = 0;
    let at = from;
    do {
      look(at);
      const place = this.worst === null ? at : (this.worst[at] as number);
      rows += (examples[place] as Example).rows;
      at++;
    } while (at < end && rows < TURN_ROWS);
    return at;
  }

  private lossOf(run: number, place: number): number {
    const { model, task, taskOptions, data } = this.options;
    const shares = [{ run, examples: [data.examples[place] as Example], options: taskOptions }];
    const ctx = { training: false, runs: new Map([[run, { seed: 0, step: 0 }]]) };
    const sums = noGrad(() => tidy(() => task.loss(model, shares, ctx, null))).get(run);
    const [loss] = task.metrics;
    return (sums && loss?.of(sums)) ?? NaN;
  }

  private fact(worst: readonly number[]): FactOfRun<'ledger'> {
    const { losses, baseLosses } = this;
    const { data, step } = this.options;
    return {
      type: 'ledger',
      step,
      examples: losses.length,
      meanLoss: losses.reduce((sum, loss) => sum + loss, 0) / losses.length,
      rows: worst.map((place, i) => ({
        line: data.lines[place] ?? place + 1,
        loss: losses[place] as number,
        baseLoss: baseLosses[i] ?? null,
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
    .slice(0, MOST_ROWS);
}
