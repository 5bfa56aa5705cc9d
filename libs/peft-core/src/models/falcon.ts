/**
 * Falcon (arXiv:2311.16867) in three variants. 7B has one key head, and one norm for parallel attention and
 * feed-forward. 40B, 180B and Falcon 2 ("new decoder architecture") have one key head per group of query
 * heads, and one norm or two. RW has ALiBi, biases, and sequential attention and feed-forward.
 */
import { DomainError } from '@graft/contracts';
import { defineModel } from './model.js';
import {
  activation,
  EPSILON,
  flag,
  fraction,
  HEADS,
  integer,
  LAYERS,
  optional,
  or,
  POSITIONS,
  ROPE_KEYS,
  ropeOptions,
  SIZE,
  VOCABULARY,
  word,
} from './frame/hf-config.js';
import type { HfValues } from './frame/hf-config.js';

const hf = {
  vocab_size: or(VOCABULARY, 65024),
  hidden_size: or(SIZE, 4544),
  n_embed: optional(SIZE),
  ffn_hidden_size: optional(SIZE),
  num_hidden_layers: or(LAYERS, 32),
  num_attention_heads: or(HEADS, 71),
  num_kv_heads: optional(HEADS),
  num_ln_in_parallel_attn: optional(integer(1, 2)),
  layer_norm_epsilon: or(EPSILON, 1e-5),
  alibi: or(flag, false),
  new_decoder_architecture: or(flag, false),
  multi_query: or(flag, true),
  parallel_attn: or(flag, true),
  bias: or(flag, false),
  activation: or(word, 'gelu'),
  max_position_embeddings: or(POSITIONS, 2048),
  tie_word_embeddings: or(flag, true),
  attention_dropout: optional(fraction),
  hidden_dropout: optional(fraction),
  ...ROPE_KEYS,
};

const path = (name: string): string => `transformer.h.{n}.${name}`;

export const falcon = defineModel({
  name: 'falcon',
  title: 'Falcon, Falcon 2',
  modelTypes: ['falcon'],
  hasOwnCode: true,
  hf,
  options(config) {
    const { num_attention_heads: heads, new_decoder_architecture: isNew } = config;
    const hiddenSize = config.n_embed ?? config.hidden_size;
    const groups = isNew ? (config.num_kv_heads ?? heads) : heads;
    if (isNew && !config.parallel_attn)
      refuse('parallel_attn: false is not supported with new_decoder_architecture');
    const isMultiQuery = !isNew && config.multi_query;
    const kvHeads = isMultiQuery ? 1 : groups;
    return {
      vocabSize: config.vocab_size,
      decoder: {
        hiddenSize,
        intermediateSize: config.ffn_hidden_size ?? 4 * hiddenSize,
        layers: config.num_hidden_layers,
        heads,
        kvHeads,
        prefixHeads: isMultiQuery ? 1 : heads,
        headDim: hiddenSize / heads,
        norm: 'layer',
        normEps: config.layer_norm_epsilon,
        activation: activation(config.activation),
        gated: false,
        parallelResidual: config.parallel_attn,
        sharedNorm: config.parallel_attn && norms(config) === 1,
        ...(config.alibi
          ? { bias: { kind: 'alibi_bf16' as const } }
          : { rope: ropeOptions(config) }),
        maxPositions: config.max_position_embeddings,
        biases: config.bias ? ['qkv', 'o', 'up', 'down'] : [],
        qkv: isMultiQuery ? 'concatenated' : 'interleaved',
      },
      tiedHead: config.tie_word_embeddings,
    };
  },
  paths: {
    tokenEmbedding: 'transformer.word_embeddings',
    decoder: {
      attention: {
        norm: path('input_layernorm'),
        parallelNorm: path('ln_attn'),
        qkv: path('self_attention.query_key_value'),
        o: path('self_attention.dense'),
      },
      feedForward: {
        norm: path('post_attention_layernorm'),
        parallelNorm: path('ln_mlp'),
        up: path('mlp.dense_h_to_4h'),
        down: path('mlp.dense_4h_to_h'),
      },
      finalNorm: 'transformer.ln_f',
    },
    lmHead: 'lm_head',
  },
});

/**
 * Returns the number of norms of a block with parallel parts.
 * @throws DomainError for configs that Transformers accepts but cannot run
 */
function norms({
  num_ln_in_parallel_attn: given,
  new_decoder_architecture: isNew,
}: HfValues<typeof hf>): number {
  if (given !== 2 || isNew) return given ?? (isNew ? 2 : 1);
  return refuse('num_ln_in_parallel_attn: 2 is not supported without new_decoder_architecture');
}

function refuse(problem: string): never {
  throw new DomainError('unsupported', `config.json: ${problem}`, 'model');
}
