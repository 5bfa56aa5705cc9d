/**
 * DINOv2 (arXiv:2304.07193): ViT with LayerScale after attention and feed-forward, for images of any size. A
 * task's head reads the class token and the mean of the patches. The mask token, used only in pretraining, is
 * not read.
 */
import type { z } from 'zod';
import { LARGEST_SIDE, patchesIn } from '../nn/front-ends/patches.js';
import type { ModelOptions } from '../nn/outline/stack-options.js';
import { defineModel } from './model.js';
import type { Aliases, FilePart } from '../nn/outline/aliases.js';
import {
  activation,
  CHANNELS,
  EPSILON,
  flag,
  fraction,
  HEADS,
  integer,
  LAYERS,
  optional,
  or,
  IMAGE_SIZE,
  real,
  required,
  sides,
  SIZE,
  word,
} from './frame/hf-config.js';
import type { HfTable, HfValues } from './frame/hf-config.js';
import type { ModelPaths } from '../nn/outline/model-paths.js';

/** Keys of config.json for DINOv2 with and without registers. */
export const DINOV2_KEYS = {
  hidden_size: required(SIZE),
  num_hidden_layers: required(LAYERS),
  num_attention_heads: required(HEADS),
  mlp_ratio: or(integer(1, 64), 4),
  hidden_act: or(word, 'gelu'),
  layer_norm_eps: or(EPSILON, 1e-6),
  image_size: or(IMAGE_SIZE, 224),
  patch_size: or(IMAGE_SIZE, 14),
  num_channels: or(CHANNELS, 3),
  qkv_bias: or(flag, true),
  layerscale_value: optional(real(1e3)),
  use_swiglu_ffn: or(flag, false),
  initializer_range: or(fraction, 0.02),
  hidden_dropout_prob: optional(fraction),
  attention_probs_dropout_prob: optional(fraction),
} satisfies HfTable;

interface Registers {
  readonly registers: number;
  readonly interpolation: 'bicubic' | 'bicubic_antialiased';
}

export function dinov2Options(
  hf: HfValues<typeof DINOV2_KEYS>,
  { registers, interpolation }: Registers,
): z.input<typeof ModelOptions> {
  const [imageSize, patch] = [sides(hf.image_size), sides(hf.patch_size)];
  const inner = hf.hidden_size * hf.mlp_ratio;
  const before = 1 + registers;
  const gated = hf.use_swiglu_ffn;
  const attentive = hf.qkv_bias ? (['q', 'k', 'v'] as const) : [];
  return {
    vocabSize: 0,
    headSkips: before,
    encoder: {
      frontEnd: {
        kind: 'patches',
        channels: hf.num_channels,
        imageSize,
        patch,
        tokens: 1,
        registers,
        interpolation,
      },
      hiddenSize: hf.hidden_size,
      // two thirds, rounded up to a multiple of 8
      intermediateSize: gated ? 8 * Math.ceil(Math.floor((inner * 2) / 3) / 8) : inner,
      layers: hf.num_hidden_layers,
      heads: hf.num_attention_heads,
      kvHeads: hf.num_attention_heads,
      headDim: hf.hidden_size / hf.num_attention_heads,
      norm: 'layer',
      normEps: hf.layer_norm_eps,
      layerScale: true,
      activation: gated ? 'silu' : activation(hf.hidden_act),
      gated,
      attention: 'bidirectional',
      maxPositions: before + patchesIn([LARGEST_SIDE, LARGEST_SIDE], patch),
      biases: [...attentive, 'o', 'gate', 'up', 'down'],
    },
  };
}

/** @param prefix name of the backbone */
export function dinov2Paths(prefix: string): ModelPaths {
  const layer = (name: string): string => `${prefix}.encoder.layer.{n}.${name}`;
  const embeddings = (name: string): string => `${prefix}.embeddings.${name}`;
  return {
    encoder: {
      frontEnd: {
        kind: 'patches',
        projection: embeddings('patch_embeddings.projection'),
        tokens: [embeddings('cls_token')],
        registers: embeddings('register_tokens'),
        positions: embeddings('position_embeddings'),
      },
      attention: {
        norm: layer('norm1'),
        q: layer('attention.q_proj'),
        k: layer('attention.k_proj'),
        v: layer('attention.v_proj'),
        o: layer('attention.o_proj'),
        scale: layer('layer_scale1.lambda1'),
      },
      feedForward: {
        norm: layer('norm2'),
        gate: layer('mlp.gate_proj'),
        up: layer('mlp.up_proj'),
        ungatedUp: layer('mlp.fc1'),
        down: layer('mlp.fc2'),
        gatedDown: layer('mlp.down_proj'),
        scale: layer('layer_scale2.lambda1'),
      },
      finalNorm: `${prefix}.layernorm`,
    },
    heads: { classification: { pool: 'first_and_mean', output: 'classifier', hasBias: true } },
  };
}

/** Names in files, which are those before Transformers 5. Gate and up are one tensor. */
export function dinov2Aliases(prefix: string): Aliases {
  const layer = (name: string): string => `${prefix}.encoder.layer.{n}.${name}`;
  const half = (at: number): FilePart => ({ file: layer('mlp.weights_in'), at, of: 2 });
  return {
    [layer('attention.q_proj')]: layer('attention.attention.query'),
    [layer('attention.k_proj')]: layer('attention.attention.key'),
    [layer('attention.v_proj')]: layer('attention.attention.value'),
    [layer('attention.o_proj')]: layer('attention.output.dense'),
    [layer('mlp.gate_proj')]: half(0),
    [layer('mlp.up_proj')]: half(1),
    [layer('mlp.down_proj')]: layer('mlp.weights_out'),
  };
}

export const dinov2 = defineModel({
  name: 'dinov2',
  title: 'DINOv2',
  modelTypes: ['dinov2'],
  hf: DINOV2_KEYS,
  options: (hf) => dinov2Options(hf, { registers: 0, interpolation: 'bicubic' }),
  paths: dinov2Paths('dinov2'),
  aliases: dinov2Aliases('dinov2'),
});
