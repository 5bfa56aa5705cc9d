/**
 * Odds ratio preference optimisation, arXiv:2403.07691, as TRL's ORPOTrainer has it. Of a prompt x, an answer y_w that is
 * preferred and one that is not:
 *   p(y)  = log π(y|x) / |y|                  the mean of its tokens
 *   o     = p(y_w) - p(y_l) - (log(1 - exp p(y_w)) - log(1 - exp p(y_l)))      the log of the odds' ratio
 *   loss  = nll - β · mean log σ(o)           nll: of the preferred answers and their prompts (reference-free.ts)
 *   do/dp = ±1 / (1 - exp p)
 * There is no reference: a forward is half of DPO's.
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

/** Above this an answer is certain in f32, and its odds would be infinite. */
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

/** log(1 - exp x) of an x below 0. */
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
