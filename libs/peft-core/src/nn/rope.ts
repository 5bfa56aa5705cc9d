/**
 * Rotary positions, arXiv:2104.09864, in halves as LLaMA has them:
 *
 *   rotate(x)_t = x ⊙ cos(t f) + [x₂ ; x₁] ⊙ [-sin(t f) ; sin(t f)]     x = [x₁ ; x₂]
 *   f_i = θ^(-2i/d)                                                       i < d/2
 *
 * x: [T, heads, d]. Angles are f32, tables have x's dtype.
 */
import {
  arange,
  call,
  cat,
  cos,
  div,
  mul,
  neg,
  reciprocal,
  rotate as turn,
  sin,
  tensor,
  tidy,
  to,
} from '@graft/kernels';
import type { Dtype, Tensor } from '@graft/kernels';
import { z } from 'zod';

export const RopeOptions = z.discriminatedUnion('rope_type', [
  z.object({ rope_type: z.literal('default'), rope_theta: z.number().positive() }),
  z.object({
    rope_type: z.literal('linear'),
    rope_theta: z.number().positive(),
    factor: z.number().positive(),
  }),
  z.object({
    rope_type: z.literal('llama3'),
    rope_theta: z.number().positive(),
    factor: z.number().positive(),
    low_freq_factor: z.number().positive(),
    high_freq_factor: z.number().positive(),
    original_max_position_embeddings: z.number().positive(),
  }),
]);
export type RopeOptions = z.infer<typeof RopeOptions>;

/** cos and signed sin of a batch's positions, [T, 1, d] each. */
export interface RopeTables {
  readonly cos: Tensor;
  readonly sin: Tensor;
}

/** f, f32 [d/2] */
export function frequencies(options: RopeOptions, headDim: number): Tensor {
  return tidy(() => {
    const exponents = div(arange(0, headDim, 2, 'f32'), headDim);
    const f = reciprocal(call('aten::pow.Scalar', options.rope_theta, exponents) as Tensor);
    switch (options.rope_type) {
      case 'default':
        return f;
      case 'linear':
        return div(f, options.factor);
      case 'llama3':
        return tensor(
          Float32Array.from(f.toArray() as Float32Array, (value) => stretched(value, options)),
          f.shape,
        );
    }
  });
}

/** Long waves are slowed by `factor`, short ones kept, those between blended. */
function stretched(f: number, options: Extract<RopeOptions, { rope_type: 'llama3' }>): number {
  const {
    factor,
    low_freq_factor: low,
    high_freq_factor: high,
    original_max_position_embeddings: original,
  } = options;
  const wave = (2 * Math.PI) / f;
  if (wave > original / low) return f / factor;
  if (wave < original / high) return f;
  const smooth = (original / wave - low) / (high - low);
  return ((1 - smooth) * f) / factor + smooth * f;
}

/** f: [d/2] */
export function ropeTables(f: Tensor, positions: Int32Array, dtype: Dtype): RopeTables {
  return tidy(() => {
    const angles = mul(tensor(Float32Array.from(positions), [positions.length, 1, 1]), f);
    const [c, s] = [to(cos(angles), dtype), to(sin(angles), dtype)];
    return { cos: cat([c, c], 2), sin: cat([neg(s), s], 2) };
  });
}

export const rotate = (x: Tensor, { cos: c, sin: s }: RopeTables): Tensor => turn(x, c, s);
