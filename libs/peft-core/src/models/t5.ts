/**
 * T5 (arXiv:1910.10683), v1.1 and Flan-T5 (2210.11416): an encoder and a decoder with cross-attention and
 * learned relative biases of scores, which are not divided by √d. The first version ties its head to the
 * embedding and scales the head's input. Later versions have a gate, and their own head if the files contain
 * one.
 */
import { DomainError } from '@graft/contracts';
import type { z } from 'zod';
import type { StackOptions } from '../nn/outline/stack-options.js';
import { defineModel } from './model.js';
import {
  activation,
  EPSILON,
  flag,
  fraction,
  HEAD_SIZE,
  HEADS,
  integer,
  LAYERS,
  optional,
  or,
  POSITIONS,
  required,
  SIZE,
  VOCABULARY,
  word,
} from './frame/hf-config.js';
import type { StackPaths } from '../nn/outline/model-paths.js';

/**
 * Distances beyond the largest bucket are equal, so the architecture has no maximum length. This limits what
 * a job may request. Without a fused kernel, memory of biased scores grows with the square of the length, so
 * the default is lower.
 */
const MAX_POSITIONS = 16_384;

export const t5 = defineModel({
  name: 't5',
  title: 'T5, T5 v1.1, Flan-T5',
  modelTypes: ['t5'],
  hf: {
    vocab_size: required(VOCABULARY),
    d_model: required(SIZE),
    d_kv: or(HEAD_SIZE, 64),
    d_ff: required(SIZE),
    num_layers: required(LAYERS),
    num_decoder_layers: optional(LAYERS),
    num_heads: required(HEADS),
    // pretraining length
    n_positions: or(POSITIONS, 512),
    relative_attention_num_buckets: or(integer(4, 4096), 32),
    relative_attention_max_distance: or(integer(4, 1 << 20), 128),
    layer_norm_epsilon: or(EPSILON, 1e-6),
    feed_forward_proj: or(word, 'relu'),
    decoder_start_token_id: optional(integer(0, 1 << 24)),
    pad_token_id: optional(integer(0, 1 << 24)),
    tie_word_embeddings: or(flag, true),
    // Transformers 5 always sets tie_word_embeddings to true, even if the files contain another value; this key says
    // whether the head's input is scaled
    scale_decoder_outputs: optional(flag),
    dropout_rate: optional(fraction),
  },
  options(hf) {
    const { gated, name } = feedForward(hf.feed_forward_proj);
    const isFirst = hf.scale_decoder_outputs ?? hf.tie_word_embeddings;
    const stack: Omit<z.input<typeof StackOptions>, 'layers'> = {
      hiddenSize: hf.d_model,
      intermediateSize: hf.d_ff,
      heads: hf.num_heads,
      kvHeads: hf.num_heads,
      headDim: hf.d_kv,
      norm: 'rms',
      normEps: hf.layer_norm_epsilon,
      activation: activation(name),
      gated,
      bias: {
        kind: 'relative',
        buckets: hf.relative_attention_num_buckets,
        maxDistance: hf.relative_attention_max_distance,
      },
      attentionScale: 1,
      maxPositions: MAX_POSITIONS,
      defaultMaxSeqLen: Math.min(hf.n_positions, MAX_POSITIONS),
      biases: [],
    };
    return {
      vocabSize: hf.vocab_size,
      encoder: { ...stack, layers: hf.num_layers, attention: 'bidirectional' },
      decoder: { ...stack, layers: hf.num_decoder_layers ?? hf.num_layers, crossAttention: true },
      tiedHead: isFirst,
      // Transformers 5 creates v1.1 models with a tied head; other files contain a head
      tiesMissingHead: true,
      headScale: isFirst ? hf.d_model ** -0.5 : 1,
      startToken: hf.decoder_start_token_id ?? hf.pad_token_id ?? 0,
    };
  },
  paths: {
    tokenEmbedding: 'shared',
    encoder: stackPaths('encoder', 1),
    decoder: {
      ...stackPaths('decoder', 2),
      cross: attentionPaths('decoder.block.{n}.layer.1', 'EncDecAttention'),
    },
    lmHead: 'lm_head',
  },
});

/** Parses feed_forward_proj: 'gated-gelu' is gated, with Transformers' name of the activation. */
function feedForward(kind: string): { gated: boolean; name: string } {
  const found = /^(gated-)?([a-z_]+)$/.exec(kind);
  const [, gate, name = ''] = found ?? [];
  if (!found) {
    const message = `config.json: feed_forward_proj "${kind}" is not supported; expected an activation or gated- followed by one`;
    throw new DomainError('unsupported', message, 'model');
  }
  // published configs say gelu but mean the tanh approximation
  return { gated: gate !== undefined, name: kind === 'gated-gelu' ? 'gelu_new' : name };
}

function stackPaths(kind: 'encoder' | 'decoder', last: number): StackPaths {
  const block = `${kind}.block.{n}.layer`;
  const dense = `${block}.${last}.DenseReluDense`;
  return {
    bias: `${kind}.block.0.layer.0.SelfAttention.relative_attention_bias`,
    attention: attentionPaths(`${block}.0`, 'SelfAttention'),
    feedForward: {
      norm: `${block}.${last}.layer_norm`,
      gate: `${dense}.wi_0`,
      up: `${dense}.wi_1`,
      ungatedUp: `${dense}.wi`,
      down: `${dense}.wo`,
    },
    finalNorm: `${kind}.final_layer_norm`,
  };
}

function attentionPaths(layer: string, name: string): StackPaths['attention'] {
  const each = (part: string): string => `${layer}.${name}.${part}`;
  return { norm: `${layer}.layer_norm`, q: each('q'), k: each('k'), v: each('v'), o: each('o') };
}
