// The runs that share one frozen base. A step takes every run through it once, short stretches of several runs
// together (ADR 0007); losses, norms and updates are their own.
import { noGrad, tidy } from '@graft/kernels';
import { runRows } from '../batch.js';
import type { Example } from '../data/examples.js';
import { packBatch } from '../data/pack.js';
import type { Model } from '../models/model.js';
import type { ForwardContext } from '../nn/context.js';
import { packedLoss, type LossSum } from './loss.js';
import { microBatches, type Limits, type Share } from './micro-batches.js';
import type { Run } from './run.js';

/**
 * The budget bounds peak memory: SmolLM2-135M in bf16, LoRA on q and v, peaks at 1.64 GB with 2048 tokens
 * (docs/results.md); a smaller one would cost prompt tuning a second pass over its virtual tokens. Joining pays
 * where products have few rows and costs bit-identity when the company changes: shorter stretches only.
 */
export const LIMITS: Limits = { budget: 2048, joinBelow: 64 };

/**
 * Forwards of one optimiser step have numbers of their own below this, so that none share a dropout mask. Their
 * numbers may have 48 bits: room for 2³⁶ steps.
 */
const FORWARDS_PER_STEP = 4096;

export class Pack {
  private readonly members = new Map<number, Run>();

  private readonly limits: Limits;

  constructor(
    readonly model: Model,
    limits: Partial<Limits> = {},
  ) {
    this.limits = { ...LIMITS, ...limits };
  }

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

  /**
   * Adds the gradients of each run's next step to its leaves; returns its loss sums.
   * @param breathe awaited after each micro-batch: a step of many may last minutes
   */
  async forwardBackward(
    runs: readonly Run[],
    breathe: () => Promise<void>,
  ): Promise<Map<Run, LossSum>> {
    const totals = new Map(runs.map((run) => [run, { loss: 0, correct: 0, count: 0 }]));
    const shares = runs.map((run) => ({ run: run.id, examples: run.examplesAt(run.step) }));
    const scales = new Map(
      runs.map((run, i) => [run.id, 1 / run.supervisedIn(shares[i]?.examples ?? [])]),
    );
    const forwards = new Map<number, number>();
    for (const micro of microBatches(shares, this.limits)) {
      const keys = micro.map(({ run: id }) => {
        const { spec, step } = this.members.get(id) as Run;
        // Counted by run: what the others have must not change its dropout.
        const count = forwards.get(id) ?? 0;
        forwards.set(id, count + 1);
        return [
          id,
          { seed: spec.seed, step: step * FORWARDS_PER_STEP + (count % FORWARDS_PER_STEP) },
        ] as const;
      });
      this.forward(micro, { training: true, runs: new Map(keys) }, scales).forEach((sum, id) => {
        const total = totals.get(this.members.get(id) as Run);
        if (total) addTo(total, sum);
      });
      await breathe();
    }
    for (const run of runs) run.backwardPenalty();
    return totals;
  }

  /** Loss sums of examples without gradients, a micro-batch at a time. */
  *evaluate(run: Run, examples: readonly Example[]): Generator<LossSum> {
    const ctx = { training: false, runs: new Map([[run.id, { seed: run.spec.seed, step: 0 }]]) };
    for (const micro of microBatches([{ run: run.id, examples }], this.limits)) {
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
