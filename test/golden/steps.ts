// The optimiser steps of a golden trajectory, taken by Graft's own loss, clipping and AdamW, at the rates of the
// reference: its warm-up begins at 0, Graft's above it (schedule.spec.ts compares the rest).
import {
  AdamW, microBatches, packBatch, packedLoss, runRows, type Adapter, type Example, type Model,
} from '@graft/peft-core';
import { tidy } from '@graft/kernels';

/** The id under which the trajectory's adapter is attached. */
export const RUN = 1;

export interface Trajectory {
  readonly settings: { readonly steps: number; readonly learning_rate: number; readonly weight_decay: number; readonly max_grad_norm: number; readonly warmup_steps: number };
  readonly losses: readonly number[];
  readonly grad_norms: readonly number[];
  readonly learning_rates: readonly number[];
}

export interface HfSequence {
  readonly tokens: readonly number[];
  readonly labels: readonly number[];
}

/** Unshifted labels → targets of the next token. */
export function example({ tokens, labels }: HfSequence): Example {
  return { tokens: Int32Array.from(tokens), labels: Int32Array.from([...labels.slice(1), -100]), first: labels[0] as number };
}

/** Losses and gradient norms, step by step. @param budget most tokens of a forward */
export function train(model: Model, adapter: Adapter, batches: readonly Example[][], { settings, learning_rates: rates }: Trajectory, budget: number) {
  const optimizer = new AdamW(adapter.parameters, { weightDecay: settings.weight_decay, decays: () => true });
  const losses: number[] = [];
  const norms: number[] = [];
  const virtual = model.sites.inputs.of(RUN) !== undefined;
  for (let step = 0; step < settings.steps; step++) {
    const examples = batches[step % batches.length] as Example[];
    const wanted = examples.reduce((n, { labels, first }) => n + labels.filter((label) => label >= 0).length + Number(virtual && first >= 0), 0);
    let loss = 0;
    for (const micro of microBatches([{ run: RUN, examples }], { budget, joinBelow: 0 })) {
      tidy(() => {
        const batch = packBatch(micro);
        const ctx = { training: true, runs: new Map([[RUN, { seed: 0, step }]]), rows: runRows(batch.sequences), virtual: new Map() };
        loss += packedLoss(model, model.forward(batch, ctx), batch, ctx, new Map([[RUN, 1 / wanted]])).get(RUN)?.loss ?? 0;
      });
    }
    losses.push(loss / wanted);
    norms.push(optimizer.clip(settings.max_grad_norm));
    optimizer.step(rates[step] as number);
  }
  optimizer.dispose();
  return { losses, norms };
}

/** Largest relative difference. */
export const worst = (ours: readonly number[], theirs: readonly number[]): number =>
  Math.max(...ours.map((value, i) => Math.abs(value - (theirs[i] as number)) / Math.abs(theirs[i] || 1)));
