/**
 * Spectrogram front end, arXiv:2212.04356 (Whisper): two convolutions over time, zero-padded at both ends, the second
 * with stride 2.
 *   h = gelu(x * K₁ + b₁)     rows = gelu(h * K₂ + b₂)     x: [mel, F]   K₁: [D, mel, 3]   K₂: [D, D, 3]   rows: [F/2, D]
 */
import { DomainError } from '@graft/contracts';
import { cat, gelu, reshape, stack, to, transpose, unfold, view, zeros } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';
import type { ForwardContext } from '../context.js';
import type { Linear } from '../layers/linear.js';
import type { ModuleMaker } from '../outline/description.js';
import type { FeatureRows } from './feature-rows.js';
import { featureContext } from './feature-rows.js';

const [WINDOW, STEP] = [3, 2];

export const FramesOptions = z.object({
  kind: z.literal('frames'),
  mel: z.int().min(1),
  /** Number of frames of each spectrogram. Every second frame has a learned position. */
  frames: z.int().min(STEP).multipleOf(STEP),
});
export type FramesOptions = z.infer<typeof FramesOptions>;

export interface FramesPaths {
  readonly kind: 'frames';
  readonly first: string;
  readonly second: string;
}

export interface FramesModules<L> {
  readonly kind: 'frames';
  readonly first: L;
  readonly second: L;
}

export function describeFrames<L, N, E, X>(
  { mel }: FramesOptions,
  paths: FramesPaths,
  hiddenSize: number,
  make: ModuleMaker<L, N, E, X>,
): FramesModules<L> {
  const convolution = (path: string, channels: number): L =>
    make.linear({
      path,
      role: 'convolution',
      layer: null,
      inFeatures: channels * WINDOW,
      outFeatures: hiddenSize,
      hasBias: true,
      transposed: false,
      kernel: [channels, WINDOW],
      adaptable: false,
    });
  return {
    kind: 'frames',
    first: convolution(paths.first, mel),
    second: convolution(paths.second, hiddenSize),
  };
}

/** Returns the number of rows of a spectrogram [mel, F]. @throws DomainError if the shape is not supported */
export function frameRows({ mel, frames }: FramesOptions, shape: readonly number[]): number {
  if (shape.join() === `${mel},${frames}`) return frames / STEP;
  const message = `expected a spectrogram of ${mel} × ${frames} (mel, frames), got ${shape.join(' × ')}`;
  throw new DomainError('invalid_value', message, 'audio');
}

/** Returns rows [T, D] of all spectrograms, in the base model's dtype. */
export function embedFrames(
  { frames }: FramesOptions,
  { first, second }: FramesModules<Linear>,
  spectrograms: FeatureRows,
  ctx: ForwardContext,
): Tensor {
  const { features, dtype } = spectrograms;
  const counts = (each: number): ForwardContext =>
    featureContext(
      spectrograms,
      features.map(() => each),
      ctx,
    );
  const x = stack(features.map((one) => transpose(to(one, dtype), 0, 1)));
  const h = gelu(first.forward(windows(x, 1), counts(frames)));
  const all = view(h, [features.length, frames, -1]);
  return gelu(second.forward(windows(all, STEP), counts(frames / STEP)));
}

/** Unfolds x: [B, F, C] → [B · F / step, C · WINDOW], the receptive field of each output of a convolution. */
function windows(x: Tensor, step: number): Tensor {
  const [count, , channels] = x.shape as [number, number, number];
  const edge = zeros([count, (WINDOW - 1) / 2, channels], x.dtype, x.device);
  return reshape(unfold(cat([edge, x, edge], 1), 1, WINDOW, step), [-1, channels * WINDOW]);
}
