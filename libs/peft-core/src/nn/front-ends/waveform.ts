/**
 * Sound as rows, arXiv:2006.11477 (wav2vec 2.0). Of samples x [S], convolutions without zeros at their ends, each at every
 * stride-th place, and places that know their neighbours:
 *
 *   h₀ = x     h_i = gelu(norm_i(h_{i−1} * K_i + b_i))     p = W norm(h_n) + c  [T, D]     rows = p + gelu(p * P + a)
 *
 * norm_i: over channels, a LayerNorm; or, of the first alone, over time, each channel apart. P = g ⊙ v / |v| [D, D/G, k]:
 * G groups of channels, the norm over all but the last dimension, zeros beyond both ends; of an even k the last place is
 * left out. Rows that training hides (SpecAugment, arXiv:1904.08779) are a learned one in p.
 */
import { DomainError } from '@graft/contracts';
import {
  add,
  cat,
  conv1d,
  gelu,
  mean,
  mul,
  narrow,
  reshape,
  rsqrt,
  square,
  squeeze,
  sub,
  tensor,
  tidy,
  to,
  transpose,
  unfold,
  unsqueeze,
  view,
  weightNorm,
  where,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';
import type { ForwardContext } from '../context.js';
import type { Embedding } from '../layers/embedding.js';
import type { Linear } from '../layers/linear.js';
import type { Norm } from '../layers/norm.js';
import type { ModuleMaker } from '../outline/description.js';
import type { NormShape } from '../outline/outline.js';
import type { FeatureRows } from './feature-rows.js';
import { Masking } from './masking.js';

const size = z.int().min(1);
/** Of the norms of convolutions, PyTorch's own. */
const EPSILON = 1e-5;

export const WaveformOptions = z.object({
  kind: z.literal('waveform'),
  convolutions: z.array(z.object({ channels: size, kernel: size, stride: size })).min(1),
  /** Whether convolutions have a bias. */
  bias: z.boolean(),
  /** Which of them are normed: the first, over time; or each, over its channels. */
  norms: z.enum(['first', 'each']),
  normEps: z.number().positive(),
  /** Of what tells a row of its neighbours. */
  neighbours: z.object({ kernel: size, groups: size }),
  /**
   * What training hides: stretches of `length` rows, together about `share` of all, and at least so many stretches;
   * null: nothing.
   */
  masking: Masking.nullable(),
  /** Whether there is a row that stands for hidden ones: transformers makes it where training may hide any. */
  hasMasked: z.boolean(),
});
export type WaveformOptions = z.infer<typeof WaveformOptions>;

export interface WaveformPaths {
  readonly kind: 'waveform';
  /** '{i}' stands for a convolution's number. */
  readonly convolution: string;
  readonly norm: string;
  readonly projectionNorm: string;
  readonly projection: string;
  /** Of the convolution over neighbours, whose parameters are `.bias` and weight norm's two. */
  readonly neighbours: string;
  readonly masked: string;
}

export interface WaveformModules<L, N, E> {
  readonly kind: 'waveform';
  readonly convolutions: readonly L[];
  readonly norms: readonly N[];
  readonly projectionNorm: N;
  readonly projection: L;
  readonly neighbours: { readonly g: E; readonly v: E; readonly bias: E };
  /** What stands for a hidden row; null where none is ever hidden. */
  readonly masked: E | null;
}

export function describeWaveform<L, N, E, X>(
  o: WaveformOptions,
  paths: WaveformPaths,
  hiddenSize: number,
  make: ModuleMaker<L, N, E, X>,
): WaveformModules<L, N, E> {
  const { convolutions, neighbours } = o;
  const at = (path: string, i: number): string => path.replace('{i}', `${i}`);
  const norm = (path: string, features: number, eps = EPSILON): N =>
    make.norm({ path, kind: 'layer', eps, features, hasBias: true } satisfies NormShape);
  const parameter = (path: string, ...shape: readonly number[]): E => {
    const [rows = 1, ...rest] = shape;
    const columns = rest.reduce((product, n) => product * n, 1);
    return make.embedding({ path, rows, columns, parameter: shape });
  };
  const last = convolutions.at(-1)?.channels as number;
  const linears = convolutions.map(({ channels, kernel }, i) => {
    const before = i === 0 ? 1 : (convolutions[i - 1]?.channels as number);
    return make.linear({
      path: at(paths.convolution, i),
      role: 'convolution',
      layer: null,
      inFeatures: before * kernel,
      outFeatures: channels,
      hasBias: o.bias,
      transposed: false,
      kernel: [before, kernel],
    });
  });
  const normed = o.norms === 'each' ? convolutions : convolutions.slice(0, 1);
  const { kernel, groups } = neighbours;
  return {
    kind: 'waveform',
    convolutions: linears,
    norms: normed.map(({ channels }, i) => norm(at(paths.norm, i), channels)),
    projectionNorm: norm(paths.projectionNorm, last, o.normEps),
    projection: make.linear({
      path: paths.projection,
      role: 'projectIn',
      layer: null,
      inFeatures: last,
      outFeatures: hiddenSize,
      hasBias: true,
      transposed: false,
    }),
    masked: o.hasMasked ? parameter(paths.masked, hiddenSize) : null,
    neighbours: {
      g: parameter(`${paths.neighbours}.parametrizations.weight.original0`, 1, 1, kernel),
      v: parameter(
        `${paths.neighbours}.parametrizations.weight.original1`,
        hiddenSize,
        hiddenSize / groups,
        kernel,
      ),
      bias: parameter(`${paths.neighbours}.bias`, hiddenSize),
    },
  };
}

/** Rows of samples [S]. @throws DomainError where they are too few for one */
export function waveformRows({ convolutions }: WaveformOptions, shape: readonly number[]): number {
  const [samples = 0] = shape;
  const rows = convolutions.reduce(
    (length, { kernel, stride }) => Math.floor((length - kernel) / stride) + 1,
    samples,
  );
  if (shape.length === 1 && rows >= 1) return rows;
  const least = convolutions.reduceRight((n, { kernel, stride }) => (n - 1) * stride + kernel, 1);
  const message = `expected a sound of at least ${least} samples, got ${shape.join(' × ')}`;
  throw new DomainError('invalid_value', message, 'audio');
}

/**
 * Of the convolution that takes most: its windows, what was before them, and what it makes, as often as it is held at
 * once, in f32. A norm over time is f32 whatever the base is.
 */
export function waveformBytes({ convolutions, norms }: WaveformOptions, rows: number): number {
  let after = rows;
  const sizes = convolutions.map(({ channels, kernel, stride }, i) => {
    const before = i === 0 ? 1 : (convolutions[i - 1]?.channels as number);
    const held = i === 0 && norms === 'first' ? 6 : 5;
    return { stride, numbers: before * (kernel + stride) + held * channels };
  });
  const bytes = sizes.reverse().map(({ stride, numbers }) => {
    const found = 4 * after * numbers;
    after *= stride;
    return found;
  });
  return Math.max(...bytes);
}

/** Rows [T, D] of all sounds, in the base's dtype. */
export function embedWaveform(
  o: WaveformOptions,
  modules: WaveformModules<Linear, Norm, Embedding>,
  { features, sequences, hidden, dtype }: FeatureRows,
  { active: _, scalings: __, ...ctx }: ForwardContext,
): Tensor {
  // one after another: what convolutions read is many times what they make
  return cat(
    features.map((samples, i) => {
      const { run } = sequences[i] as FeatureRows['sequences'][number];
      const only = (length: number): ForwardContext => ({
        ...ctx,
        rows: [{ run, start: 0, length }],
        sequences: [{ ...(sequences[i] as FeatureRows['sequences'][number]), start: 0, length }],
      });
      return tidy(() => {
        const heard = convolved(o, modules, to(samples, dtype), run, only);
        const here = only(heard.shape[0] as number);
        const rows = modules.projection.forward(modules.projectionNorm.forward(heard, here), here);
        const shown = masked(rows, modules.masked?.of(run), hidden?.[i] ?? []);
        return withNeighbours(o, modules.neighbours, shown, run);
      });
    }),
  );
}

function convolved(
  o: WaveformOptions,
  { convolutions, norms }: WaveformModules<Linear, Norm, Embedding>,
  samples: Tensor,
  run: number,
  only: (length: number) => ForwardContext,
): Tensor {
  return convolutions.reduce(
    (h, convolution, i) =>
      tidy(() => {
        const { kernel, stride } = o.convolutions[i] as WaveformOptions['convolutions'][number];
        const windows = reshape(unfold(h, 0, kernel, stride), [-1, convolution.inFeatures]);
        const here = only(windows.shape[0] as number);
        const made = convolution.forward(windows, here);
        const norm = norms[i];
        if (!norm) return gelu(made);
        return gelu(o.norms === 'each' ? norm.forward(made, here) : overTime(norm, made, run));
      }),
    view(samples, [-1, 1]),
  );
}

/** Each channel of x [T, C] apart, in f32. */
function overTime(norm: Norm, x: Tensor, run: number): Tensor {
  const { weight, bias } = norm.of(run);
  // of a long sound each is hundreds of megabytes: as few as can be at once
  const unit = tidy(() => {
    const wide = to(x, 'f32');
    const centred = sub(wide, mean(wide, [0], true));
    const scale = tidy(() => rsqrt(add(mean(square(centred), [0], true), norm.eps)));
    return mul(centred, scale);
  });
  return tidy(() => {
    const scaled = mul(unit, to(weight, 'f32'));
    return to(bias ? add(scaled, to(bias, 'f32')) : scaled, x.dtype);
  });
}

function masked(rows: Tensor, instead: Tensor | undefined, places: readonly number[]): Tensor {
  if (!instead || places.length === 0) return rows;
  const isHidden = new Uint8Array(rows.shape[0] as number);
  for (const place of places) isHidden[place] = 1;
  const mask = to(tensor(isHidden, [isHidden.length, 1]), 'bool');
  return where(mask, to(instead, rows.dtype), rows);
}

function withNeighbours(
  { neighbours: { kernel, groups } }: WaveformOptions,
  { g, v, bias }: WaveformModules<Linear, Norm, Embedding>['neighbours'],
  rows: Tensor,
  run: number,
): Tensor {
  const { dtype } = rows;
  const filters = to(weightNorm(v.of(run), g.of(run), 2), dtype);
  const around = conv1d(unsqueeze(transpose(rows, 0, 1), 0), filters, to(bias.of(run), dtype), {
    padding: Math.floor(kernel / 2),
    groups,
  });
  const count = rows.shape[0] as number;
  return add(rows, gelu(transpose(narrow(squeeze(around, 0), 1, 0, count), 0, 1)));
}
