/**
 * HRA, arXiv:2405.17484: a chain of Householder reflections of a linear layer's input.
 *   y = x (H₁ … H_r)ᵀ Wᵀ + b      Hᵢ = I - 2 uᵢ uᵢᵀ,  ‖uᵢ‖ = 1
 * x: [n, in]  W: [out, in]  U: [in, r] has the u as columns, each divided by its length; with apply_GS they are first
 * made orthogonal (Gram–Schmidt). PEFT multiplies W by the whole chain. Here the chain acts on x as one product of thin
 * matrices (compact WY, Schreiber and Van Loan 1989), which needs no matrix of W's size and no r copies of x:
 *   H₁ … H_r = I - U S⁻¹ Uᵀ      S = ½ I + the part of Uᵀ U above its diagonal
 * U and S are f32; products with x are computed in its dtype.
 */
import {
  add,
  cat,
  div,
  eye,
  mm,
  mul,
  norm,
  repeatInterleave,
  solve,
  split,
  sub,
  tidy,
  to,
  transpose,
  tril,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';
import {
  checkLayers,
  layerFields,
  modulesToSave,
  rank,
  targetFields,
  trainedBiases,
} from './frame/fields.js';
import { linearMethod } from './frame/linear-method.js';
import { inputsOf } from './frame/linear-sizes.js';
import type { LinearUpdate, Merged } from './frame/linear-method.js';
import { uniform } from '../nn/random-init.js';
import type { ModuleParameters } from './frame/parameters.js';

const Options = z
  .strictObject({
    r: rank
      .default(8)
      .describe('Number of Householder reflections. An even number is a no-op at initialization'),
    apply_GS: z
      .boolean()
      .default(false)
      .describe(
        'Apply Gram-Schmidt orthogonalization to the reflections. The default initialization uses equal pairs, which cannot be orthogonal, so the job starts at random',
      ),
    ...targetFields('query and value projections'),
    bias: trainedBiases('hra_only'),
    modules_to_save: modulesToSave,
    init_weights: z
      .boolean()
      .default(true)
      .describe('true: reflections are initialized in pairs that cancel (no-op); false: randomly'),
    ...layerFields,
  })
  .superRefine(checkLayers);
type Options = z.infer<typeof Options>;

export const hra = linearMethod<Options>({
  name: 'HRA',
  title: 'HRA',
  summary:
    'Applies a few Householder reflections to the inputs of layers: both low-rank and orthogonal.',
  paper: 'https://arxiv.org/abs/2405.17484',
  // the larger of the rates of the paper (Llama 2 on MetaMathQA) and of PEFT's comparison
  relativeSize: 0.06,
  defaultLearningRate: 5e-4,
  options: Options,
  jobDefaults: ({ apply_GS: orthogonal }) => (orthogonal === true ? { init_weights: false } : {}),
  unsupported: {},
  tensors: { hra_u: 'parameter' },
  defaultTargets: () => ['q', 'v'],
  conv1d: false,
  convolutions: [2],
  held: (targets, { r }) => ({ perRow: inputsOf(targets) + targets.length * r }),
  shapes:
    ({ r }) =>
    ({ inFeatures }) => ({ hra_u: [inFeatures, r] }),
  adapt:
    ({ r, init_weights: paired, apply_GS: orthogonal }) =>
    ({ inFeatures }, parameters) =>
      reflected(initial(parameters, [inFeatures, r], paired && r % 2 === 0), orthogonal),
});

/** Initial U. Paired columns are equal, since two equal reflections cancel. */
function initial(
  parameters: ModuleParameters,
  [features, r]: readonly [number, number],
  isPaired: boolean,
): Tensor {
  // Kaiming's bound; PEFT uses the number of columns instead of inputs
  const columns = isPaired ? r / 2 : r;
  const bound = 1 / Math.sqrt(columns);
  return parameters.parameter('hra_u', (name, seed) => {
    const drawn = uniform([features, columns], bound, seed, name);
    return isPaired ? repeatInterleave(drawn, 2, 1) : drawn;
  });
}

const columnsOf = (u: Tensor): Tensor[] => split(u, 1, 1);

function reflected(u: Tensor, isOrthogonal: boolean): LinearUpdate {
  const unit = (): Tensor => (isOrthogonal ? cat(orthonormal(u), 1) : div(u, norm(u, 2, 0, true)));
  return {
    before: (x) =>
      tidy(() => {
        const v = unit();
        const spread = to(solve(schur(v), transpose(v, 0, 1)), x.dtype);
        const low = mm(x, to(v, x.dtype));
        return sub(x, mm(low, spread));
      }),
    merged: (weight): Merged => {
      const v = unit();
      const spread = solve(transpose(schur(v), 0, 1), transpose(v, 0, 1));
      return { weight: sub(weight, mm(mm(weight, v), spread)) };
    },
  };
}

/** Sᵀ: [r, r], lower triangular. */
function schur(v: Tensor): Tensor {
  const r = v.shape[1] as number;
  return add(tril(mm(transpose(v, 0, 1), v), -1), eye(r), 0.5);
}

/** Gram–Schmidt: removes from each column its components along earlier columns and scales it to length 1. */
function orthonormal(u: Tensor): Tensor[] {
  const found: Tensor[] = [];
  for (const column of columnsOf(u)) {
    const rest = found.reduce(
      (left, other) => sub(left, mul(other, mm(transpose(other, 0, 1), left))),
      column,
    );
    found.push(div(rest, norm(rest)));
  }
  return found;
}
