/**
 * LLaMA-Adapter prompts (arXiv:2303.16199), which a run's queries attend to apart from the sequence. In one layer:
 *   o ← o + g · softmax(q k_Pᵀ / √d) v_P [Wₒ]        k_P, v_P: the layer's own keys and values of P
 * o: output of attention [n, D]; q: [n, H, d], with positions applied; P: [p, D], without positions; g: [1].
 */
import {
  add,
  cat,
  matmul,
  mul,
  narrow,
  permute,
  repeatInterleave,
  reshape,
  softmax,
  squeeze,
  tidy,
  to,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { BARE_BASE } from '../batch.js';
import type { ForwardContext } from '../context.js';
import type { KvCache } from '../kv-cache.js';
import type { Slot } from './slots.js';

/** Prompts that a run adds to attention. */
export interface GatedPrompts {
  /** P [1, p, D] and g [1] by layer, in any float dtype. */
  readonly layers: ReadonlyMap<number, { readonly prompt: Tensor; readonly gate: Tensor }>;
  /** Whether the prompts' output passes through the output projection. */
  readonly throughOutput: boolean;
}

/** A layer's own projections, for rows of the bare base model, and the cache of continued sequences. */
export interface Projections {
  readonly cache: KvCache | undefined;
  /** Projects [p, D] to queries, keys and values by head. */
  qkv(rows: Tensor, ctx: ForwardContext): readonly [Tensor, Tensor, Tensor];
  /** Projects [n, H d] to [n, D]. */
  output(rows: Tensor, ctx: ForwardContext): Tensor;
}

/** Adds the runs' prompts of a layer to o. Returns o itself if no run has any. */
export function withGatedPrompts(
  o: Tensor,
  q: Tensor,
  slot: Slot<GatedPrompts>,
  layer: number,
  ctx: ForwardContext,
  projections: Projections,
): Tensor {
  if (!ctx.rows.some(({ run }) => slot.of(run)?.layers.has(layer))) return o;
  const parts = ctx.rows.map(({ run, start, length }) => {
    const [rows, queries] = [o, q].map((t) => narrow(t, 0, start, length)) as [Tensor, Tensor];
    const given = slot.of(run);
    return given?.layers.has(layer)
      ? add(
          rows,
          tidy(() => attended(queries, { ...given, run }, layer, ctx, projections)),
        )
      : rows;
  });
  return parts.length === 1 ? (parts[0] as Tensor) : cat(parts);
}

function attended(
  q: Tensor,
  { layers, throughOutput, run }: GatedPrompts & { readonly run: number },
  layer: number,
  ctx: ForwardContext,
  projections: Projections,
): Tensor {
  const { prompt, gate } = layers.get(layer) as { prompt: Tensor; gate: Tensor };
  const [n, heads, d] = q.shape as [number, number, number];
  const bare = (length: number): ForwardContext => ({
    ...ctx,
    rows: [{ run: BARE_BASE, start: 0, length }],
  });
  const [, p] = prompt.shape as [number, number];
  const made = (): { k: Tensor; v: Tensor } => {
    const [, k, v] = projections.qkv(to(squeeze(prompt, 0), q.dtype), bare(p));
    return { k, v };
  };
  const own = projections.cache?.apart(run, layer, made) ?? made();
  const [k, v] = [own.k, own.v].map((t) => {
    const times = heads / (t.shape[1] as number);
    return permute(times === 1 ? t : repeatInterleave(t, times, 1), [1, 0, 2]);
  }) as [Tensor, Tensor];
  const scores = mul(matmul(permute(q, [1, 0, 2]), permute(k, [0, 2, 1])), 1 / Math.sqrt(d));
  const weights = mul(to(softmax(scores, -1, 'f32'), q.dtype), to(gate, q.dtype));
  const given = reshape(permute(matmul(weights, v), [1, 0, 2]), [n, heads * d]);
  return throughOutput ? projections.output(given, bare(n)) : given;
}
