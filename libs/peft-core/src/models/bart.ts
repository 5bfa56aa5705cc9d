/**
 * BART (arXiv:1910.13461): an encoder and a decoder with cross-attention. Position tables have two rows
 * before position 0. Norms come after the residuals, and each stack norms its embeddings. The head is tied to
 * the embedding; a bias that is never trained is added to the logits.
 */
import type { z } from 'zod';
import type { StackOptions } from '../nn/outline/stack-options.js';
import { defineModel } from './model.js';
import {
  activation,
  flag,
  fraction,
  HEADS,
  integer,
  LAYERS,
  optional,
  or,
  POSITIONS,
  refuse,
  SIZE,
  VOCABULARY,
  word,
} from './frame/hf-config.js';
import type { StackPaths } from '../nn/outline/model-paths.js';

export const bart = defineModel({
  name: 'bart',
  title: 'BART',
  modelTypes: ['bart'],
  hf: {
    vocab_size: or(VOCABULARY, 50265),
    d_model: or(SIZE, 1024),
    encoder_layers: or(LAYERS, 12),
    encoder_ffn_dim: or(SIZE, 4096),
    encoder_attention_heads: or(HEADS, 16),
    decoder_layers: or(LAYERS, 12),
    decoder_ffn_dim: or(SIZE, 4096),
    decoder_attention_heads: or(HEADS, 16),
    max_position_embeddings: or(POSITIONS, 1024),
    activation_function: or(word, 'gelu'),
    scale_embedding: or(flag, false),
    decoder_start_token_id: or(integer(0, 1 << 24), 2),
    is_encoder_decoder: or(flag, true),
    tie_word_embeddings: or(flag, true),
    dropout: optional(fraction),
    attention_dropout: optional(fraction),
    activation_dropout: optional(fraction),
    classifier_dropout: optional(fraction),
    encoder_layerdrop: optional(fraction),
    decoder_layerdrop: optional(fraction),
  },
  options(hf) {
    const { d_model: hiddenSize, encoder_attention_heads: heads } = hf;
    if (!hf.is_encoder_decoder) refuse('is_encoder_decoder: false', 'a decoder without an encoder');
    if (!hf.tie_word_embeddings) refuse('tie_word_embeddings: false', 'an untied output head');
    // PEFT gives a decoder's prefix as many heads as the encoder has
    if (heads !== hf.decoder_attention_heads)
      refuse(
        `decoder_attention_heads: ${hf.decoder_attention_heads}`,
        `a head count other than encoder_attention_heads, ${heads},`,
      );
    const stack: Omit<z.input<typeof StackOptions>, 'layers' | 'intermediateSize'> = {
      hiddenSize,
      heads,
      kvHeads: heads,
      headDim: hiddenSize / heads,
      norm: 'layer',
      normEps: 1e-5,
      normPlace: 'post',
      embeddingNorm: true,
      activation: activation(hf.activation_function),
      gated: false,
      learnedPositions: true,
      positionOffset: 2,
      maxPositions: hf.max_position_embeddings,
      biases: ['q', 'k', 'v', 'o', 'up', 'down'],
    };
    return {
      vocabSize: hf.vocab_size,
      embeddingScale: hf.scale_embedding ? Math.sqrt(hiddenSize) : 1,
      encoder: {
        ...stack,
        layers: hf.encoder_layers,
        intermediateSize: hf.encoder_ffn_dim,
        attention: 'bidirectional',
      },
      decoder: {
        ...stack,
        layers: hf.decoder_layers,
        intermediateSize: hf.decoder_ffn_dim,
        crossAttention: true,
      },
      tiedHead: true,
      startToken: hf.decoder_start_token_id,
    };
  },
  paths: {
    tokenEmbedding: 'model.shared',
    encoder: stackPaths('encoder'),
    decoder: {
      ...stackPaths('decoder'),
      cross: attentionPaths('decoder', 'encoder_attn'),
    },
    lmHead: 'lm_head',
    logitBias: 'final_logits_bias',
  },
});

/** Returns the paths of a stack with BART's module names in Transformers. */
export function stackPaths(kind: 'encoder' | 'decoder'): StackPaths {
  const layer = (name: string): string => `model.${kind}.layers.{n}.${name}`;
  return {
    positions: `model.${kind}.embed_positions`,
    embeddingNorm: `model.${kind}.layernorm_embedding`,
    attention: attentionPaths(kind, 'self_attn'),
    feedForward: {
      norm: layer('final_layer_norm'),
      up: layer('fc1'),
      down: layer('fc2'),
    },
  };
}

export function attentionPaths(kind: 'encoder' | 'decoder', name: string): StackPaths['attention'] {
  const layer = `model.${kind}.layers.{n}.${name}`;
  return {
    norm: `${layer}_layer_norm`,
    q: `${layer}.q_proj`,
    k: `${layer}.k_proj`,
    v: `${layer}.v_proj`,
    o: `${layer}.out_proj`,
  };
}
