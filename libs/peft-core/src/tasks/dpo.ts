/**
 * Direct preference optimization, arXiv:2305.18290. For a prompt x, a preferred answer y_w and a rejected
 * answer y_l:
 *   l(y)  = log π(y|x) - log π₀(y|x)         log π(y|x) = Σ log π(y_i | x, y_<i) over the tokens of y
 *   r(y)  = β l(y)                           the reward
 *   δ     = l(y_w) - l(y_l); for "ipo" l(y_w) / |y_w| - l(y_l) / |y_l|, as in TRL, with |y| tokens
 *   loss  = f(δ)                             pair-losses.ts; mean over the pairs of a whole optimizer step
 * π is the adapted model and π₀ the base model: a second forward pass over the same rows, without the
 * run's adapter and without storing activations.
 */
import { z } from 'zod';
import { packPairs } from './batches/pack-pairs.js';
import { labelSmoothing, LOSS_TYPES, pairLoss } from './losses/pair-losses.js';
import {
  encodePairs,
  PAIR_METRICS,
  sequencesOfPair,
  sumsOfPairs,
} from './losses/preference-pairs.js';
import type { PreferencePair, PreparedPair, ScoredPair } from './losses/preference-pairs.js';
import {
  checkPreference,
  preferenceFacts,
  PREFERENCES,
  preparePreference,
} from './records/preference-records.js';
import { pairReferenceLosses, score, sum, targetsOfAnswer } from './losses/sequence-log-p.js';
import { defineTask, type Share } from './task.js';
import type { Targets } from './losses/token-loss.js';

const Options = z
  .strictObject({
    beta: z
      .number()
      .positive()
      .max(2)
      .describe(
        'Strength of the penalty for moving away from the base model (β); higher keeps the model closer to it',
      )
      .default(0.1),
    label_smoothing: labelSmoothing,
    loss_type: z
      .enum(LOSS_TYPES)
      .describe(
        'Loss function. "sigmoid": DPO; "hinge": SLiC, which ignores pairs that are already far enough apart; "ipo": IPO, which aims at a distance of 1 / (2 · beta) per token',
      )
      .default('sigmoid'),
  })
  .refine(({ label_smoothing: e, loss_type: type }) => e === 0 || type === 'sigmoid', {
    path: ['label_smoothing'],
    message: 'requires loss_type "sigmoid"; remove it',
  });
type Options = z.infer<typeof Options>;

export const dpo = defineTask<PreferencePair, PreparedPair, Options>({
  name: 'dpo',
  title: 'Direct preference optimization (DPO)',
  summary: 'Learns which of two answers is preferred. The base model is the reference.',
  peft: { taskType: 'CAUSAL_LM', models: 'CausalLM', pipeline: 'text-generation' },
  method: 'dpo',
  learningRateScale: 0.1,
  options: Options,
  records: PREFERENCES,
  check: checkPreference,
  facts: preferenceFacts,
  prepare: preparePreference,
  encode: (prepared, { tokenizer }, options) => encodePairs(prepared, tokenizer, options, 2),
  sequences: sequencesOfPair,
  units: () => 1,
  loss(model, shares, ctx, scales) {
    const runs = shares.map(({ run, examples }) => ({ run, pairs: examples.map(sequencesOfPair) }));
    const all = runs.flatMap(({ pairs }) => pairs);
    const reference = pairReferenceLosses(model, all, ctx);
    const { batch, answers } = packPairs(model, runs);
    const { hidden } = model.forward(batch, ctx).decoder;
    const targets = answers.map(targetsOfAnswer);
    const { losses, learn } = score(model, hidden, targets, ctx, scales !== null);
    const pairs = scored(shares, losses.map(logP), reference.map(logP));
    if (scales) {
      const weights = pairs.flatMap(({ run, weights }, i) =>
        weights.map((weight, answer) =>
          Float32Array.from(
            (targets[2 * i + answer] as Targets).rows,
            () => weight * (scales.get(run) ?? 0),
          ),
        ),
      );
      learn(weights);
    }
    return sumsOfPairs(pairs);
  },
  chance: (_, { task_options: options }) => {
    const { loss_type: type, beta, label_smoothing: e } = options as Options;
    const { loss } = pairLoss(type, 0, beta, e);
    return { loss, of: 'which answer is preferred', isStart: true };
  },
  metrics: PAIR_METRICS,
});

interface Scored extends ScoredPair {
  /** dloss/d(-log π) of the preferred and the rejected answer. */
  readonly weights: readonly [number, number];
}

interface LogP {
  readonly log: number;
  readonly tokens: number;
}

const logP = (losses: Float32Array): LogP => ({ log: -sum(losses), tokens: losses.length });

/**
 * @param logs log π by answer, preferred and rejected in turn; `reference`: the same from the base model
 */
function scored(
  shares: readonly Share<PreferencePair, Options>[],
  logs: readonly LogP[],
  reference: readonly LogP[],
): Scored[] {
  const pairs = shares.flatMap(({ run, examples, options }) =>
    examples.map(() => ({ run, options })),
  );
  return pairs.map(({ run, options: { beta, label_smoothing: e, loss_type: type } }, i) => {
    const of = (answer: number): { ratio: number; length: number } => {
      const at = 2 * i + answer;
      const [{ log, tokens }, before] = [logs[at], reference[at]] as [LogP, LogP];
      return { ratio: log - before.log, length: type === 'ipo' ? tokens : 1 };
    };
    const [chosen, rejected] = [of(0), of(1)];
    const delta = chosen.ratio / chosen.length - rejected.ratio / rejected.length;
    const { loss, slope } = pairLoss(type, delta, beta, e);
    return {
      run,
      loss,
      chosen: beta * chosen.ratio,
      rejected: beta * rejected.ratio,
      weights: [-slope / chosen.length, slope / rejected.length],
    };
  });
}
