/**
 * BEFT, arXiv:2509.15974: trains a bias, by default that of attention's value projection.
 *   y = x Wᵀ + b + β      β: [1, out], f32, from zero
 */
import { add, tidy, to, view } from '@graft/kernels';
import { z } from 'zod';
import { modulesToSave, targetNames } from './frame/fields.js';
import { linearMethod } from './frame/linear-method.js';

const Options = z.strictObject({
  target_modules: targetNames('value'),
  modules_to_save: modulesToSave,
  init_weights: z
    .boolean()
    .default(true)
    .describe('true: the bias is initialized to zero; false: randomly, for tests'),
});
type Options = z.infer<typeof Options>;

export const beft = linearMethod<Options>({
  name: 'BEFT',
  title: 'BEFT',
  summary:
    'Trains only the biases of linear layers. The smallest method. Cannot be merged into a model without biases.',
  paper: 'https://arxiv.org/abs/2509.15974',
  // one of the paper's rates for decoders; PEFT's comparison of methods uses 1e-4
  relativeSize: 0.002,
  defaultLearningRate: 1e-3,
  options: Options,
  unsupported: {},
  tensors: { beft_bias: 'parameter' },
  defaultTargets: () => ['v'],
  conv1d: false,
  shapes:
    () =>
    ({ outFeatures }) => ({ beft_bias: [1, outFeatures] }),
  unmergedIn(_, targets) {
    const bare = targets.find(({ hasBias }) => !hasBias);
    return bare ? `it trains biases, but ${bare.path} of the base model has no bias` : null;
  },
  adapt:
    ({ init_weights: neutral }) =>
    ({ outFeatures, bias: base }, parameters) => {
      const shape = [1, outFeatures];
      const own = neutral
        ? parameters.zeros('beft_bias', shape)
        : parameters.normal('beft_bias', shape, 1);
      return {
        after: (y) => tidy(() => to(add(y, own), y.dtype)),
        // files cannot store a bias that the family does not have
        ...(base && {
          merged: (weight, bias) => ({ weight, bias: bias && add(bias, view(own, [-1])) }),
        }),
      };
    },
});
