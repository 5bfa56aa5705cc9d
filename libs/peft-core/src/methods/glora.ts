/**
 * GLoRA, arXiv:2306.07967: scales and shifts of a weight and its bias, each with a size of choice.
 *   W' = W + W ⊙ A + B      b' = b + b ⊙ D + E + W C
 * W, A, B: [out, in]  b, D, E: [out]  C: [in, 1]. A, B and C are each the product of two thin matrices ("lora"), a
 * vector or a number; D and E a vector or a number. "none" is zero. C, D and E are also zero without a b: PEFT then
 * stores zeros in its file. W' and b' are computed in f32 and rounded to the base's dtype; PEFT rounds each term.
 */
import { add, matmul, mul, tidy, to, view, zeros } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import { z } from 'zod';
import type { Linear } from '../nn/layers/linear.js';
import type { LinearShape } from '../nn/outline/outline.js';
import { modulesToSave, rank, targetNames, trainedBiases } from './frame/fields.js';
import { linearMethod } from './frame/linear-method.js';
import { numbersIn } from './frame/linear-sizes.js';
import type { LinearUpdate } from './frame/linear-method.js';
import type { ModuleParameters, PartShapes } from './frame/parameters.js';

const Options = z.strictObject({
  r: rank.default(8).describe('Rank of the paths set to "lora"'),
  config_A_B: z
    .enum(['lora', 'vector', 'constant', 'none'])
    .default('lora')
    .describe('Parametrization of the weight scale and shift'),
  config_C: z
    .enum(['lora', 'vector', 'none'])
    .default('lora')
    .describe('Parametrization of the bias term that depends on the weight'),
  config_D_E: z
    .enum(['vector', 'constant', 'none'])
    .default('constant')
    .describe('Parametrization of the bias scale and shift'),
  target_modules: targetNames('query and value projections'),
  bias: trainedBiases('glora_only'),
  modules_to_save: modulesToSave,
  init_weights: z
    .boolean()
    .default(true)
    .describe('true: the adapter is initialized to a no-op; false: randomly, for tests'),
});
type Options = z.infer<typeof Options>;

const LETTERS = ['A', 'B', 'C', 'D', 'E'] as const;
type Letter = (typeof LETTERS)[number];
type Kind = 'lora' | 'vector' | 'constant' | 'none';
type Size = Pick<LinearShape, 'inFeatures' | 'outFeatures'>;

export const glora = linearMethod<Options>({
  name: 'GLORA',
  title: 'GLoRA',
  summary:
    'Scales and shifts weights and biases together, with low-rank matrices, vectors or scalars.',
  paper: 'https://arxiv.org/abs/2306.07967',
  // PEFT's comparison of methods, for vectors; it uses 1e-4 for low ranks
  relativeSize: 0.19,
  defaultLearningRate: 1e-4,
  options: Options,
  unsupported: {},
  tensors: Object.fromEntries(
    LETTERS.flatMap((letter) =>
      ['Xd', 'Xu', 'X', 'zeros'].map((part) => [`glora_${letter}.${part}`, 'parameter' as const]),
    ),
  ),
  defaultTargets: () => ['q', 'v'],
  conv1d: false,
  // W' and, for A's gradient, W in f32
  held: (targets, { config_A_B: kind }) => ({
    numbers: kind === 'none' ? 0 : 2 * numbersIn(targets),
  }),
  shapes: (options) => (linear) => {
    const kinds = kindsOf(options, linear.hasBias);
    if (LETTERS.every((letter) => kinds[letter] === 'none'))
      refuseIdle(linear.path, linear.hasBias);
    return Object.assign(
      {},
      ...LETTERS.map((letter) => pathShapes(letter, kinds[letter], linear, options.r)),
    ) as PartShapes;
  },
  adapt: (options) => (linear, parameters) => update(options, linear, parameters),
});

