/**
 * ViT (arXiv:2010.11929): an encoder of image patches after a class token, whose last hidden state a task's
 * head reads. Norms precede attention and feed-forward; positions are learned.
 */
import type { z } from 'zod';
import { patchesIn } from '../nn/front-ends/patches.js';
import type { ModelOptions } from '../nn/outline/stack-options.js';
import { defineModel } from './model.js';
import type { Aliases } from '../nn/outline/aliases.js';
import {
  activation,
  CHANNELS,
  EPSILON,
  flag,
  fraction,
  HEADS,
  LAYERS,
  optional,
  or,
  IMAGE_SIZE,
  required,
  sides,
  SIZE,
  word,
} from './frame/hf-config.js';
import type { HfTable, HfValues } from './frame/hf-config.js';
import type { ModelPaths } from '../nn/outline/model-paths.js';

/** Keys of config.json for ViT and related models. */
export const VIT_KEYS = {
  hidden_size: required(SIZE),
  num_hidden_layers: required(LAYERS),
  num_attention_heads: required(HEADS),
  intermediate_size: required(SIZE),
  hidden_act: or(word, 'gelu'),
  layer_norm_eps: or(EPSILON, 1e-12),
  image_size: or(IMAGE_SIZE, 224),
  patch_size: or(IMAGE_SIZE, 16),
  num_channels: or(CHANNELS, 3),
  qkv_bias: or(flag, true),
  initializer_range: or(fraction, 0.02),
  hidden_dropout_prob: optional(fraction),
  attention_probs_dropout_prob: optional(fraction),
} satisfies HfTable;

/** @param tokens number of learned rows before those of patches */
export function vitOptions(
  hf: Omit<
    HfValues<typeof VIT_KEYS>,
    'initializer_range' | 'hidden_dropout_prob' | 'attention_probs_dropout_prob'
  >,
  tokens: number,
): z.input<typeof ModelOptions> {
  const [imageSize, patch] = [sides(hf.image_size), sides(hf.patch_size)];
  return {
    vocabSize: 0,
    encoder: {
      frontEnd: { kind: 'patches', channels: hf.num_channels, imageSize, patch, tokens },
      hiddenSize: hf.hidden_size,
      intermediateSize: hf.intermediate_size,
      layers: hf.num_hidden_layers,
      heads: hf.num_attention_heads,
      kvHeads: hf.num_attention_heads,
      headDim: hf.hidden_size / hf.num_attention_heads,
      norm: 'layer',
      normEps: hf.layer_norm_eps,
      activation: activation(hf.hidden_act),
      gated: false,
      attention: 'bidirectional',
      maxPositions: tokens + patchesIn(imageSize, patch),
      biases: [...(hf.qkv_bias ? (['q', 'k', 'v'] as const) : []), 'o', 'up', 'down'],
    },
  };
}

/**
 * Returns the paths of a model with ViT's module names in Transformers.
 * @param prefix name of the backbone
 */
export function vitPaths(prefix: string, tokens: readonly string[]): ModelPaths {
  const layer = (name: string): string => `${prefix}.layers.{n}.${name}`;
  const embeddings = (name: string): string => `${prefix}.embeddings.${name}`;
  return {
    encoder: {
      frontEnd: {
        kind: 'patches',
        projection: embeddings('patch_embeddings.projection'),
        tokens: tokens.map(embeddings),
        positions: embeddings('position_embeddings'),
      },
      attention: {
        norm: layer('layernorm_before'),
        q: layer('attention.q_proj'),
        k: layer('attention.k_proj'),
        v: layer('attention.v_proj'),
        o: layer('attention.o_proj'),
      },
      feedForward: {
        norm: layer('layernorm_after'),
        up: layer('mlp.fc1'),
        down: layer('mlp.fc2'),
      },
      finalNorm: `${prefix}.layernorm`,
    },
    unread: { inHeadless: ['pooler.dense'] },
    heads: { classification: { pool: 'first', output: 'classifier', hasBias: true } },
  };
}

/** Returns the names of modules in files, which use the names from before Transformers 5. */
export function vitAliases(prefix: string): Aliases {
  const names = {
    'attention.q_proj': 'attention.attention.query',
    'attention.k_proj': 'attention.attention.key',
    'attention.v_proj': 'attention.attention.value',
    'attention.o_proj': 'attention.output.dense',
    'mlp.fc1': 'intermediate.dense',
    'mlp.fc2': 'output.dense',
    layernorm_before: 'layernorm_before',
    layernorm_after: 'layernorm_after',
  };
  return Object.fromEntries(
    Object.entries(names).map(([module, file]) => [
      `${prefix}.layers.{n}.${module}`,
      `${prefix}.encoder.layer.{n}.${file}`,
    ]),
  );
}

export const vit = defineModel({
  name: 'vit',
  title: 'ViT',
  modelTypes: ['vit'],
  hf: VIT_KEYS,
  options: (hf) => vitOptions(hf, 1),
  paths: vitPaths('vit', ['cls_token']),
  aliases: vitAliases('vit'),
});
