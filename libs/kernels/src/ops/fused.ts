/** Graft's own kernels (native/ops), each beside the composition that other devices and dtypes take, if there is one. */
import { call, many, one, run } from '../call.js';
import { tidy } from '../scope.js';
import type { Tensor } from '../tensor.js';
import { full } from './creation.js';
import { addcmul_, copy_, mul_ } from './in-place.js';
import { add, amax, ge, logSoftmax, mean, mul, neg, rsqrt, silu, square } from './maths.js';
import { gather, squeeze, to, unsqueeze } from './shape.js';

const INSTRUCTION_SETS = ['generic', 'avx2', 'avx512', 'avx512bf16'] as const;
export type InstructionSet = (typeof INSTRUCTION_SETS)[number];

/** The instruction set that the own kernels use: the best there is, or `wanted` from now on (tests compare them). */
export const instructionSet = (wanted?: InstructionSet): InstructionSet =>
  INSTRUCTION_SETS[
    call('graft::instruction_set', wanted ? INSTRUCTION_SETS.indexOf(wanted) : -1) as number
  ] as InstructionSet;

/** Whether Graft's own kernels (native/ops) compute this: on the CPU, in f32 or bf16. */
const isOwn = ({ device, dtype }: Tensor): boolean =>
  device === 'cpu' && (dtype === 'f32' || dtype === 'bf16');

/**
 * weight · cast(x · rsqrt(mean(x²) + eps)) over the last dimension: as Hugging Face's LLaMA does, the norm is
 * taken in f32, rounded to x's dtype, and only then scaled. arXiv:1910.07467.
 */
export function rmsNorm(x: Tensor, weight: Tensor | null, eps = 1e-6): Tensor {
  if (isOwn(x)) return one('graft::rms_norm', x, weight, eps);
  return tidy(() => {
    const wide = to(x, 'f32');
    const scaled = mul(wide, rsqrt(add(mean(square(wide), -1, true), eps)));
    const normed = to(scaled, x.dtype);
    return weight ? mul(weight, normed) : normed;
  });
}

/** silu(gate) ⊙ up, arXiv:2002.05202. Keeps its two inputs for the backward pass and nothing else. */
export const siluMul = (gate: Tensor, up: Tensor): Tensor =>
  isOwn(gate) ? one('graft::silu_mul', gate, up) : tidy(() => mul(silu(gate), up));

/**
 * x ⊙ cos + [x₂ ; x₁] ⊙ sin, x = [x₁ ; x₂]: rotary positions in halves, arXiv:2104.09864.
 * @param x [rows, heads, d]
 * @param cos [rows, 1, d] in x's dtype
 * @param sin the same, its first half negated
 */
export const rotate = (x: Tensor, cos: Tensor, sin: Tensor): Tensor =>
  isOwn(x)
    ? one('graft::rotate', x, cos, sin)
    : tidy(() => addcmul_(mul(x, cos), one('aten::roll', x, (x.shape[2] as number) / 2, 2), sin));

/** Rows of a packed batch that attend to each other, and the rows of keys that they see before their own. */
export interface AttentionPiece {
  /** First query; pieces follow each other. */
  readonly start: number;
  readonly rows: number;
  readonly beforeStart: number;
  readonly before: number;
}

/** Whether `packedAttention` can be used. */
export const hasPackedAttention = isOwn;

/**
 * Causal attention of each piece over what is before it and its own rows; scores live for 48 queries at a time.
 * On the CPU, in f32 or bf16.
 * @param q [T, H, d]
 * @param k [p + T, Hkv, d], as v: p rows that `beforeStart` may name, then one for each query
 * @param window keys that a query sees at most, its own included; 0: all
 * @returns [T, H d]
 */
export const packedAttention = (
  q: Tensor,
  k: Tensor,
  v: Tensor,
  pieces: readonly AttentionPiece[],
  { scale, window = 0 }: { scale: number; window?: number },
): Tensor =>
  one(
    'graft::attention',
    q,
    k,
    v,
    pieces.flatMap(({ start, rows, beforeStart, before }) => [start, rows, beforeStart, before]),
    scale,
    window,
  );

/**
 * Cross-entropy of each row; with `scales` the logits are overwritten by its gradient, s (softmax(z) - [c = y]).
 * @param logits [n, classes]
 * @param labels i64 [n], each one of the classes
 * @param scales f32 [n]
 * @returns losses, f32 [n], and whether the label was the likeliest, bool [n]
 */
export function crossEntropy_(
  logits: Tensor,
  labels: Tensor,
  scales: Tensor | null,
): { losses: Tensor; right: Tensor } {
  if (isOwn(logits)) {
    const [losses, right] = many('graft::cross_entropy_', logits, labels, scales) as Pair;
    return { losses, right };
  }
  const [losses, right] = tidy((): Pair => {
    const y = unsqueeze(labels, 1);
    const logP = logSoftmax(logits, -1, 'f32');
    const wanted = gather(logP, 1, y);
    const found: Pair = [neg(squeeze(wanted, 1)), squeeze(ge(wanted, amax(logP, -1, true)), 1)];
    if (scales) {
      run('aten::exp_', logP);
      run('aten::scatter_add_', logP, 1, y, full(y.shape, -1, 'f32', logits.device));
      copy_(logits, mul_(logP, unsqueeze(scales, 1)));
    }
    return found;
  });
  return { losses, right };
}
type Pair = [Tensor, Tensor];
