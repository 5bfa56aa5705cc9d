/**
 * Waveform front end, arXiv:2006.11477 (wav2vec 2.0): strided convolutions without padding over samples x
 * [S], then a positional convolution:
 *   h₀ = x     h_i = gelu(norm_i(h_{i−1} * K_i + b_i))     p = W norm(h_n) + c  [T, D]     rows = p + gelu(p * P + a)
 * norm_i: a LayerNorm over channels; or, after the first convolution only, a norm of each channel over time.
 * P = g ⊙ v / |v| [D, D/G, k]: G groups of channels, the norm over all but the last dimension, zero padding
 * at both ends; for an even k the last output is dropped. Masked rows (SpecAugment, arXiv:1904.08779) are
 * replaced in p by a learned row.
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
/** Epsilon of the convolutions' norms, PyTorch's default. */
const EPSILON = 1e-5;

export const WaveformOptions = z.object({
  kind: z.literal('waveform'),
  convolutions: z.array(z.object({ channels: size, kernel: size, stride: size })).min(1),
  /** Whether convolutions have a bias. */
  bias: z.boolean(),
  /** Position of the norms: after the first convolution, over time; or after each, over its channels. */
  norms: z.enum(['first', 'each']),
  normEps: z.number().positive(),
  /** Positional convolution. */
  neighbours: z.object({ kernel: size, groups: size }),
  /**
   * SpecAugment: spans of `length` rows that cover about `share` of all rows, with a minimum number of spans.
   * Null disables masking.
   */
  masking: Masking.nullable(),
  /** Whether the model has a mask embedding. Transformers creates it if training may mask rows. */
  hasMasked: z.boolean(),
});
export type WaveformOptions = z.infer<typeof WaveformOptions>;

export interface WaveformPaths {
  readonly kind: 'waveform';
  /** Name of a convolution; '{i}' is its index. */
  readonly convolution: string;
  readonly norm: string;
  readonly projectionNorm: string;
  readonly projection: string;
  /** Name of the positional convolution, whose parameters are `.bias` and the two of weight norm. */
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
  /** Mask embedding; null if rows are never masked. */
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

/** Returns the number of rows of samples [S]. @throws DomainError if there are too few samples for one row */
export function waveformRows({ convolutions }: WaveformOptions, shape: readonly number[]): number {
  const [samples = 0] = shape;
  const rows = convolutions.reduce(
    (length, { kernel, stride }) => Math.floor((length - kernel) / stride) + 1,
    samples,
  );
  if (shape.length === 1 && rows >= 1) return rows;
  const least = convolutions.reduceRight((n, { kernel, stride }) => (n - 1) * stride + kernel, 1);
  const message = `expected audio of at least ${least} samples, got ${shape.join(' × ')}`;
  throw new DomainError('invalid_value', message, 'audio');
}

/**
 * Bytes of the convolution that needs most memory: its input, windows and output, as many copies as exist
 * together, in f32. A norm over time is f32 for every base model.
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

/** Returns rows [T, D] of all audio inputs, in the base model's dtype. */
export function embedWaveform(
  o: WaveformOptions,
  modules: WaveformModules<Linear, Norm, Embedding>,
  { features, sequences, hidden, dtype }: FeatureRows,
  { active: _, scalings: __, ...ctx }: ForwardContext,
): Tensor {
  // one input after another: the windows of convolutions are many times larger than their output
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

/** Normalizes each channel of x [T, C] over time, in f32. */
function overTime(norm: Norm, x: Tensor, run: number): Tensor {
  const { weight, bias } = norm.of(run);
  // for long audio each tensor takes hundreds of megabytes, so keep as few as possible
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
