/** LayerScale (arXiv:2103.17239): multiplies a sublayer's output by one factor per feature. */
import { mul, to } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import type { ForwardContext } from '../context.js';
import type { Embedding } from './embedding.js';
import { byRun } from '../rows.js';

/** λ ⊙ rows [n, D]. λ [D] is the base model's or the run's own. */
export const layerScaled = (scale: Embedding, rows: Tensor, ctx: ForwardContext): Tensor =>
  ctx.rows.every(({ run }) => scale.of(run) === scale.weight)
    ? mul(rows, scale.weight)
    : byRun(rows, ctx, (own, run) => mul(own, to(scale.of(run), own.dtype)));
