/**
 * BLOOM (arXiv:2211.05100) and BLOOMZ (2211.01786): ALiBi distance biases, normed embeddings, and one matrix
 * with the query, key and value of each head.
 *
 * Transformers adds slope · position, in the base's dtype, where this adds slope · distance. Softmax makes
 * these equal, except for bf16 rounding of large positions.
 */
import { DomainError } from '@graft/contracts';
import { defineModel } from './model.js';
import {
  EPSILON,
  flag,
  fraction,
  HEADS,
  LAYERS,
  optional,
  or,
  POSITIONS,
  SIZE,
  VOCABULARY,
} from './frame/hf-config.js';
import type { HfValues } from './frame/hf-config.js';

/**
 * The architecture has no maximum length. MAX_POSITIONS limits what a job may request; TRAINED_AT is the
 * pretraining length.
 */
const MAX_POSITIONS = 16_384;
const TRAINED_AT = 2048;

const hf = {
  vocab_size: or(VOCABULARY, 250880),
  hidden_size: optional(SIZE),
  n_embed: optional(SIZE),
  n_layer: optional(LAYERS),
  num_hidden_layers: optional(LAYERS),
  n_head: optional(HEADS),
  num_attention_heads: optional(HEADS),
  seq_length: or(POSITIONS, TRAINED_AT),
  layer_norm_epsilon: or(EPSILON, 1e-5),
  apply_residual_connection_post_layernorm: or(flag, false),
  tie_word_embeddings: or(flag, true),
  attention_dropout: optional(fraction),
  hidden_dropout: optional(fraction),
};

const path = (name: string): string => `transformer.h.{n}.${name}`;

export const bloom = defineModel({
  name: 'bloom',
  title: 'BLOOM, BLOOMZ',
  modelTypes: ['bloom'],
  hf,
  options(config) {
    if (config.apply_residual_connection_post_layernorm) {
      const message =
        'config.json: apply_residual_connection_post_layernorm: true is not supported';
      throw new DomainError('unsupported', message, 'model');
    }
    const hiddenSize = either(config, 'n_embed', 'hidden_size');
    const heads = either(config, 'n_head', 'num_attention_heads');
    return {
      vocabSize: config.vocab_size,
      decoder: {
        hiddenSize,
        intermediateSize: 4 * hiddenSize,
        layers: either(config, 'n_layer', 'num_hidden_layers'),
        heads,
        kvHeads: heads,
        headDim: hiddenSize / heads,
        norm: 'layer',
        normEps: config.layer_norm_epsilon,
        activation: 'gelu_tanh',
        gated: false,
        embeddingNorm: true,
        bias: { kind: 'alibi' },
        maxPositions: MAX_POSITIONS,
        defaultMaxSeqLen: Math.min(config.seq_length, MAX_POSITIONS),
        biases: ['qkv', 'o', 'up', 'down'],
        qkv: 'interleaved',
      },
      tiedHead: config.tie_word_embeddings,
    };
  },
  paths: {
    tokenEmbedding: 'transformer.word_embeddings',
    decoder: {
      embeddingNorm: 'transformer.word_embeddings_layernorm',
      attention: {
        norm: path('input_layernorm'),
        qkv: path('self_attention.query_key_value'),
        o: path('self_attention.dense'),
      },
      feedForward: {
        norm: path('post_attention_layernorm'),
        up: path('mlp.dense_h_to_4h'),
        down: path('mlp.dense_4h_to_h'),
      },
      finalNorm: 'transformer.ln_f',
    },
    lmHead: 'lm_head',
  },
  gguf: [
    {
      architecture: 'bloom',
      writes: { modelTypes: ['bloom'] },
      modules: {
        token_embd: { path: 'transformer.word_embeddings' },
        token_embd_norm: { path: 'transformer.word_embeddings_layernorm' },
        output_norm: { path: 'transformer.ln_f' },
        output: { path: 'lm_head' },
        'blk.{n}.attn_norm': { path: path('input_layernorm') },
        'blk.{n}.ffn_norm': { path: path('post_attention_layernorm') },
        'blk.{n}.attn_qkv': { path: path('self_attention.query_key_value'), rows: 'thirds' },
        'blk.{n}.attn_output': { path: path('self_attention.dense') },
        'blk.{n}.ffn_up': { path: path('mlp.dense_h_to_4h') },
        'blk.{n}.ffn_down': { path: path('mlp.dense_4h_to_h') },
      },
      config: (facts) => ({
        architectures: ['BloomForCausalLM'],
        model_type: 'bloom',
        hidden_size: facts.need('embedding_length'),
        layer_norm_epsilon: facts.needReal('attention.layer_norm_epsilon'),
        n_head: facts.need('attention.head_count'),
        n_layer: facts.need('block_count'),
        seq_length: facts.need('context_length'),
      }),
    },
  ],
});

type Key =
  'n_embed' | 'hidden_size' | 'n_layer' | 'num_hidden_layers' | 'n_head' | 'num_attention_heads';

/** Returns a value that files on the Hub store under one of two names. */
function either(config: HfValues<typeof hf>, one: Key, other: Key): number {
  const value = config[one] ?? config[other];
  if (value !== null) return value;
  throw new DomainError('invalid_model', `config.json: ${one} or ${other} is missing`, 'model');
}
