/**
 * GPT-NeoX (arXiv:2204.06745) and models with its architecture: Pythia (2304.01373), RedPajama-INCITE, Dolly
 * 2. Attention and feed-forward are parallel, part of each head is rotated, and one matrix has the query, key
 * and value of each head.
 */
import { DomainError } from '@graft/contracts';
import { defineModel } from './model.js';
import {
  activation,
  EPSILON,
  flag,
  fraction,
  HEADS,
  LAYERS,
  optional,
  or,
  POSITIONS,
  real,
  required,
  ROPE_KEYS,
  ropeOptions,
  SIZE,
  VOCABULARY,
  word,
} from './frame/hf-config.js';
import type { HfValues } from './frame/hf-config.js';

const hf = {
  vocab_size: required(VOCABULARY),
  hidden_size: required(SIZE),
  intermediate_size: required(SIZE),
  num_hidden_layers: required(LAYERS),
  num_attention_heads: required(HEADS),
  max_position_embeddings: or(POSITIONS, 2048),
  layer_norm_eps: or(EPSILON, 1e-5),
  hidden_act: or(word, 'gelu'),
  use_parallel_residual: or(flag, true),
  attention_bias: or(flag, true),
  tie_word_embeddings: or(flag, false),
  attention_dropout: optional(fraction),
  hidden_dropout: optional(fraction),
  ...ROPE_KEYS,
  // names in Transformers 4 of values in `rope_parameters`
  rotary_pct: or(fraction, 0.25),
  rotary_emb_base: optional(real(1e12)),
};

const path = (name: string): string => `gpt_neox.layers.{n}.${name}`;

export const gptNeoX = defineModel({
  name: 'gpt_neox',
  title: 'GPT-NeoX, Pythia, RedPajama-INCITE',
  modelTypes: ['gpt_neox'],
  hf,
  options(config) {
    const { num_attention_heads: heads, hidden_size: hiddenSize } = config;
    const headDim = hiddenSize / heads;
    return {
      vocabSize: config.vocab_size,
      decoder: {
        hiddenSize,
        intermediateSize: config.intermediate_size,
        layers: config.num_hidden_layers,
        heads,
        kvHeads: heads,
        headDim,
        norm: 'layer',
        normEps: config.layer_norm_eps,
        activation: activation(config.hidden_act),
        gated: false,
        parallelResidual: config.use_parallel_residual,
        rope: ropeOptions({ ...config, rope_theta: config.rope_theta ?? config.rotary_emb_base }),
        rotaryDim: Math.floor(headDim * rotated(config)),
        maxPositions: config.max_position_embeddings,
        biases: [...(config.attention_bias ? (['qkv', 'o'] as const) : []), 'up', 'down'],
        qkv: 'interleaved',
      },
      tiedHead: config.tie_word_embeddings,
    };
  },
  paths: {
    tokenEmbedding: 'gpt_neox.embed_in',
    decoder: {
      attention: {
        norm: path('input_layernorm'),
        qkv: path('attention.query_key_value'),
        o: path('attention.dense'),
      },
      feedForward: {
        norm: path('post_attention_layernorm'),
        up: path('mlp.dense_h_to_4h'),
        down: path('mlp.dense_4h_to_h'),
      },
      finalNorm: 'gpt_neox.final_layer_norm',
    },
    lmHead: 'lm_head',
  },
  aliases: { lm_head: 'embed_out' },
  gguf: [
    {
      architecture: 'gptneox',
      writes: {
        modelTypes: ['gpt_neox'],
        fields({ decoder, tiedHead }) {
          if (tiedHead || !decoder?.biases.includes('qkv')) {
            const message =
              "llama.cpp's GPT-NeoX has an untied output head and attention biases, but this model does not";
            throw new DomainError('unsupported', message, 'model');
          }
          return { use_parallel_residual: { bool: decoder.parallelResidual } };
        },
      },
      modules: {
        token_embd: { path: 'gpt_neox.embed_in' },
        output_norm: { path: 'gpt_neox.final_layer_norm' },
        output: { path: 'lm_head' },
        'blk.{n}.attn_norm': { path: path('input_layernorm') },
        'blk.{n}.ffn_norm': { path: path('post_attention_layernorm') },
        'blk.{n}.attn_qkv': { path: path('attention.query_key_value'), rows: 'thirds' },
        'blk.{n}.attn_output': { path: path('attention.dense') },
        'blk.{n}.ffn_up': { path: path('mlp.dense_h_to_4h') },
        'blk.{n}.ffn_down': { path: path('mlp.dense_4h_to_h') },
      },
      config(facts) {
        const heads = facts.need('attention.head_count');
        const hidden = facts.need('embedding_length');
        const headDim = hidden / heads;
        return {
          architectures: ['GPTNeoXForCausalLM'],
          model_type: 'gpt_neox',
          attention_bias: facts.hasTensor('blk.0.attn_qkv.bias'),
          hidden_act: 'gelu',
          hidden_size: hidden,
          intermediate_size: facts.need('feed_forward_length'),
          layer_norm_eps: facts.needReal('attention.layer_norm_epsilon'),
          max_position_embeddings: facts.need('context_length'),
          num_attention_heads: heads,
          num_hidden_layers: facts.need('block_count'),
          rotary_pct: (facts.optional('rope.dimension_count') ?? headDim) / headDim,
          use_parallel_residual: facts.flag('use_parallel_residual') ?? true,
          ...facts.rope,
        };
      },
    },
  ],
});

/** Returns the fraction of a head that is rotated. */
function rotated({ rope_parameters: parameters, rotary_pct: given }: HfValues<typeof hf>): number {
  const fractionOf = parameters?.['partial_rotary_factor'];
  if (fractionOf === undefined || fractionOf === null) return given;
  return Number(fractionOf);
}
