/** What neural networks are made of. */
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
  /** k and v have fewer heads than q, each serving a group of them */
  enableGqa?: boolean;
}

let widenHalfAttention: boolean | undefined;

// libtorch 2.6 without a real BLAS (Debian's) falls to a scalar bf16 product inside its fused attention: 155 ms
// where f32 takes 9 ms (causal, batch 4, 256 tokens, 9 heads of 64). 2.13 has no such cliff.
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
  /** positions with this label count nothing */
  ignoreIndex?: number;
}

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

/** -logProbs[label].  logProbs: [n,classes], labels: i64 [n]. */
export const nllLoss = (
  logProbs: Tensor,
  labels: Tensor,
  { reduction = 'mean', ignoreIndex = -100 }: LossOptions = {},
): Tensor => one('aten::nll_loss_nd', logProbs, labels, null, REDUCTIONS[reduction], ignoreIndex);

export interface ConvOptions {
  stride?: number | readonly number[];
  padding?: number | readonly number[];
  dilation?: number | readonly number[];
  groups?: number;
}

/** x: [batch,in,length], w: [out,in/groups,kernel] */
export const conv1d = (
  x: Tensor,
  w: Tensor,
  b: Tensor | null = null,
  { stride = 1, padding = 0, dilation = 1, groups = 1 }: ConvOptions = {},
): Tensor => one('aten::conv1d', x, w, b, stride, padding, dilation, groups);

/** x: [batch,in,height,width], w: [out,in/groups,kernel,kernel] */
export const conv2d = (
  x: Tensor,
  w: Tensor,
  b: Tensor | null = null,
  { stride = 1, padding = 0, dilation = 1, groups = 1 }: ConvOptions = {},
): Tensor => one('aten::conv2d', x, w, b, stride, padding, dilation, groups);

export interface LstmOptions {
  layers?: number;
  bidirectional?: boolean;
  /** x is [batch,time,in], not [time,batch,in] */
  batchFirst?: boolean;
  /** whether `weights` holds b_ih and b_hh after each pair of matrices */
  hasBias?: boolean;
}

/**
 * LSTM as torch.nn.LSTM has it. `weights`: w_ih, w_hh (, b_ih, b_hh) for each layer and direction, in PyTorch's
 * order; h0 and c0: [layers · directions, batch, hidden].
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
