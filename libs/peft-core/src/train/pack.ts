// The runs that share one frozen base. A step is one forward and one backward for all of them; their
// losses, norms and updates are their own.
import { noGrad, tidy } from '@graft/kernels';
import { runRows } from '../batch.js';
import type { Example } from '../data/examples.js';
import { packBatch } from '../data/pack.js';
import type { Model } from '../models/model.js';
import type { ForwardContext } from '../nn/context.js';
import { packedLoss, type LossSum } from './loss.js';
import { microBatches, type Share } from './micro-batches.js';
import type { Run } from './run.js';

/** Most tokens of a forward; bounds peak memory. Measured: see docs/results.md. */
export const TOKEN_BUDGET = 1024;

/** Forwards of one optimiser step have numbers of their own below this, so that none share a dropout mask. */
const FORWARDS_PER_STEP = 4096;

export class Pack {
  private readonly members = new Map<number, Run>();

  constructor(readonly model: Model, readonly tokenBudget = TOKEN_BUDGET) {}

  get runs(): Run[] {
    return [...this.members.values()];
  }

  get size(): number {
    return this.members.size;
  }

  add(run: Run): void {
    this.members.set(run.id, run);
  }

  /** Takes a run out and frees it. */
  remove(run: Run): void {
    this.members.delete(run.id);
    run.dispose();
  }

  /** Adds the gradients of each run's next step to its leaves; returns its loss sums. */
  forwardBackward(runs: readonly Run[]): Map<Run, LossSum> {
    const totals = new Map(runs.map((run) => [run, { loss: 0, correct: 0, count: 0 }]));
    const shares = runs.map((run) => ({ run: run.id, examples: run.examplesAt(run.step) }));
    const scales = new Map(runs.map((run, i) => [run.id, 1 / run.supervisedIn(shares[i]?.examples ?? [])]));
    microBatches(shares, this.tokenBudget).forEach((micro, i) => {
      const keys = micro.map(({ run: id }) => {
        const { spec, step } = this.members.get(id) as Run;
        return [id, { seed: spec.seed, step: step * FORWARDS_PER_STEP + (i % FORWARDS_PER_STEP) }] as const;
      });
      this.forward(micro, { training: true, runs: new Map(keys) }, scales).forEach((sum, id) => {
        const total = totals.get(this.members.get(id) as Run);
        if (total) addTo(total, sum);
      });
    });
    for (const run of runs) run.backwardPenalty();
    return totals;
  }

  /** Loss sums of examples without gradients, a micro-batch at a time. */
  *evaluate(run: Run, examples: readonly Example[]): Generator<LossSum> {
    const ctx = { training: false, runs: new Map([[run.id, { seed: run.spec.seed, step: 0 }]]) };
    for (const micro of microBatches([{ run: run.id, examples }], this.tokenBudget)) {
      const sums = noGrad(() => this.forward(micro, ctx, null));
      yield sums.get(run.id) ?? { loss: 0, correct: 0, count: 0 };
    }
  }

  private forward(
    micro: readonly Share<Example>[],
    { training, runs }: Pick<ForwardContext, 'training' | 'runs'>,
    scales: ReadonlyMap<number, number> | null,
  ): Map<number, LossSum> {
    return tidy(() => {
      const batch = packBatch(micro);
      const ctx = { training, runs, rows: runRows(batch.sequences), virtual: new Map() };
      return packedLoss(this.model, this.model.forward(batch, ctx), batch, ctx, scales);
    });
  }
}

export function addTo(total: LossSum, sum: LossSum): void {
  total.loss += sum.loss;
  total.correct += sum.correct;
  total.count += sum.count;
}
