/**
 * Losses of a pair of answers, as in TRL. δ is the score of the preferred answer minus that of the
 * rejected one:
 *   sigmoid  -(1-ε) log σ(βδ) - ε log σ(-βδ)     ε: label smoothing
 *   hinge    max(0, 1 - βδ)                       SLiC, arXiv:2305.10425
 *   ipo      (δ - 1/(2β))²                        arXiv:2310.12036 eq. 17, where β is τ
 */
import { z } from 'zod';

export const LOSS_TYPES = ['sigmoid', 'hinge', 'ipo'] as const;
export type LossType = (typeof LOSS_TYPES)[number];

export interface PairLoss {
  readonly loss: number;
  /** dloss/dδ */
  readonly slope: number;
}

export const labelSmoothing = z
  .number()
  .min(0)
  .lt(0.5)
  .describe(
    'Assumed share of preferences that are the wrong way round (label smoothing), below 0.5',
  )
  .default(0);

/** @param e label smoothing, used by "sigmoid" only */
export function pairLoss(type: LossType, delta: number, beta: number, e: number): PairLoss {
  const margin = beta * delta;
  if (type === 'hinge') return { loss: Math.max(0, 1 - margin), slope: margin < 1 ? -beta : 0 };
  if (type === 'ipo') {
    const apart = delta - 1 / (2 * beta);
    return { loss: apart ** 2, slope: 2 * apart };
  }
  return smoothed(margin, beta, e);
}

/** Sigmoid loss of a margin βδ or βδ - γ. Its slope is dloss/dδ = β dloss/dmargin. */
export const smoothed = (margin: number, beta: number, e: number): PairLoss => ({
  loss: (1 - e) * softplus(-margin) + e * softplus(margin),
  slope: -beta * ((1 - e) * sigmoid(-margin) - e * sigmoid(margin)),
});

export const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
/** -log σ(-x) */
export const softplus = (x: number): number => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
