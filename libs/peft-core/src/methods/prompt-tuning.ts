/**
 * Prompt tuning, arXiv:2104.08691.
 *   [P ; E x]      P: [p, D], trained; E x: embeddings of the real tokens
 */
import { counterUniform } from '@graft/kernels';
import { z } from 'zod';
import { resolvedFields, virtualTokens } from './frame/fields.js';
import { key, normal } from '../nn/random-init.js';
import { checkText, rowsOf, rowsOfText, textFields } from './frame/prompt-text.js';
import { INPUTS, softPrompt, TABLE } from './frame/soft-prompt.js';

const NAME = 'embedding.weight';

const Options = z
  .strictObject({
    num_virtual_tokens: virtualTokens,
    prompt_tuning_init: z
      .enum(['RANDOM', 'TEXT', 'SAMPLE_VOCAB'])
      .default('RANDOM')
      .describe(
        'Initialization of the virtual tokens: random, the embeddings of a text, or those of random tokens',
      ),
    ...textFields,
    ...resolvedFields,
  })
  .superRefine(checkText);
type Options = z.infer<typeof Options>;

export const promptTuning = softPrompt<Options>({
  name: 'PROMPT_TUNING',
  title: 'Prompt tuning',
  summary:
    'Trains a few virtual tokens prepended to every input. The smallest adapters. Needs high learning rates.',
  paper: 'https://arxiv.org/abs/2104.08691',
  relativeSize: 0.003,
  defaultLearningRate: 3e-2,
  trainingOnly: ['prompt_tuning_init', 'prompt_tuning_init_text'],
  options: Options,
  unsupported: { modules_to_save: null, tokenizer_kwargs: null },
  place: INPUTS,
  shapes: ({ num_virtual_tokens: p }, model) => ({
    [NAME]: [INPUTS.rows(model, p), model.embeddingSize],
  }),
  table: (part) => part(NAME),
  begin: (stored) => ({ [NAME]: stored(TABLE) }),
  start(name, shape, setup) {
    const { model, options, seed } = setup;
    const [p] = shape as [number];
    switch (options.prompt_tuning_init) {
      case 'RANDOM':
        return normal(shape, 1, seed, name);
      case 'SAMPLE_VOCAB': {
        const draws = counterUniform([p], key(seed, name)).toArray() as Float32Array;
        return rowsOf(
          model,
          Array.from(draws, (u) => Math.floor(u * model.vocabSize)),
        );
      }
      case 'TEXT':
        return rowsOfText(options.prompt_tuning_init_text as string, p, setup);
    }
  },
});
