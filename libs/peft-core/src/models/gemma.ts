/**
 * Gemma (arXiv:2403.08295). Token embeddings are multiplied by √D, norms multiply by 1 + weight, the
 * feed-forward is gated by GELU, and the head size is independent of the hidden size.
 */
import { DomainError } from '@graft/contracts';
import { defineModel } from './model.js';
import type { GgufFacts, GgufFormat } from './frame/gguf-format.js';
import {
  activation,
  EPSILON,
  flag,
  fraction,
  HEAD_SIZE,
  HEADS,
  LAYERS,
  optional,
  or,
  POSITIONS,
  required,
  ROPE_KEYS,
  ropeOptions,
  SIZE,
  VOCABULARY,
  word,
} from './frame/hf-config.js';
import type { HfTable, HfValues } from './frame/hf-config.js';
import { llamaPaths } from './llama.js';

/** Keys of all versions. */
export const GEMMA_KEYS = {
  vocab_size: required(VOCABULARY),
  hidden_size: required(SIZE),
  intermediate_size: required(SIZE),
  num_hidden_layers: required(LAYERS),
  num_attention_heads: required(HEADS),
  num_key_value_heads: required(HEADS),
  head_dim: or(HEAD_SIZE, 256),
  max_position_embeddings: or(POSITIONS, 8192),
  rms_norm_eps: or(EPSILON, 1e-6),
  attention_bias: or(flag, false),
  tie_word_embeddings: or(flag, true),
  attention_dropout: optional(fraction),
  use_bidirectional_attention: optional(flag),
  ...ROPE_KEYS,
} satisfies HfTable;

/** Returns the decoder options that all versions share. */
export function gemmaDecoder(config: HfValues<typeof GEMMA_KEYS>) {
  if (config.use_bidirectional_attention) {
    const message = 'config.json: use_bidirectional_attention: true is not supported';
    throw new DomainError('unsupported', message, 'model');
  }
  return {
    hiddenSize: config.hidden_size,
    intermediateSize: config.intermediate_size,
    layers: config.num_hidden_layers,
    heads: config.num_attention_heads,
    kvHeads: config.num_key_value_heads,
    headDim: config.head_dim,
    norm: 'rms_from_one' as const,
    normEps: config.rms_norm_eps,
    gated: true,
    maxPositions: config.max_position_embeddings,
    biases: config.attention_bias ? (['q', 'k', 'v', 'o'] as const).slice() : [],
  };
}

const path = (name: string): string => `model.layers.{n}.${name}`;

const hf = { ...GEMMA_KEYS, hidden_act: or(word, 'gelu_pytorch_tanh') };

export const gemma = defineModel({
  name: 'gemma',
  title: 'Gemma',
  modelTypes: ['gemma'],
  hf,
  options(config) {
    return {
      vocabSize: config.vocab_size,
      embeddingScale: Math.sqrt(config.hidden_size),
      decoder: {
        ...gemmaDecoder(config),
        // the first configs say gelu but mean its tanh approximation
        activation: config.hidden_act === 'gelu' ? 'gelu_tanh' : activation(config.hidden_act),
        rope: ropeOptions(config),
      },
      tiedHead: config.tie_word_embeddings,
    };
  },
  paths: llamaPaths,
  gguf: [
    {
      architecture: 'gemma',
      writes: { modelTypes: ['gemma'] },
      modules: gemmaModules({ 'blk.{n}.ffn_norm': path('post_attention_layernorm') }),
      config: (facts) => ({
        ...gemmaFacts(facts),
        architectures: ['GemmaForCausalLM'],
        model_type: 'gemma',
        hidden_act: 'gelu_pytorch_tanh',
        ...facts.rope,
      }),
    },
  ],
});

/**
 * Returns the modules of a GGUF file, in which norm weights are 1 + weight.
 * @param norms paths of a block's norms except the first
 */
export function gemmaModules(norms: Readonly<Record<string, string>>): GgufFormat['modules'] {
  const all = { output_norm: 'model.norm', 'blk.{n}.attn_norm': path('input_layernorm'), ...norms };
  return {
    token_embd: { path: 'model.embed_tokens' },
    output: { path: 'lm_head' },
    'blk.{n}.attn_q': { path: path('self_attn.q_proj') },
    'blk.{n}.attn_k': { path: path('self_attn.k_proj') },
    'blk.{n}.attn_v': { path: path('self_attn.v_proj') },
    'blk.{n}.attn_output': { path: path('self_attn.o_proj') },
    'blk.{n}.ffn_gate': { path: path('mlp.gate_proj') },
    'blk.{n}.ffn_up': { path: path('mlp.up_proj') },
    'blk.{n}.ffn_down': { path: path('mlp.down_proj') },
    ...Object.fromEntries(Object.entries(all).map(([name, at]) => [name, { path: at, shift: 1 }])),
  };
}

/** Returns the config values that all versions store the same way in GGUF files. */
export function gemmaFacts(facts: GgufFacts) {
  const heads = facts.need('attention.head_count');
  return {
    attention_bias: false,
    head_dim: facts.optional('attention.key_length') ?? 256,
    hidden_size: facts.need('embedding_length'),
    intermediate_size: facts.need('feed_forward_length'),
    max_position_embeddings: facts.need('context_length'),
    num_attention_heads: heads,
    num_hidden_layers: facts.need('block_count'),
    num_key_value_heads: facts.optional('attention.head_count_kv') ?? heads,
    rms_norm_eps: facts.needReal('attention.layer_norm_rms_epsilon'),
  };
}
