/**
 * Contrastive preference optimization, arXiv:2401.08417, and SimPO, arXiv:2405.14734, as in TRL's
 * CPOTrainer. For a prompt x, a preferred answer y_w and a rejected answer y_l:
 *   s(y)  = log π(y|x) = Σ log π(y_i | x, y_<i); for "simpo" and "ipo" divided by |y|, its tokens
 *   δ     = s(y_w) - s(y_l)
 *   f     = -(1-ε) log σ(βδ - γ) - ε log σ(γ - βδ) for "simpo"; otherwise as in pair-losses.ts
 *   loss  = mean f + α · nll                  nll: of the preferred answers (reference-free.ts)
 * SimPO itself is loss_type "simpo" with cpo_alpha 0. There is no reference model, so a step needs half of
 * DPO's forward passes.
 */
import { z } from 'zod';
import { labelSmoothing, LOSS_TYPES, pairLoss, smoothed } from './losses/pair-losses.js';
import type { PreferencePair, PreparedPair } from './losses/preference-pairs.js';
import { referenceFree, type AnswerLogP, type PairObjective } from './losses/reference-free.js';
import { defineTask } from './task.js';

const GAMMA = 0.5;

const Options = z
  .strictObject({
    beta: z
      .number()
      .positive()
      .max(100)
      .describe('Factor on the difference of the two answers’ scores (β); SimPO uses 2 to 10')
      .default(0.1),
    loss_type: z
      .enum([...LOSS_TYPES, 'simpo'])
      .describe(
        'Loss function. "sigmoid": CPO; "hinge": SLiC; "ipo": IPO; "simpo": SimPO, which scores an answer by the mean of its tokens (use cpo_alpha 0 for SimPO itself)',
      )
      .default('sigmoid'),
    cpo_alpha: z
      .number()
      .min(0)
      .max(100)
      .describe('Weight of the loss of the preferred answers as text; 0 turns it off')
      .default(1),
    simpo_gamma: z
      .number()
      .min(0)
      .max(100)
      .describe('SimPO’s target margin (γ): how far ahead the preferred answer should be')
      .default(GAMMA),
    label_smoothing: labelSmoothing,
  })
  .refine(({ label_smoothing: e, loss_type: type }) => e === 0 || isSmoothed(type), {
    path: ['label_smoothing'],
    message: 'requires loss_type "sigmoid" or "simpo"; remove it',
  })
  .refine(({ simpo_gamma: gamma, loss_type: type }) => gamma === GAMMA || type === 'simpo', {
    path: ['simpo_gamma'],
    message: 'requires loss_type "simpo"; remove it',
  });
type Options = z.infer<typeof Options>;

const isSmoothed = (type: string): boolean => type === 'sigmoid' || type === 'simpo';

const objective: PairObjective<Options> = {
  weight: ({ cpo_alpha }) => cpo_alpha,
  ofPrompts: false,
  score(chosen, rejected, { beta, loss_type: type, simpo_gamma: gamma, label_smoothing: e }) {
    const length = ({ tokens }: AnswerLogP): number =>
      type === 'simpo' || type === 'ipo' ? tokens : 1;
    const [s, other] = [chosen.log / length(chosen), rejected.log / length(rejected)];
    const { loss, slope } =
      type === 'simpo'
        ? smoothed(beta * (s - other) - gamma, beta, e)
        : pairLoss(type, s - other, beta, e);
    return {
      loss,
      chosen: beta * s,
      rejected: beta * other,
      slopes: [slope / length(chosen), -slope / length(rejected)],
    };
  },
};

export const cpo = defineTask<PreferencePair, PreparedPair, Options>({
  name: 'cpo',
  title: 'Contrastive preference optimization (CPO, SimPO)',
  summary:
    'Learns which of two answers is preferred, without a reference model: half of DPO’s forward computation.',
  options: Options,
  ...referenceFree(objective),
  // Without a reference model, the base model may start far above or below the loss of guessing.
  chance: () => ({ loss: Infinity, of: 'which answer is preferred', isStart: true }),
});
