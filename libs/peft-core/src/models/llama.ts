/**
 * LLaMA (arXiv:2302.13971, 2307.09288, 2407.21783) and its derivatives: Mistral (2310.06825), Qwen 2
 * (2407.10671) and 3 (2505.09388), TinyLlama, SmolLM, Seed-OSS, CWM, IQuest-Coder. Each derivative is an
 * entry of a table.
 */
import { DomainError } from '@graft/contracts';
import { defineModel } from './model.js';
import type { GgufFormat, GgufWriting } from './frame/gguf-format.js';
import {
  activation,
  EPSILON,
  flag,
  fraction,
  HEAD_SIZE,
  HEADS,
  integer,
  LAYERS,
  nullable,
  optional,
  or,
  POSITIONS,
  required,
  ROPE_KEYS,
  ropeOptions,
  SIZE,
  VOCABULARY,
  word,
  words,
} from './frame/hf-config.js';
import type { HfTable, HfValues } from './frame/hf-config.js';
import type { ModelPaths } from '../nn/outline/model-paths.js';

interface Derivative {
  /** Class name of its causal language model in Transformers. */
  readonly architecture: string;
  /** Whether query, key and value always have biases. Otherwise config.json determines it. */
  readonly qkvBias?: boolean;
  readonly qkNorm?: boolean;
  /**
   * 'apart': attention_out_bias, not attention_bias, determines whether attention's output projection has a
   * bias.
   */
  readonly outBias?: 'apart';
  /**
   * Layers that have config.json's sliding_window: all, the upper ones (only if use_sliding_window), or all
   * but every fourth.
   */
  readonly window?: 'all' | 'upper' | 'most';
  /** Default of sliding_window. */
  readonly defaultWindow?: number;
  /** Default of head_dim. If omitted, the hidden size divided by the number of heads. */
  readonly headDim?: number;
  /** Default rotary options. */
  readonly rope?: Readonly<Record<string, number | string>>;
}

/** Derivatives by model_type. */
const DERIVATIVES: Readonly<Record<string, Derivative>> = {
  llama: { architecture: 'LlamaForCausalLM' },
  mistral: { architecture: 'MistralForCausalLM', window: 'all', defaultWindow: 4096 },
  ministral: { architecture: 'MinistralForCausalLM', window: 'all', defaultWindow: 4096 },
  qwen2: { architecture: 'Qwen2ForCausalLM', window: 'upper', qkvBias: true },
  qwen3: { architecture: 'Qwen3ForCausalLM', window: 'upper', qkNorm: true },
  seed_oss: { architecture: 'SeedOssForCausalLM', outBias: 'apart', headDim: 128 },
  iquestcoder: { architecture: 'IQuestCoderForCausalLM', headDim: 128 },
  cwm: {
    architecture: 'CwmForCausalLM',
    window: 'most',
    defaultWindow: 8192,
    headDim: 128,
    rope: {
      rope_type: 'llama3',
      rope_theta: 1e6,
      factor: 16,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 8192,
    },
  },
};

/** Keys of all models with LLaMA's architecture. */
export const LLAMA_KEYS = {
  vocab_size: required(VOCABULARY),
  hidden_size: required(SIZE),
  intermediate_size: required(SIZE),
  num_hidden_layers: required(LAYERS),
  num_attention_heads: required(HEADS),
  num_key_value_heads: optional(HEADS),
  head_dim: optional(HEAD_SIZE),
  max_position_embeddings: or(POSITIONS, 2048),
  rms_norm_eps: or(EPSILON, 1e-6),
  hidden_act: or(word, 'silu'),
  attention_bias: or(flag, false),
  mlp_bias: or(flag, false),
  tie_word_embeddings: or(flag, false),
  attention_dropout: optional(fraction),
  ...ROPE_KEYS,
} satisfies HfTable;

const hf = {
  ...LLAMA_KEYS,
  sliding_window: nullable(POSITIONS),
  max_window_layers: or(integer(0, 1000), 0),
  use_sliding_window: or(flag, false),
  layer_types: optional(words),
  attention_out_bias: or(flag, false),
};

/** Returns the decoder that these keys describe. */
export function llamaDecoder(config: HfValues<typeof LLAMA_KEYS>) {
  const { num_attention_heads: heads, hidden_size: hiddenSize } = config;
  return {
    hiddenSize,
    intermediateSize: config.intermediate_size,
    layers: config.num_hidden_layers,
    heads,
    kvHeads: config.num_key_value_heads ?? heads,
    headDim: config.head_dim ?? hiddenSize / heads,
    norm: 'rms' as const,
    normEps: config.rms_norm_eps,
    activation: activation(config.hidden_act),
    gated: true,
    rope: ropeOptions(config),
    maxPositions: config.max_position_embeddings,
    biases: [
      ...(config.attention_bias ? (['q', 'k', 'v', 'o'] as const) : []),
      ...(config.mlp_bias ? (['gate', 'up', 'down'] as const) : []),
    ],
  };
}

const path = (name: string): string => `model.layers.{n}.${name}`;

/** Module paths of LLaMA. */
export const llamaPaths = {
  tokenEmbedding: 'model.embed_tokens',
  decoder: {
    attention: {
      norm: path('input_layernorm'),
      q: path('self_attn.q_proj'),
      k: path('self_attn.k_proj'),
      v: path('self_attn.v_proj'),
      qNorm: path('self_attn.q_norm'),
      kNorm: path('self_attn.k_norm'),
      o: path('self_attn.o_proj'),
    },
    feedForward: {
      norm: path('post_attention_layernorm'),
      gate: path('mlp.gate_proj'),
      up: path('mlp.up_proj'),
      down: path('mlp.down_proj'),
    },
    finalNorm: 'model.norm',
  },
  lmHead: 'lm_head',
} satisfies ModelPaths;

