/**
 * LFM2 (arXiv:2511.23404): LLaMA with gated short convolutions over preceding rows in most layers. The other
 * layers have attention, with queries and keys normed by head.
 */
import { DomainError } from '@graft/contracts';
import { shown } from '../data/json-scan.js';
import { defineModel } from './model.js';
import {
  EPSILON,
  flag,
  HEAD_SIZE,
  HEADS,
  integer,
  LAYERS,
  layerNumbers,
  nullable,
  optional,
  or,
  POSITIONS,
  real,
  ROPE_KEYS,
  ropeOptions,
  SIZE,
  VOCABULARY,
  words,
} from './frame/hf-config.js';
import type { HfValues } from './frame/hf-config.js';
import { llamaPaths } from './llama.js';

const hf = {
  vocab_size: or(VOCABULARY, 65536),
  hidden_size: or(SIZE, 2560),
  intermediate_size: or(SIZE, 12288),
  /** Name of intermediate_size in the first files. */
  block_ff_dim: optional(SIZE),
  block_auto_adjust_ff_dim: or(flag, true),
  block_ffn_dim_multiplier: nullable(real(1024)),
  block_multiple_of: or(integer(1, 1 << 16), 256),
  num_hidden_layers: or(LAYERS, 32),
  num_attention_heads: or(HEADS, 32),
  num_key_value_heads: or(HEADS, 8),
  head_dim: optional(HEAD_SIZE),
  max_position_embeddings: or(POSITIONS, 128_000),
  norm_eps: or(EPSILON, 1e-5),
  conv_L_cache: or(integer(1, 64), 3),
  conv_bias: or(flag, false),
  full_attn_idxs: optional(layerNumbers),
  layer_types: optional(words),
  tie_word_embeddings: or(flag, true),
  /** Name of tie_word_embeddings in the first files. */
  tie_embedding: optional(flag),
  ...ROPE_KEYS,
};
type Config = HfValues<typeof hf>;

const path = (name: string): string => `model.layers.{n}.${name}`;

export const lfm2 = defineModel({
  name: 'lfm2',
  title: 'LFM2',
  modelTypes: ['lfm2'],
  hf,
  options(config) {
    const { hidden_size: hiddenSize, num_attention_heads: heads } = config;
    if (config.conv_bias) {
      const message = 'config.json: conv_bias: true is not supported';
      throw new DomainError('unsupported', message, 'model');
    }
    return {
      vocabSize: config.vocab_size,
      decoder: {
        hiddenSize,
        intermediateSize: intermediateSize(config),
        layers: config.num_hidden_layers,
        heads,
        kvHeads: config.num_key_value_heads,
        headDim: config.head_dim ?? hiddenSize / heads,
        norm: 'rms',
        normEps: config.norm_eps,
        activation: 'silu',
        gated: true,
        convolutions: { width: config.conv_L_cache, layers: convolvingLayers(config) },
        qkNorm: 'head',
        rope: ropeOptions({ ...config, rope_theta: config.rope_theta ?? 1e6 }),
        maxPositions: config.max_position_embeddings,
        biases: [],
      },
      tiedHead: config.tie_embedding ?? config.tie_word_embeddings,
    };
  },
  paths: {
    ...llamaPaths,
    decoder: {
      attention: {
        norm: path('operator_norm'),
        q: path('self_attn.q_proj'),
        k: path('self_attn.k_proj'),
        v: path('self_attn.v_proj'),
        qNorm: path('self_attn.q_layernorm'),
        kNorm: path('self_attn.k_layernorm'),
        o: path('self_attn.out_proj'),
      },
      convolution: {
        into: path('conv.in_proj'),
        kernel: path('conv.conv'),
        out: path('conv.out_proj'),
      },
      feedForward: {
        norm: path('ffn_norm'),
        gate: path('feed_forward.w1'),
        up: path('feed_forward.w3'),
        down: path('feed_forward.w2'),
      },
      finalNorm: 'model.embedding_norm',
    },
  },
  gguf: [
    {
      architecture: 'lfm2',
      modules: {
        token_embd: { path: 'model.embed_tokens' },
        token_embd_norm: { path: 'model.embedding_norm' },
        output_norm: { path: 'model.embedding_norm' },
        output: { path: 'lm_head' },
        'blk.{n}.attn_norm': { path: path('operator_norm') },
        'blk.{n}.ffn_norm': { path: path('ffn_norm') },
        'blk.{n}.attn_q': { path: path('self_attn.q_proj') },
        'blk.{n}.attn_k': { path: path('self_attn.k_proj') },
        'blk.{n}.attn_v': { path: path('self_attn.v_proj') },
        'blk.{n}.attn_output': { path: path('self_attn.out_proj') },
        'blk.{n}.attn_q_norm': { path: path('self_attn.q_layernorm') },
        'blk.{n}.attn_k_norm': { path: path('self_attn.k_layernorm') },
        'blk.{n}.shortconv.in_proj': { path: path('conv.in_proj') },
        'blk.{n}.shortconv.conv': { path: path('conv.conv'), isKernel: true },
        'blk.{n}.shortconv.out_proj': { path: path('conv.out_proj') },
        'blk.{n}.ffn_gate': { path: path('feed_forward.w1') },
        'blk.{n}.ffn_up': { path: path('feed_forward.w3') },
        'blk.{n}.ffn_down': { path: path('feed_forward.w2') },
      },
      config(facts) {
        // 0 in convolution layers
        const keyHeads = facts.counts('attention.head_count_kv');
        return {
          architectures: ['Lfm2ForCausalLM'],
          model_type: 'lfm2',
          block_auto_adjust_ff_dim: false,
          conv_L_cache: facts.need('shortconv.l_cache'),
          conv_bias: false,
          hidden_size: facts.need('embedding_length'),
          intermediate_size: facts.need('feed_forward_length'),
          layer_types: keyHeads.map((heads) => (heads > 0 ? 'full_attention' : 'conv')),
          max_position_embeddings: facts.need('context_length'),
          norm_eps: facts.needReal('attention.layer_norm_rms_epsilon'),
          num_attention_heads: facts.need('attention.head_count'),
          num_hidden_layers: facts.need('block_count'),
          num_key_value_heads: Math.max(1, ...keyHeads),
          ...facts.rope,
        };
      },
    },
  ],
});

function intermediateSize(config: Config): number {
  const { block_ff_dim: old, block_multiple_of: multiple } = config;
  const given = old ?? config.intermediate_size;
  if (!config.block_auto_adjust_ff_dim) return given;
  const { block_ffn_dim_multiplier: times = 1 } = config;
  const gated = Math.trunc((2 * given) / 3);
  if (times === null) return gated;
  return multiple * Math.ceil(Math.trunc(times * gated) / multiple);
}

function convolvingLayers({
  layer_types: types,
  full_attn_idxs: attending,
  num_hidden_layers: layers,
}: Config): boolean[] {
  if (!types)
    return Array.from({ length: layers }, (_, i) => attending !== null && !attending.includes(i));
  const other = types.find((type) => type !== 'conv' && type !== 'full_attention');
  if (other === undefined) return types.map((type) => type === 'conv');
  const message = `config.json: layer_types has ${shown(other)}; supported: conv, full_attention`;
  throw new DomainError('unsupported', message, 'model');
}
