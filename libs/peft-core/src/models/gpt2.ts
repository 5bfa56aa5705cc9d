/** GPT-2 ("Language Models are Unsupervised Multitask Learners", 2019): learned positions, LayerNorm, fused qkv. */
import { Outline } from '../nn/outline.js';
import { linearNames, TransformerOptions } from '../nn/transformer-options.js';
import type { ModulePaths } from '../nn/transformer-options.js';
import { defineModel } from '../plugin.js';
import { assemble } from './assemble.js';
import { activation, layerCount, numberOr } from './hf-config.js';
import type { HfConfig } from './model.js';

const paths: ModulePaths = {
  words: 'transformer.wte',
  positions: 'transformer.wpe',
  attentionNorm: 'transformer.h.{n}.ln_1',
  qkv: 'transformer.h.{n}.attn.c_attn',
  o: 'transformer.h.{n}.attn.c_proj',
  mlpNorm: 'transformer.h.{n}.ln_2',
  up: 'transformer.h.{n}.mlp.c_fc',
  down: 'transformer.h.{n}.mlp.c_proj',
  finalNorm: 'transformer.ln_f',
  head: 'lm_head',
};

export const gpt2 = defineModel<TransformerOptions>({
  name: 'gpt2',
  title: 'GPT-2',
  modelTypes: ['gpt2'],
  options: TransformerOptions,
  linears: linearNames(paths),
  fromHf,
  outline: (options) => new Outline(options, paths),
  build: (options, config, tensors, build) =>
    assemble({ name: 'gpt2', paths }, options, config, tensors, build),
});

function fromHf(config: HfConfig): unknown {
  const hiddenSize = numberOr(config, 'n_embd', 768);
  const heads = numberOr(config, 'n_head', 12);
  const layers = layerCount(config, 'n_layer');
  return {
    vocabSize: config['vocab_size'] ?? 50257,
    hiddenSize,
    intermediateSize: config['n_inner'] ?? 4 * hiddenSize,
    layers,
    heads,
    kvHeads: heads,
    headDim: hiddenSize / heads,
    norm: 'layer',
    normEps: config['layer_norm_epsilon'] ?? 1e-5,
    activation: activation(config['activation_function'] ?? 'gelu_new'),
    gated: false,
    maxPositions: config['n_positions'] ?? 1024,
    windows: Array.from({ length: layers }, () => null),
    scaleByLayer: config['scale_attn_by_inverse_layer_idx'] === true,
    biases: ['qkv', 'o', 'up', 'down'],
    fusedQkv: true,
    conv1d: true,
    tiedHead: config['tie_word_embeddings'] !== false,
  };
}
