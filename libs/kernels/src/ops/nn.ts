/** Operators of neural networks. */
import { many, one } from '../call.js';
import { native } from '../native.js';
import { tidy } from '../scope.js';
import type { Tensor } from '../tensor.js';
import { to } from './shape.js';

/** (x - mean) / sqrt(var + eps) · weight + bias over the last dimension. */
export const layerNorm = (
  x: Tensor,
  weight: Tensor | null,
  bias: Tensor | null = null,
  eps = 1e-5,
): Tensor => one('aten::layer_norm', x, x.shape.slice(-1), weight, bias, eps);

export interface AttentionOptions {
  /** bool (true = attend) or added to the scores; broadcast to [..., queries, keys] */
  mask?: Tensor | null;
  /** query i sees keys 0 … i */
  isCausal?: boolean;
  /** default 1/sqrt(head size) */
  scale?: number;
  /** whether k and v have fewer heads than q, each shared by a group */
  enableGqa?: boolean;
}

let widenHalfAttention: boolean | undefined;

// libtorch 2.6 without a real BLAS (Debian's) uses a scalar bf16 product in its fused attention: 155 ms where f32 takes
// 9 ms (causal, batch 4, 256 tokens, 9 heads of 64). 2.13 does not.
function mustWiden(q: Tensor): boolean {
  if (q.device !== 'cpu' || (q.dtype !== 'bf16' && q.dtype !== 'f16')) return false;
  if (widenHalfAttention === undefined) {
    const { major, minor, blas } = native().build();
    widenHalfAttention = blas === 'generic' || (major === 2 && minor < 7);
  }
  return widenHalfAttention;
}

/** softmax(q kᵀ · scale + mask) v.  q: [..., heads, queries, size], k and v: [..., heads, keys, size]. */
export function scaledDotProductAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  { mask = null, isCausal = false, scale, enableGqa = false }: AttentionOptions = {},
): Tensor {
  const attend = (a: Tensor, b: Tensor, c: Tensor, m: Tensor | null): Tensor =>
    one('aten::scaled_dot_product_attention', a, b, c, m, 0, isCausal, scale ?? null, enableGqa);
  if (!mustWiden(q)) return attend(q, k, v, mask);
  return tidy(() => {
    const wideMask = mask && mask.dtype !== 'bool' ? to(mask, 'f32') : mask;
    return to(attend(to(q, 'f32'), to(k, 'f32'), to(v, 'f32'), wideMask), q.dtype);
  });
}

export type Reduction = 'none' | 'mean' | 'sum';
const REDUCTIONS: Readonly<Record<Reduction, number>> = { none: 0, mean: 1, sum: 2 };

export interface LossOptions {
  reduction?: Reduction;
  /** positions with this label are ignored */
  ignoreIndex?: number;
}

/** -(y log σ(z) + (1 - y) log σ(-z)).  targets y: same shape as logits z, from 0 to 1 */
export const binaryCrossEntropyWithLogits = (
  logits: Tensor,
  targets: Tensor,
  { reduction = 'mean' }: Pick<LossOptions, 'reduction'> = {},
): Tensor =>
  one('aten::binary_cross_entropy_with_logits', logits, targets, null, null, REDUCTIONS[reduction]);

/** -log softmax(logits)[label].  logits: [n,classes], labels: i64 [n]. */
export const crossEntropy = (
  logits: Tensor,
  labels: Tensor,
  {
    reduction = 'mean',
    ignoreIndex = -100,
    labelSmoothing = 0,
  }: LossOptions & { labelSmoothing?: number } = {},
): Tensor =>
  one(
    'aten::cross_entropy_loss',
    logits,
    labels,
    null,
    REDUCTIONS[reduction],
    ignoreIndex,
    labelSmoothing,
  );

/**
 * -log of the total probability of all alignments with a target (CTC, Graves et al. 2006).
 * @param logP [rows, classes]
 * @param target i64 [length]
 */
export function ctcLoss(
  logP: Tensor,
  target: Tensor,
  { blank, zeroInfinity = false }: { readonly blank: number; readonly zeroInfinity?: boolean },
): Tensor {
  const lengths = [logP, target].map(({ shape }) => [shape[0] as number]);
  return one(
    'aten::ctc_loss.IntList',
    logP,
    target,
    ...lengths,
    blank,
    REDUCTIONS.sum,
    zeroInfinity,
  );
}

export interface LstmOptions {
  layers?: number;
  bidirectional?: boolean;
  /** x is [batch,time,in], not [time,batch,in] */
  batchFirst?: boolean;
  /** whether `weights` holds b_ih and b_hh after each pair of matrices */
  hasBias?: boolean;
}

/**
 * LSTM as in torch.nn.LSTM. `weights`: w_ih, w_hh (, b_ih, b_hh) for each layer and direction, in PyTorch's order; h0
 * and c0: [layers · directions, batch, hidden].
 */
export function lstm(
  x: Tensor,
  [h0, c0]: readonly [Tensor, Tensor],
  weights: readonly Tensor[],
  { layers = 1, bidirectional = false, batchFirst = false, hasBias = true }: LstmOptions = {},
): { output: Tensor; h: Tensor; c: Tensor } {
  const [output, h, c] = many(
    'aten::lstm.input',
    x,
    [h0, c0],
    weights,
    hasBias,
    layers,
    0,
    false,
    bidirectional,
    batchFirst,
  ) as [Tensor, Tensor, Tensor];
  return { output, h, c };
}

/** x: [channels, height, width]  filters: [channels, out, h, w] → [out, (height - 1) · stride + h - 2 · padding, …] */
export const convTranspose2d = (
  x: Tensor,
  filters: Tensor,
  { stride = 1, padding = 0 }: { stride?: number; padding?: number } = {},
): Tensor => one('aten::conv_transpose2d.input', x, filters, null, stride, padding);

/** x: [batch, channels, length]  filters: [out, channels / groups, width] → [batch, out, length + 2 · padding − width + 1] */
export const conv1d = (
  x: Tensor,
  filters: Tensor,
  bias: Tensor | null = null,
  { padding = 0, groups = 1 }: { padding?: number; groups?: number } = {},
): Tensor => one('aten::conv1d', x, filters, bias, 1, padding, 1, groups);

/** g ⊙ v / |v|, where the norm is over all dimensions of v except `dim`, along which g varies. */
export const weightNorm = (v: Tensor, g: Tensor, dim = 0): Tensor =>
  one('aten::_weight_norm', v, g, dim);