const kindsOf = (
  { config_A_B: weight, config_C: across, config_D_E: bias }: Options,
  hasBias: boolean,
): Readonly<Record<Letter, Kind>> => ({
  A: weight,
  B: weight,
  C: hasBias ? across : 'none',
  D: hasBias ? bias : 'none',
  E: hasBias ? bias : 'none',
});

function refuseIdle(path: string, hasBias: boolean): never {
  const what = hasBias ? 'config_A_B, config_C and config_D_E are' : 'config_A_B is';
  const message = `${path} would have no trainable parameters: ${hasBias ? '' : 'it has no bias, and '}${what} "none"`;
  throw new DomainError('invalid_value', message, 'peft.config_A_B');
}

/** Shapes of the two thin matrices, and of a vector. */
function sizes(
  letter: Letter,
  { inFeatures, outFeatures }: Size,
): readonly [thin: readonly [number, number], vector: readonly number[]] {
  if (letter === 'C')
    return [
      [inFeatures, 1],
      [inFeatures, 1],
    ];
  return [
    [outFeatures, inFeatures],
    letter === 'A' || letter === 'B' ? [outFeatures, 1] : [outFeatures],
  ];
}

function pathShapes(letter: Letter, kind: Kind, size: Size, r: number): PartShapes {
  const [[rows, columns], vector] = sizes(letter, size);
  const at = (part: string): string => `glora_${letter}.${part}`;
  if (kind === 'lora') return { [at('Xd')]: [rows, r], [at('Xu')]: [r, columns] };
  if (kind === 'none') return {};
  return { [at('X')]: kind === 'vector' ? vector : [1] };
}

/** Current value of a term; null means zeros. */
type Path = (() => Tensor) | null;

function makePath(
  letter: Letter,
  kind: Kind,
  {
    options: { init_weights: neutral, r },
    linear,
    parameters,
  }: { options: Options; linear: Linear; parameters: ModuleParameters },
): Path {
  const shapes = pathShapes(letter, kind, linear, r);
  const random = (part: string, shape: readonly number[]): Tensor =>
    // Kaiming's bound; a vector counts as one row
    parameters.uniform(part, shape, 1 / Math.sqrt(shape.at(-1) as number));
  const made = Object.entries(shapes).map(([part, shape]) => {
    if (neutral && !part.endsWith('.Xu')) return parameters.zeros(part, shape);
    return kind === 'constant' ? parameters.normal(part, shape, 0.02) : random(part, shape);
  });
  if (kind === 'lora') return () => matmul(made[0] as Tensor, made[1] as Tensor);
  if (kind !== 'none') return () => made[0] as Tensor;
  const [[rows, columns], vector] = sizes(letter, linear);
  const shape = letter === 'D' || letter === 'E' ? vector : [rows, columns];
  parameters.constant(`glora_${letter}.zeros`, () => zeros(shape));
  return null;
}

function update(options: Options, linear: Linear, parameters: ModuleParameters): LinearUpdate {
  const kinds = kindsOf(options, linear.bias !== null);
  const [a, b, c, d, e] = LETTERS.map((letter) =>
    makePath(letter, kinds[letter], { options, linear, parameters }),
  ) as [Path, Path, Path, Path, Path];
  const weightOf = (w: Tensor): Tensor => (a && b ? add(add(w, mul(w, a())), b()) : w);
  const biasOf = (bias: Tensor, w: () => Tensor): Tensor => {
    const scaled = d && e ? add(add(bias, mul(bias, d())), e()) : bias;
    return c ? add(scaled, view(matmul(w(), c()), [-1])) : scaled;
  };
  return {
    ...(a && { weight: (frozen, dtype) => tidy(() => to(weightOf(frozen.dense('f32')), dtype)) }),
    ...((c ?? d) && {
      bias: (frozen) =>
        tidy(() => biasOf(to(frozen as Tensor, 'f32'), () => linear.weight.dense('f32'))),
    }),
    merged: (weight, bias) => ({
      weight: weightOf(weight),
      bias: bias && biasOf(bias, () => weight),
    }),
  };
}
