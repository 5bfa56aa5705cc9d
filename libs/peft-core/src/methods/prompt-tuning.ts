/**
 * Prompt tuning, arXiv:2104.08691.  [P ; E x]  P: [p, D], trained; E x: embeddings of the real tokens.
 */
import { counterUniform, indexSelect, tensor, tidy } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import { z } from 'zod';
import type { Model } from '../models/model.js';
import { defineMethod } from '../plugin.js';
import { resolvedFields, virtualTokens } from './fields.js';
import { key, leaf, normal, restore } from './leaf.js';
import type { AttachContext } from './method.js';
import { checkRoom, checkSizes, inputSizes, TABLE } from './virtual-tokens.js';

const NAME = 'embedding.weight';

const Options = z
  .strictObject({
    num_virtual_tokens: virtualTokens,
    prompt_tuning_init: z
      .enum(['RANDOM', 'TEXT', 'SAMPLE_VOCAB'])
      .default('RANDOM')
      .describe(
        'Start from random numbers, from the embeddings of a text, or from those of random tokens',
      ),
    prompt_tuning_init_text: z
      .string()
      .min(1)
      .nullable()
      .default(null)
      .describe('Text to start from with TEXT; repeated or cut to the number of virtual tokens'),
    tokenizer_name_or_path: z
      .string()
      .nullable()
      .default(null)
      .describe("Kept for PEFT's file; the text is read with the base model's own tokenizer"),
    ...resolvedFields,
  })
  .superRefine((options, ctx) => {
    if (options.prompt_tuning_init === 'TEXT' && options.prompt_tuning_init_text === null) {
      const message = 'prompt_tuning_init TEXT needs a prompt_tuning_init_text';
      ctx.addIssue({ code: 'custom', message, path: ['prompt_tuning_init_text'] });
    }
  });
type Options = z.infer<typeof Options>;

export const promptTuning = defineMethod<Options>({
  name: 'PROMPT_TUNING',
  title: 'Prompt tuning',
  summary:
    'Trains a few virtual tokens put before every input. The smallest adapters; wants high learning rates.',
  paper: 'https://arxiv.org/abs/2104.08691',
  defaultLearningRate: 3e-2,
  options: Options,
  neutral: { modules_to_save: null, tokenizer_kwargs: null },
  footprint(outline, options) {
    checkSizes(options, inputSizes(outline));
    checkRoom(outline, options.num_virtual_tokens);
    const virtualTokens = options.num_virtual_tokens;
    return { trainableParameters: virtualTokens * outline.hiddenSize, virtualTokens };
  },
  attach(model, options, init) {
    checkSizes(options, inputSizes(model));
    checkRoom(model, options.num_virtual_tokens);
    const prompt = leaf(tidy(() => initial(model, options, init)));
    model.sites.inputs.attach(init.run, {
      length: options.num_virtual_tokens,
      embeddings: () => prompt,
    });
    return {
      parameters: new Map([[NAME, prompt]]),
      exported: () => new Map([[TABLE, prompt]]),
      load: (stored) => restore(new Map([[TABLE, prompt]]), stored),
      resolvedConfig: () => ({
        ...options,
        ...inputSizes(model),
        modules_to_save: null,
        tokenizer_kwargs: null,
      }),
      detach() {
        model.sites.inputs.detach(init.run);
        prompt.dispose();
      },
    };
  },
});

function initial(model: Model, options: Options, { seed, tokenize }: AttachContext): Tensor {
  const p = options.num_virtual_tokens;
  switch (options.prompt_tuning_init) {
    case 'RANDOM':
      return normal([p, model.hiddenSize], 1, seed, NAME);
    case 'SAMPLE_VOCAB': {
      const draws = counterUniform([p], key(seed, NAME)).toArray() as Float32Array;
      return rows(
        model,
        Array.from(draws, (u) => Math.floor(u * model.vocabSize)),
      );
    }
    case 'TEXT': {
      if (!tokenize)
        throw new DomainError(
          'internal_error',
          'prompt_tuning_init TEXT needs a tokenizer to attach',
        );
      const ids = tokenize(options.prompt_tuning_init_text as string);
      if (ids.length === 0) {
        const advice = 'prompt_tuning_init_text has no tokens; write something in it';
        throw new DomainError('invalid_value', advice, 'peft.prompt_tuning_init_text');
      }
      return rows(
        model,
        Array.from({ length: p }, (_, i) => ids[i % ids.length] as number),
      );
    }
  }
}

function rows(model: Model, ids: readonly number[]): Tensor {
  return indexSelect(model.sites.words.weight, 0, tensor(ids, [ids.length], 'i64'));
}
