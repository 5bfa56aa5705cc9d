/**
 * ViT (arXiv:2010.11929): an encoder of patches of a picture behind a class token, whose last hidden state the head of a
 * task reads. Norms come before what they norm; positions are learned.
 */
import { defineModel } from '../plugin.js';
import { patchesIn } from '../nn/front-ends/patches.js';
import {
  activation,
  EPSILON,
  flag,
  fraction,
  HEADS,
  LAYERS,
  optional,
  or,
  CHANNELS,
  PICTURE,
  required,
  sides,
  SIZE,
  word,
} from './hf-config.js';

const layer = (name: string): string => `vit.layers.{n}.${name}`;
const inFiles = (name: string): string => `vit.encoder.layer.{n}.${name}`;
const embeddings = (name: string): string => `vit.embeddings.${name}`;

export const vit = defineModel({
  name: 'vit',
  title: 'ViT',
  modelTypes: ['vit'],
  hf: {
    hidden_size: required(SIZE),
    num_hidden_layers: required(LAYERS),
    num_attention_heads: required(HEADS),
    intermediate_size: required(SIZE),
    hidden_act: or(word, 'gelu'),
    layer_norm_eps: or(EPSILON, 1e-12),
    image_size: or(PICTURE, 224),
    patch_size: or(PICTURE, 16),
    num_channels: or(CHANNELS, 3),
    qkv_bias: or(flag, true),
    initializer_range: or(fraction, 0.02),
    hidden_dropout_prob: optional(fraction),
    attention_probs_dropout_prob: optional(fraction),
  },
  options(hf) {
    const [picture, patch] = [sides(hf.image_size), sides(hf.patch_size)];
    return {
      vocabSize: 0,
      encoder: {
        frontEnd: {
          kind: 'patches',
          channels: hf.num_channels,
          picture,
          patch,
          classToken: true,
        },
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
        maxPositions: 1 + patchesIn(picture, patch),
        biases: [...(hf.qkv_bias ? (['q', 'k', 'v'] as const) : []), 'o', 'up', 'down'],
      },
    };
  },
  paths: {
    encoder: {
      frontEnd: {
        kind: 'patches',
        projection: embeddings('patch_embeddings.projection'),
        classToken: embeddings('cls_token'),
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
      finalNorm: 'vit.layernorm',
    },
    heads: { classification: { pool: 'first', output: 'classifier', hasBias: true } },
  },
  aliases: {
    [layer('attention.q_proj')]: inFiles('attention.attention.query'),
    [layer('attention.k_proj')]: inFiles('attention.attention.key'),
    [layer('attention.v_proj')]: inFiles('attention.attention.value'),
    [layer('attention.o_proj')]: inFiles('attention.output.dense'),
    [layer('mlp.fc1')]: inFiles('intermediate.dense'),
    [layer('mlp.fc2')]: inFiles('output.dense'),
    [layer('layernorm_before')]: inFiles('layernorm_before'),
    [layer('layernorm_after')]: inFiles('layernorm_after'),
  },
});
