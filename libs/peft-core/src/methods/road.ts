/**
 * RoAd, arXiv:2409.00119: rotates and scales pairs of a linear layer's outputs.
 *   y' = c ⊙ y + s ⊙ ρ(y)      ρ: (y₁, y₂) → (-y₂, y₁), the halves of each group of g outputs
 *   c = α cos θ,  s = α sin θ
 * y: [n, out], bias included. road_1 has one α and θ for each pair: [out/2]; road_2 one for each output: [out]; road_4
 * two, for c and for s: [2 out], and in each group those of c come before those of s. They are f32, and y is rotated in
 * f32.
 */
import {
  add,
  cat,
  chunk,
  contiguous,
  cos,
  mul,
  neg,
  repeatInterleave,
  reshape,
  sin,
  tidy,
  to,
  transpose,
  view,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import { z } from 'zod';
import type { LinearShape } from '../nn/outline/outline.js';
import { modulesToSave, targetNames } from './frame/fields.js';
import { linearMethod } from './frame/linear-method.js';
import { outputsOf } from './frame/linear-sizes.js';
import type { LinearUpdate } from './frame/linear-method.js';
import { normal } from '../nn/random-init.js';

const Options = z.strictObject({
  variant: z
    .enum(['road_1', 'road_2', 'road_4'])
    .default('road_1')
    .describe(
      'Number of parameters per pair of outputs: 2, 4 or 8. More parameters are more expressive',
    ),
  group_size: z
    .int()
    .min(2)
    .multipleOf(2)
    .default(64)
    .describe(
      'Group size: outputs are paired within a group. Must divide the output size of every target module',
    ),
  init_weights: z
    .boolean()
    .default(true)
    .describe('true: the adapter is initialized to a no-op; false: randomly, for tests'),
  target_modules: targetNames('query and value projections'),
  modules_to_save: modulesToSave,
});
type Options = z.infer<typeof Options>;

/** Size of θ, and of α, per output. */
const NUMBERS = { road_1: 0.5, road_2: 1, road_4: 2 } as const;

export const road = linearMethod<Options>({
  name: 'ROAD',
  title: 'RoAd',
  summary: 'Rotates and scales pairs of outputs of linear layers. Small and fast to serve.',
  paper: 'https://arxiv.org/abs/2409.00119',
  // PEFT's comparison of methods
  relativeSize: 0.005,
  defaultLearningRate: 1e-3,
  options: Options,
  unsupported: {},
  tensors: { road_theta: 'parameter', road_alpha: 'parameter' },
  defaultTargets: () => ['q', 'v'],
  conv1d: false,
  // y and its other half, in f32, which may take two values of y's dtype
  held: (targets) => ({ perRow: 4 * outputsOf(targets) }),
  shapes: (options) => (linear) => {
    const size = [sizeOf(options, linear)];
    return { road_theta: size, road_alpha: size };
  },
  adapt: (options) => (linear, parameters) => {
    const size = [sizeOf(options, linear)];
    const { init_weights: neutral } = options;
    const theta = neutral
      ? parameters.zeros('road_theta', size)
      : parameters.normal('road_theta', size, 0.5);
    const alpha = neutral
      ? parameters.ones('road_alpha', size)
      : parameters.parameter('road_alpha', (name, seed) => add(normal(size, 0.5, seed, name), 1));
    return rotated(options, theta, alpha);
  },
});

/** Returns the group size. @throws DomainError if PEFT rejects the size */
function sizeOf(
  { variant, group_size: group }: Options,
  { path, outFeatures }: Pick<LinearShape, 'path' | 'outFeatures'>,
): number {
  if (outFeatures % group === 0) return NUMBERS[variant] * outFeatures;
  const message = `group_size must divide the ${outFeatures} outputs of ${path}, got ${group}`;
  throw new DomainError('invalid_value', message, 'peft.group_size');
}

function rotated(
  { variant, group_size: group }: Options,
  theta: Tensor,
  alpha: Tensor,
): LinearUpdate {
  /** Values for c and for s, [out] each, of θ or α; they differ only in road_4. */
  const halves = (t: Tensor): readonly [Tensor, Tensor] => {
    if (variant === 'road_2') return [t, t];
    if (variant === 'road_1') {
      const both = reshape(repeatInterleave(view(t, [-1, group / 2]), 2, 0), [-1]);
      return [both, both];
    }
    const [forCosine, forSine] = chunk(view(t, [-1, 2, group]), 2, 1) as [Tensor, Tensor];
    return [reshape(forCosine, [-1]), reshape(forSine, [-1])];
  };
  /** ρ of rows t: [n, out]. */
  const turned = (t: Tensor): Tensor => {
    const [thetas, alphas] = [halves(theta), halves(alpha)];
    const [first, second] = chunk(view(t, [-1, 2, group / 2]), 2, 1) as [Tensor, Tensor];
    const across = reshape(cat([neg(second), first], 1), t.shape);
    return add(mul(t, mul(alphas[0], cos(thetas[0]))), mul(across, mul(alphas[1], sin(thetas[1]))));
  };
  return {
    after: (y) => tidy(() => to(turned(to(y, 'f32')), y.dtype)),
    merged: (weight, bias) => ({
      weight: transpose(turned(contiguous(transpose(weight, 0, 1))), 0, 1),
      bias: bias && view(turned(view(bias, [1, -1])), [-1]),
    }),
  };
}
