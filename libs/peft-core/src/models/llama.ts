/**
 * LLaMA (arXiv:2302.13971, 2307.09288, 2407.21783) and what derives from it: Mistral (2310.06825), Qwen 2 (2407.10671)
 * and 3 (2505.09388), TinyLlama, SmolLM. Derivatives are lines of a table.
 */
import { DomainError } from '@graft/contracts';
import { Outline } from '../nn/outline.js';
import { linearNames, TransformerOptions } from '../nn/transformer-options.js';
import type { ModulePaths } from '../nn/transformer-options.js';
import { defineModel } from '../plugin.js';
import { assemble } from './assemble.js';
import { activation, field, layerCount, numberOr } from './hf-config.js';
import type { HfConfig } from './model.js';

interface Derivative {
  /** Query, key and value always have biases; else config.json says. */
  readonly qkvBias?: boolean;
  readonly qkNorm?: boolean;
  /** Where config.json's sliding_window acts: everywhere, or in the upper layers where it says so. */
  readonly window?: 'all' | 'upper';
  /** When config.json has no sliding_window. */
  readonly defaultWindow?: number;
}

/** By model_type. */
const DERIVATIVES: Readonly<Record<string, Derivative>> = {
  llama: {},
  mistral: { window: 'all', defaultWindow: 4096 },
  qwen2: { window: 'upper', qkvBias: true },
  qwen3: { window: 'upper', qkNorm: true },
};

const paths: ModulePaths = {
  words: 'model.embed_tokens',
  attentionNorm: 'model.layers.{n}.input_layernorm',
  q: 'model.layers.{n}.self_attn.q_proj',
  k: 'model.layers.{n}.self_attn.k_proj',
  v: 'model.layers.{n}.self_attn.v_proj',
  qNorm: 'model.layers.{n}.self_attn.q_norm',
  kNorm: 'model.layers.{n}.self_attn.k_norm',
  o: 'model.layers.{n}.self_attn.o_proj',
  mlpNorm: 'model.layers.{n}.post_attention_layernorm',
  gate: 'model.layers.{n}.mlp.gate_proj',
  up: 'model.layers.{n}.mlp.up_proj',
  down: 'model.layers.{n}.mlp.down_proj',
  finalNorm: 'model.norm',
  head: 'lm_head',
};

export const llama = defineModel<TransformerOptions>({
  name: 'llama',
  title: 'LLaMA, Mistral, Qwen 2 and 3, TinyLlama, SmolLM',
  modelTypes: Object.keys(DERIVATIVES),
  options: TransformerOptions,
  linears: linearNames(paths),
  fromHf,
  outline: (options) => new Outline(options, paths),
  build: (options, config, tensors, build) =>
    assemble({ name: 'llama', paths }, options, config, tensors, build),
});

function fromHf(config: HfConfig): unknown {
  const derivative = DERIVATIVES[config.model_type] ?? {};
  const heads = config['num_attention_heads'];
  const layers = layerCount(config, 'num_hidden_layers');
  return {
    vocabSize: config['vocab_size'],
    hiddenSize: config['hidden_size'],
    intermediateSize: config['intermediate_size'],
    layers,
    heads,
    kvHeads: config['num_key_value_heads'] ?? heads,
    headDim:
      config['head_dim'] ??
      numberOr(config, 'hidden_size', 0) / numberOr(config, 'num_attention_heads', 1),
    norm: 'rms',
    normEps: config['rms_norm_eps'] ?? 1e-6,
    activation: activation(config['hidden_act'] ?? 'silu'),
    gated: true,
    rope: rope(config),
    maxPositions: config['max_position_embeddings'] ?? 2048,
    qkNorm: derivative.qkNorm ?? false,
    windows: windows(config, derivative, layers),
    biases: [
      ...(derivative.qkvBias || config['attention_bias'] === true ? ['q', 'k', 'v'] : []),
      ...(config['attention_bias'] === true && !derivative.qkvBias ? ['o'] : []),
      ...(config['mlp_bias'] === true ? ['gate', 'up', 'down'] : []),
    ],
    tiedHead: config['tie_word_embeddings'] === true,
  };
}

/** Of transformers 5 (`rope_parameters`) or 4 (`rope_theta` and `rope_scaling`). */
function rope(config: HfConfig): unknown {
  const given = {
    ...(field(config, 'rope_scaling') ?? {}),
    ...(field(config, 'rope_parameters') ?? {}),
  };
  const type = given['rope_type'] ?? given['type'] ?? 'default';
  if (!['default', 'linear', 'llama3'].includes(String(type))) {
    const message = `config.json: rope_type "${String(type)}" is not supported; there are: default, linear, llama3`;
    throw new DomainError('unsupported', message, 'model');
  }
  return {
    ...given,
    rope_type: type,
    rope_theta: given['rope_theta'] ?? config['rope_theta'] ?? 10000,
  };
}

function windows(
  config: HfConfig,
  { window, defaultWindow }: Derivative,
  layers: number,
): unknown[] {
  const width =
    config['sliding_window'] === undefined ? (defaultWindow ?? null) : config['sliding_window'];
  const types = config['layer_types'];
  const upper = numberOr(config, 'max_window_layers', 0);
  const isOn = window === 'all' || (window === 'upper' && config['use_sliding_window'] === true);
  return Array.from({ length: layers }, (_, i) => {
    if (!isOn) return null;
    if (Array.isArray(types)) return types[i] === 'sliding_attention' ? width : null;
    return window === 'upper' && i < upper ? null : width;
  });
}
