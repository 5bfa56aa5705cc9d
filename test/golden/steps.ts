// Optimizer steps of a golden trajectory with Graft's loss, clipping and AdamW, at the learning rates of the
// reference. Its warm-up starts at 0, Graft's above 0 (schedule.spec.ts compares the rest).
import {
  decaysIn,
  makeOptimizer,
  microBatches,
  packBatch,
  packedLoss,
  type Adapter,
  type Model,
  type OptimizerSpec,
  type TokenSequence,
} from '@graft/peft-core';
import { tidy } from '@graft/kernels';
import { isAllTier } from '../tier.js';

/** Run id of the trajectory's adapter. */
export const RUN = 1;

export interface Trajectory {
  readonly settings: {
    readonly steps: number;
    readonly learning_rate: number;
    readonly weight_decay: number;
    readonly max_grad_norm: number;
    readonly warmup_steps: number;
    readonly optimizer?: 'lorafa';
    readonly loraplus_lr_ratio?: number;
    readonly loraplus_lr_embedding?: number;
  };
  readonly losses: readonly number[];
  readonly grad_norms: readonly number[];
  readonly learning_rates: readonly number[];
  /** Whether dropout and similar operations are active. Default: true. */
  readonly training?: boolean;
}

export interface HfSequence {
  readonly tokens: readonly number[];
  readonly labels: readonly number[];
}

/** Converts unshifted labels to next-token targets. @param i index in the batch */
export function example({ tokens, labels }: HfSequence, i = 0): TokenSequence {
  return {
    // for adapters with a prompt per task: cycles through three tasks (measure.py)
    taskId: i % 3,
    tokens: Int32Array.from(tokens),
    labels: Int32Array.from([...labels.slice(1), -100]),
    first: labels[0] as number,
  };
}

/** Losses and gradient norms of each step. @param budget maximum number of tokens per forward pass */
export function train(
  model: Model,
  adapter: Adapter,
  batches: readonly TokenSequence[][],
  { settings, learning_rates: rates, training = true }: Trajectory,
  budget: number,
  peft: OptimizerSpec['peft'] = null,
) {
  const spec = {
    optimizer: 'adamw',
    loraplus_lr_ratio: null,
    loraplus_lr_embedding: 1e-6,
    ...settings,
    peft,
  } as const;
  // PEFT's own optimizers decay the same parameters as Graft; one parameter group decays all
  const decays = spec.loraplus_lr_ratio === null ? () => true : decaysIn(model.modules.norms());
  const optimizer = makeOptimizer(adapter.parameters, spec, { decays });
  const losses: number[] = [];
  const norms: number[] = [];
  const virtual = model.modules.inputs.of(RUN);
  for (let step = 0; step < settings.steps; step++) {
    const examples = (batches[step % batches.length] as TokenSequence[]).map((sequence) => ({
      ...sequence,
      rows: sequence.tokens.length,
    }));
    const wanted = examples.reduce(
      (n, { labels, first }) =>
        n +
        labels.filter((label) => label >= 0).length +
        (virtual ? Number(first >= 0) + (virtual.promptTargets?.length ?? 0) : 0),
      0,
    );
    let loss = 0;
    for (const micro of microBatches(examples, budget)) {
      tidy(() => {
        const packed = packBatch([{ run: RUN, examples: micro.examples }]);
        const ctx = { training, runs: new Map([[RUN, { seed: 0, step }]]) };
        const { decoder } = model.forward(packed.batch, ctx);
        const sums = packedLoss(model, decoder, packed, ctx, new Map([[RUN, 1 / wanted]])).get(RUN);
        // PEFT's loss includes the auxiliary loss
        loss += (sums?.loss ?? 0) + (sums?.auxiliaryLoss ?? 0);
      });
    }
    // PEFT's loss includes the penalty
    const penalty = tidy(() => {
      const own = adapter.penalty?.();
      own?.backward();
      return own?.item() ?? 0;
    });
    losses.push(loss / wanted + penalty);
    norms.push(optimizer.clip(settings.max_grad_norm));
    optimizer.step(rates[step] as number, () => tidy(() => adapter.afterStep?.(step + 1)));
  }
  optimizer.dispose();
  return { losses, norms };
}

/**
 * Cases of a base whose steps are also split into micro-batches. In the default tier, the first case of each
 * method. Differences between cases of one method are compared with the reference in unsplit steps.
 */
export const splitCases = (
  cases: readonly string[],
  methodOf: (name: string) => string,
): string[] =>
  cases.filter(
    (name, i) => isAllTier || cases.findIndex((other) => methodOf(other) === methodOf(name)) === i,
  );

/** Largest relative difference. */
export const worst = (ours: readonly number[], theirs: readonly number[]): number =>
  Math.max(
    ...ours.map((value, i) => Math.abs(value - (theirs[i] as number)) / Math.abs(theirs[i] || 1)),
  );
