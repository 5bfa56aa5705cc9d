/** Granite 3 and 4 without experts: LLaMA with multipliers of embeddings, scores, residuals and logits. */
import { defineModel } from './model.js';
import type { GgufFacts } from './frame/gguf-format.js';
import { or, real } from './frame/hf-config.js';
import { LLAMA_KEYS, llamaDecoder, llamaGguf, llamaPaths } from './llama.js';

const MULTIPLIER = or(real(1e6), 1);

const hf = {
  ...LLAMA_KEYS,
  embedding_multiplier: MULTIPLIER,
  attention_multiplier: MULTIPLIER,
  residual_multiplier: MULTIPLIER,
  /** Divisor of the logits. */
  logits_scaling: MULTIPLIER,
};

const gguf = llamaGguf('granite', 'GraniteForCausalLM', true, {
  modelTypes: ['granite'],
  fields: ({ decoder, logitScale }) => ({
    embedding_scale: { f32: decoder?.inputScale ?? 1 },
    'attention.scale': { f32: decoder?.attentionScale ?? 1 },
    residual_scale: { f32: decoder?.residualScale ?? 1 },
    logit_scale: { f32: 1 / logitScale },
  }),
});

export const granite = defineModel({
  name: 'granite',
  title: 'Granite',
  modelTypes: ['granite'],
  hf,
  options: (config) => ({
    vocabSize: config.vocab_size,
    decoder: {
      ...llamaDecoder(config),
      inputScale: config.embedding_multiplier,
      attentionScale: config.attention_multiplier,
      residualScale: config.residual_multiplier,
    },
    logitScale: 1 / config.logits_scaling,
    tiedHead: config.tie_word_embeddings,
  }),
  paths: llamaPaths,
  gguf: [
    {
      ...gguf,
      config: (facts) => ({
        ...gguf.config(facts),
        embedding_multiplier: multiplier(facts, 'embedding_scale'),
        attention_multiplier: multiplier(facts, 'attention.scale'),
        residual_multiplier: multiplier(facts, 'residual_scale'),
        logits_scaling: multiplier(facts, 'logit_scale'),
      }),
    },
  ],
});

function multiplier(facts: GgufFacts, key: string): number {
  return facts.optional(key) === undefined ? 1 : facts.needReal(key);
}
