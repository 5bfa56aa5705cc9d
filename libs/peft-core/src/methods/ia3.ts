/**
 * (IA)³, arXiv:2205.05638: scales attention's keys and values, and the inner activations of feed-forward layers.
 *   y = l ⊙ (x Wᵀ + b)      l: [out, 1]
 *   y = (l ⊙ x) Wᵀ + b      l: [1, in], at feed-forward modules
 * x: [n, in]  W: [out, in]. l is f32 and starts at 1; products with it are rounded to the base's dtype.
 */
import { mul, repeatInterleave, scaleRows, tidy, view } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';
import type { Linear, Role } from '../nn/layers/linear.js';
import type { LinearShape } from '../nn/outline/outline.js';
import { moduleNames, modulesToSave, targetFields } from './frame/fields.js';
import { linearMethod } from './frame/linear-method.js';
import type { LinearUpdate, RoleNames } from './frame/linear-method.js';
import { wholeMatcher } from './targets/pattern.js';

const Options = z
  .strictObject({
    ...targetFields('key and value projections and the last feed-forward layer'),
    feedforward_modules: moduleNames
      .nullable()
      .default(null)
      .describe(
        'Target modules whose input (not output) is scaled: path suffixes or a regular expression. Default (null): the last feed-forward layer',
      ),
    modules_to_save: modulesToSave,
    init_ia3_weights: z
      .boolean()
      .default(true)
      .describe('true: scales are initialized to one; false: randomly, for tests'),
    fan_in_fan_out: z
      .boolean()
      .default(false)
      .describe(
        'Whether weights are stored as [in, out]. Set from the model; kept for compatibility with PEFT',
      ),
  })
  .superRefine(({ target_modules: targets, feedforward_modules: inner }, ctx) => {
    if (!Array.isArray(targets) || !Array.isArray(inner)) return;
    const missing = inner.find((name) => !targets.includes(name));
    if (missing === undefined) return;
    const message = `feedforward_modules must be among target_modules, which do not list "${missing}"`;
    ctx.addIssue({ code: 'custom', message, path: ['feedforward_modules'] });
  });
type Options = z.infer<typeof Options>;

const FEED_FORWARD: readonly Role[] = ['down'];
/** PEFT's name of BERT's last feed-forward linear layer; the path of attention's output ends the same way. */
const OUTPUT = 'output.dense';

/** Target roles by model_type, for families whose PEFT default is not k and v. */
const ATTENTION: Readonly<Record<string, readonly Role[]>> = {
  bart: ['q', 'v'],
  bert: ['k', 'v', 'o'],
  gemma: ['q', 'v'],
  gemma2: ['q', 'v'],
  gemma3_text: ['q', 'v'],
  gpt_neo: ['q', 'v'],
  gptj: ['q', 'v'],
  opt: ['q', 'k'],
  phi: ['q', 'v'],
  qwen2: ['q', 'v'],
  qwen3: ['q', 'v'],
  roberta: ['k', 'v', 'o'],
};

export const ia3 = linearMethod<Options>({
  name: 'IA3',
  title: '(IA)³',
  summary:
    'Rescales activations with learned vectors. Far fewer parameters than LoRA, and no overhead once merged.',
  paper: 'https://arxiv.org/abs/2205.05638',
  relativeSize: 0.012,
  defaultLearningRate: 3e-3,
  tried: [{}],
  options: Options,
  unsupported: {},
  tensors: { ia3_l: 'parameter' },
  defaultTargets: (modelType) => [...(ATTENTION[modelType] ?? ['k', 'v']), ...FEED_FORWARD],
  conv1d: true,
  convolutions: [2],
  writesAllTargets: true,
  check: (options) => void feedForward(options),
  shapes(options) {
    const isInner = feedForward(options);
    return (linear) => ({ ia3_l: shapeOf(linear, isInner(linear)) });
  },
  adapt(options) {
    const isInner = feedForward(options);
    return (linear, parameters) => {
      const inner = isInner(linear);
      const shape = shapeOf(linear, inner);
      const l = options.init_ia3_weights
        ? parameters.ones('ia3_l', shape)
        : parameters.normal('ia3_l', shape, 1);
      return inner ? scaledInput(l, linear) : scaledOutput(l);
    };
  },
  resolved: ({ feedforward_modules: given }, names) => ({
    feedforward_modules: given ?? namesOfFeedForward(names),
  }),
});

/** PEFT's rule: matches the end of a path, regardless of dots, or a pattern on the whole path. */
function feedForward({
  feedforward_modules: given,
}: Options): (linear: Pick<Linear, 'path' | 'role'>) => boolean {
  if (given === null)
    return ({ role, path }) => FEED_FORWARD.includes(role) || path.endsWith(`.${OUTPUT}`);
  if (typeof given !== 'string') return ({ path }) => given.some((name) => path.endsWith(name));
  const matches = wholeMatcher(given, 'peft.feedforward_modules');
  return ({ path }) => matches(path);
}

function namesOfFeedForward(names: RoleNames): readonly string[] {
  const wider = names([...FEED_FORWARD, 'o']);
  return wider.join() === OUTPUT ? wider : names(FEED_FORWARD);
}

/** Shape of l; a convolution has one number for each channel. */
function shapeOf(
  { inFeatures, outFeatures, kernel }: Pick<LinearShape, 'inFeatures' | 'outFeatures' | 'kernel'>,
  isInner: boolean,
): number[] {
  if (!kernel) return isInner ? [1, inFeatures] : [outFeatures, 1];
  const [channels = 0, ...window] = kernel;
  return [1, isInner ? channels : outFeatures, ...window.map(() => 1)];
}

const scaled = (x: Tensor, l: Tensor): Tensor => tidy(() => scaleRows(x, l));

function scaledInput(l: Tensor, { inFeatures, kernel }: Linear): LinearUpdate {
  // a channel takes as many columns as its window has places
  const each = (): Tensor => {
    const numbers = view(l, [-1]);
    return kernel ? repeatInterleave(numbers, inFeatures / (kernel[0] as number), 0) : numbers;
  };
  return {
    before: (x) => tidy(() => scaled(x, each())),
    merged: (weight) => ({ weight: mul(weight, each()) }),
  };
}

const scaledOutput = (l: Tensor): LinearUpdate => ({
  after: (y) => tidy(() => scaled(y, view(l, [-1]))),
  merged: (weight, bias) => ({
    weight: mul(weight, view(l, [-1, 1])),
    bias: bias && mul(bias, view(l, [-1])),
  }),
});
