/**
 * Vision tower of SigLIP (arXiv:2303.15343): ViT without a class token. A task's head reads the mean of the
 * patches; the tower's own pooling head returns the embedding of an image. The text tower is not loaded.
 */
import { DomainError } from '@graft/contracts';
import type { z } from 'zod';
import type { ModelOptions } from '../nn/outline/stack-options.js';
import { defineModel } from './model.js';
import {
  CHANNELS,
  EPSILON,
  flag,
  fraction,
  HEADS,
  LAYERS,
  object,
  optional,
  or,
  IMAGE_SIZE,
  readHf,
  real,
  sides,
  SIZE,
  word,
} from './frame/hf-config.js';
import type { HfTable, HfValues } from './frame/hf-config.js';
import { vitOptions } from './vit.js';

/** Keys of the vision tower. Transformers has defaults for all of them. */
const VISION = {
  hidden_size: or(SIZE, 768),
  intermediate_size: or(SIZE, 3072),
  num_hidden_layers: or(LAYERS, 12),
  num_attention_heads: or(HEADS, 12),
  num_channels: or(CHANNELS, 3),
  image_size: or(IMAGE_SIZE, 224),
  patch_size: or(IMAGE_SIZE, 16),
  hidden_act: or(word, 'gelu_pytorch_tanh'),
  layer_norm_eps: or(EPSILON, 1e-6),
  attention_dropout: optional(fraction),
  vision_use_head: or(flag, true),
} satisfies HfTable;

function vision(hf: HfValues<typeof VISION>, factor: number): z.input<typeof ModelOptions> {
  const [imageSize, patch] = [sides(hf.image_size), sides(hf.patch_size)];
  if (imageSize[0] !== imageSize[1] || patch[0] !== patch[1]) {
    const message =
      'config.json: image_size and patch_size must be single numbers: SigLIP supports only square images';
    throw new DomainError('unsupported', message, 'model');
  }
  return {
    ...vitOptions({ ...hf, qkv_bias: true }, 0),
    poolingHead: hf.vision_use_head,
    headDeviation: factor / Math.sqrt(hf.hidden_size),
  };
}

const layer = (name: string): string => `vision_model.encoder.layers.{n}.${name}`;
const textLayer = (name: string): string => `text_model.encoder.layers.{n}.${name}`;

export const siglip = defineModel({
  name: 'siglip',
  title: 'SigLIP',
  modelTypes: ['siglip'],
  hf: { vision_config: optional(object), initializer_factor: or(real(1e3), 1) },
  options: ({ vision_config: tower, initializer_factor: factor }) =>
    vision(readHf({ model_type: 'siglip', ...tower }, VISION), factor),
  paths: {
    encoder: {
      frontEnd: {
        kind: 'patches',
        projection: 'vision_model.embeddings.patch_embedding',
        positions: { table: 'vision_model.embeddings.position_embedding' },
      },
      attention: {
        norm: layer('layer_norm1'),
        q: layer('self_attn.q_proj'),
        k: layer('self_attn.k_proj'),
        v: layer('self_attn.v_proj'),
        o: layer('self_attn.out_proj'),
      },
      feedForward: {
        norm: layer('layer_norm2'),
        up: layer('mlp.fc1'),
        down: layer('mlp.fc2'),
      },
      finalNorm: 'vision_model.post_layernorm',
    },
    pooling: {
      probe: 'vision_model.head.probe',
      attention: 'vision_model.head.attention',
      norm: 'vision_model.head.layernorm',
      up: 'vision_model.head.mlp.fc1',
      down: 'vision_model.head.mlp.fc2',
    },
    // Transformers' class without a head has both towers, under their names
    headPrefix: '',
    unread: {
      // PyTorch's attention uses its weight and never calls the module
      inAll: ['vision_model.head.attention.out_proj'],
      inHeadless: [
        ...['q_proj', 'k_proj', 'v_proj', 'out_proj'].map((name) => textLayer(`self_attn.${name}`)),
        ...['mlp.fc1', 'mlp.fc2', 'layer_norm1', 'layer_norm2'].map(textLayer),
        'text_model.embeddings.token_embedding',
        'text_model.embeddings.position_embedding',
        'text_model.final_layer_norm',
        'text_model.head',
      ],
    },
    heads: { classification: { pool: 'mean', output: 'classifier', hasBias: true } },
  },
});
