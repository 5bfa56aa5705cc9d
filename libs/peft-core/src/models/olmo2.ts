/**
 * OLMo 2 (arXiv:2501.00656). Norms follow attention and feed-forward instead of preceding them; queries and
 * keys are normed as whole rows; norms scale in f32.
 */
import { defineModel } from './model.js';
import { EPSILON, or } from './frame/hf-config.js';
import { LLAMA_KEYS, llamaDecoder, llamaGguf, llamaPaths } from './llama.js';

const { mlp_bias: _, ...keys } = LLAMA_KEYS;
const hf = { ...keys, rms_norm_eps: or(EPSILON, 1e-5) };

const path = (name: string): string => `model.layers.{n}.${name}`;

const gguf = llamaGguf('olmo2', 'Olmo2ForCausalLM');

export const olmo2 = defineModel({
  name: 'olmo2',
  title: 'OLMo 2',
  modelTypes: ['olmo2'],
  hf,
  options: (config) => ({
    vocabSize: config.vocab_size,
    decoder: {
      ...llamaDecoder({ ...config, mlp_bias: false }),
      norm: 'rms_wide',
      normPlace: 'made',
      qkNorm: 'whole',
    },
    tiedHead: config.tie_word_embeddings,
  }),
  paths: {
    ...llamaPaths,
    decoder: {
      ...llamaPaths.decoder,
      attention: { ...llamaPaths.decoder.attention, norm: path('post_attention_layernorm') },
      feedForward: { ...llamaPaths.decoder.feedForward, norm: path('post_feedforward_layernorm') },
    },
  },
  gguf: [
    {
      ...gguf,
      modules: {
        ...gguf.modules,
        'blk.{n}.post_attention_norm': { path: path('post_attention_layernorm') },
        'blk.{n}.post_ffw_norm': { path: path('post_feedforward_layernorm') },
      },
    },
  ],
});