/**
 * Returns the GGUF format of a LLaMA architecture. llama.cpp interleaves the rows of LLaMA's queries and
 * keys; those of other architectures have the order of Hugging Face.
 * @param causalModel class name of the model in Transformers
 * @param writes default: models whose model_type equals the architecture
 */
export const llamaGguf = (
  architecture: string,
  causalModel: string,
  isInterleaved = false,
  writes: GgufWriting = { modelTypes: [architecture] },
): GgufFormat => {
  const rows = isInterleaved ? { rows: 'pairs' as const } : {};
  return {
    architecture,
    writes,
    modules: {
      token_embd: { path: 'model.embed_tokens' },
      output_norm: { path: 'model.norm' },
      output: { path: 'lm_head' },
      'blk.{n}.attn_norm': { path: path('input_layernorm') },
      'blk.{n}.ffn_norm': { path: path('post_attention_layernorm') },
      'blk.{n}.attn_q': { path: path('self_attn.q_proj'), ...rows },
      'blk.{n}.attn_k': { path: path('self_attn.k_proj'), ofKeys: true, ...rows },
      'blk.{n}.attn_v': { path: path('self_attn.v_proj') },
      'blk.{n}.attn_output': { path: path('self_attn.o_proj') },
      'blk.{n}.attn_q_norm': { path: path('self_attn.q_norm') },
      'blk.{n}.attn_k_norm': { path: path('self_attn.k_norm') },
      'blk.{n}.ffn_gate': { path: path('mlp.gate_proj') },
      'blk.{n}.ffn_up': { path: path('mlp.up_proj') },
      'blk.{n}.ffn_down': { path: path('mlp.down_proj') },
    },
    config(facts) {
      const heads = facts.need('attention.head_count');
      const hidden = facts.need('embedding_length');
      const headDim = facts.optional('attention.key_length') ?? hidden / heads;
      const rotated = facts.optional('rope.dimension_count') ?? headDim;
      if (!Number.isInteger(headDim) || rotated !== headDim) {
        const message = `heads of size ${headDim} with ${rotated} rotated dimensions are not supported`;
        throw new DomainError('unsupported', message);
      }
      return {
        architectures: [causalModel],
        model_type: architecture,
        attention_bias: facts.hasTensor('blk.0.attn_q.bias'),
        head_dim: headDim,
        hidden_act: 'silu',
        hidden_size: hidden,
        intermediate_size: facts.need('feed_forward_length'),
        max_position_embeddings: facts.need('context_length'),
        mlp_bias: false,
        num_attention_heads: heads,
        num_hidden_layers: facts.need('block_count'),
        num_key_value_heads: facts.optional('attention.head_count_kv') ?? heads,
        rms_norm_eps: facts.needReal('attention.layer_norm_rms_epsilon'),
        ...facts.rope,
      };
    },
  };
};

export const llama = defineModel({
  name: 'llama',
  title: 'LLaMA, Mistral, Qwen 2 and 3, TinyLlama, SmolLM, Seed-OSS, CWM, IQuest-Coder',
  modelTypes: Object.keys(DERIVATIVES),
  hf,
  options(config, modelType) {
    const derivative = DERIVATIVES[modelType] as Derivative;
    const { headDim = null, rope = null } = derivative;
    const isRotated = config.rope_theta ?? config.rope_scaling ?? config.rope_parameters;
    const decoder = llamaDecoder({
      ...config,
      head_dim: config.head_dim ?? headDim,
      ...(isRotated === null && { rope_parameters: rope }),
    });
    return {
      vocabSize: config.vocab_size,
      decoder: {
        ...decoder,
        ...(derivative.qkNorm && { qkNorm: 'head' }),
        windows: windows(config, derivative),
        biases: biases(config, derivative, decoder.biases),
      },
      tiedHead: config.tie_word_embeddings,
    };
  },
  paths: llamaPaths,
  gguf: ['llama', 'qwen2', 'qwen3'].map((type) => {
    const { architecture } = DERIVATIVES[type] as Derivative;
    // Mistral has the architecture `llama` in llama.cpp
    const modelTypes = type === 'llama' ? ['llama', 'mistral', 'ministral'] : [type];
    return llamaGguf(type, architecture, type === 'llama', { modelTypes });
  }),
});

type Biases = ReturnType<typeof llamaDecoder>['biases'];

function biases(
  { attention_out_bias: isOutBiased }: HfValues<typeof hf>,
  { qkvBias, outBias }: Derivative,
  found: Biases,
): Biases {
  if (qkvBias) return ['q', 'k', 'v', ...found.filter((role) => !'qkvo'.includes(role))];
  if (!outBias) return found;
  return [...found.filter((role) => role !== 'o'), ...(isOutBiased ? (['o'] as const) : [])];
}

function windows(
  config: HfValues<typeof hf>,
  { window, defaultWindow }: Derivative,
): (number | null)[] {
  const { sliding_window: given, layer_types: types, max_window_layers: upper } = config;
  const width = given === undefined ? (defaultWindow ?? null) : given;
  const isOn =
    window === 'all' || window === 'most' || (window === 'upper' && config.use_sliding_window);
  return Array.from({ length: config.num_hidden_layers }, (_, i) => {
    if (!isOn) return null;
    if (types) return types[i] === 'sliding_attention' ? width : null;
    if (window === 'most') return i % 4 === 0 ? null : width;
    return window === 'upper' && i < upper ? null : width;
  });
}
