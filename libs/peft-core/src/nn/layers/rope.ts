/**
 * Rotary position embeddings (arXiv:2104.09864) on the two halves of a head, as in LLaMA:
 *
 *   rotary(x)_t = x ⊙ cos(t f) + [x₂ ; x₁] ⊙ [-sin(t f) ; sin(t f)]     x = [x₁ ; x₂]
 *   f_i = θ^(-2i/d)                                                       i < d/2
 *
 * x: [T, heads, d]. Angles are f32, tables have x's dtype. LongRoPE (arXiv:2402.13753) divides each f_i by
 * its own factor and multiplies cos and sin by another. All rows of a sequence longer than the model's
 * original context use the long factors. Transformers chooses by the longest sequence of a batch. Here each
 * sequence chooses for itself, so that packing does not change results.
 */
import {
  arange,
  call,
  cat,
  cos,
  div,
  indexSelect,
  mul,
  neg,
  reciprocal,
  rotary,
  sin,
  split,
  tensor,
  tidy,
  to,
  unsqueeze,
} from '@graft/kernels';
import type { Dtype, Tensor, TypedArray } from '@graft/kernels';
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
  z.object({
    rope_type: z.literal('longrope'),
    rope_theta: z.number().positive(),
    short_factor: z.array(z.number().positive()),
    /** Factors for sequences longer than `original_max_position_embeddings`. */
    long_factor: z.array(z.number().positive()),
    original_max_position_embeddings: z.number().positive(),
    attention_factor: z.number().positive(),
  }),
]);
export type RopeOptions = z.infer<typeof RopeOptions>;

/** cos and signed sin of a batch's positions, [T, 1, d] each. */
export interface RotaryCache {
  readonly cos: Tensor;
  readonly sin: Tensor;
}

/** Position of each row of a batch, and the number of positions of its sequence. */
export interface RowPlaces {
  readonly positions: Int32Array;
  readonly lengths: Int32Array;
}

/** Returns the largest sequence length up to which frequencies do not depend on the length. */
export const fixedRopePositions = (options: RopeOptions): number =>
  options.rope_type === 'longrope' ? options.original_max_position_embeddings : Infinity;

/** f by options, and by `headDim` and `long`. Cached because every generated token needs it. */
const known = new WeakMap<RopeOptions, Map<string, TypedArray>>();

/** f, f32 [d/2]. `long`: for sequences longer than `fixedRopePositions` */
export function frequencies(options: RopeOptions, headDim: number, long = false): Tensor {
  const made = known.get(options) ?? new Map<string, TypedArray>();
  known.set(options, made);
  const key = `${headDim} ${long}`;
  const f = made.get(key) ?? tidy(() => computed(options, headDim, long).toArray());
  made.set(key, f);
  return tensor(f, [f.length]);
}

function computed(options: RopeOptions, headDim: number, long: boolean): Tensor {
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
      case 'longrope': {
        const factors = long ? options.long_factor : options.short_factor;
        return div(f, tensor(Float32Array.from(factors), f.shape));
      }
    }
  });
}

/**
 * Divides the frequencies of long waves by `factor`, keeps those of short waves and interpolates between
 * them.
 */
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

/** Returns the cos and sin tables of a batch's rows. */
export function rotaryCache(
  options: RopeOptions,
  headDim: number,
  { positions, lengths }: RowPlaces,
  dtype: Dtype,
): RotaryCache {
  return tidy(() => {
    const f = frequenciesOf(options, headDim, lengths);
    const angles = mul(tensor(Float32Array.from(positions), [positions.length, 1, 1]), f);
    const factor = options.rope_type === 'longrope' ? options.attention_factor : 1;
    const scaled = (t: Tensor): Tensor => to(factor === 1 ? t : mul(t, factor), dtype);
    const [c, s] = [scaled(cos(angles)), scaled(sin(angles))];
    return { cos: cat([c, c], 2), sin: cat([neg(s), s], 2) };
  });
}

/** f of every row: [d/2] if all rows have the same f, else [T, 1, d/2]. */
function frequenciesOf(options: RopeOptions, headDim: number, lengths: Int32Array): Tensor {
  const isLong = lengths.map((length) => Number(length > fixedRopePositions(options)));
  if (isLong.every((long) => long === isLong[0]))
    return frequencies(options, headDim, isLong[0] === 1);
  const both = [false, true].map((long) => unsqueeze(frequencies(options, headDim, long), 0));
  return unsqueeze(indexSelect(cat(both), 0, tensor(isLong, [isLong.length])), 1);
}

/** Rotates the first dimensions of each head, as many as the tables have. */
export function applyRotary(x: Tensor, { cos: c, sin: s }: RotaryCache): Tensor {
  const [size, turns] = [x.shape[2], c.shape[2]] as [number, number];
  if (turns === size) return rotary(x, c, s);
  const [turned, rest] = split(x, [turns, size - turns], 2) as [Tensor, Tensor];
  return cat([rotary(turned, c, s), rest], 2);
}
