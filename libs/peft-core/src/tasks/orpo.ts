/**
 * Odds ratio preference optimization, arXiv:2403.07691, as in TRL's ORPOTrainer. For a prompt x, a
 * preferred answer y_w and a rejected answer y_l:
 *   p(y)  = log π(y|x) / |y|                  the mean over its tokens
 *   o     = p(y_w) - p(y_l) - (log(1 - exp p(y_w)) - log(1 - exp p(y_l)))      the log odds ratio
 *   loss  = nll - β · mean log σ(o)           nll: of preferred answers and prompts (reference-free.ts)
 *   do/dp = ±1 / (1 - exp p)
 * There is no reference model, so a step needs half of DPO's forward passes.
 */
import { z } from 'zod';
import { sigmoid, softplus } from './losses/pair-losses.js';
import type { PreferencePair, PreparedPair } from './losses/preference-pairs.js';
import { referenceFree, type PairObjective } from './losses/reference-free.js';
import { defineTask } from './task.js';

const Options = z.strictObject({
  beta: z
    .number()
    .positive()
    .max(100)
    .describe(
      'Weight of the preference loss relative to the loss of the preferred answer as text (λ in the paper)',
    )
    .default(0.1),
});
type Options = z.infer<typeof Options>;

/** Upper bound of p. Above it the probability rounds to 1 in f32 and the odds are infinite. */
const CERTAIN = -(2 ** -24);

export const oddsRatio: PairObjective<Options> = {
  weight: () => 1,
  ofPrompts: true,
  score(chosen, rejected, { beta }) {
    const [p, q] = [chosen, rejected].map(({ log, tokens }) => Math.min(log / tokens, CERTAIN)) as [
      number,
      number,
    ];
    const odds = p - q - (log1mexp(p) - log1mexp(q));
    const slope = -beta * sigmoid(-odds);
    return {
      loss: beta * softplus(-odds),
      chosen: beta * p,
      rejected: beta * q,
      slopes: [slope / -Math.expm1(p) / chosen.tokens, -slope / -Math.expm1(q) / rejected.tokens],
    };
  },
};

/** log(1 - exp x) for x < 0. */
const log1mexp = (x: number): number =>
  x > -Math.LN2 ? Math.log(-Math.expm1(x)) : Math.log1p(-Math.exp(x));

export const orpo = defineTask<PreferencePair, PreparedPair, Options>({
  name: 'orpo',
  title: 'Odds ratio preference optimization (ORPO)',
  summary:
    'Learns the preferred of two answers as text and, at the same time, that it is preferred: one training stage instead of two.',
  options: Options,
  ...referenceFree(oddsRatio),
  chance: ({ vocabSize }, { task_options: options }) => ({
    loss: Math.log(vocabSize) + (options as Options).beta * Math.LN2,
    of: 'tokens, and which answer is preferred',
    isStart: false,
  }),
});
