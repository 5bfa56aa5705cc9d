/**
 * OPT (arXiv:2205.01068) and Galactica (2211.09085): learned positions with two table rows before position 0,
 * ReLU, and biases in all layers. Only OPT-350M has norms after each sublayer and embeddings of another
 * width.
 */
import { DomainError } from '@graft/contracts';
import { defineModel } from './model.js';
import {
  activation,
  flag,
  fraction,
  HEADS,
  LAYERS,
  optional,
  or,
  POSITIONS,
  SIZE,
  VOCABULARY,
  word,
} from './frame/hf-config.js';

const path = (name: string): string => `model.decoder.layers.{n}.${name}`;

export const opt = defineModel({
  name: 'opt',
  title: 'OPT, Galactica',
  modelTypes: ['opt'],
  hf: {
    vocab_size: or(VOCABULARY, 50272),
    hidden_size: or(SIZE, 768),
    ffn_dim: or(SIZE, 3072),
    num_hidden_layers: or(LAYERS, 12),
    num_attention_heads: or(HEADS, 12),
    max_position_embeddings: or(POSITIONS, 2048),
    word_embed_proj_dim: optional(SIZE),
    do_layer_norm_before: or(flag, true),
    _remove_final_layer_norm: or(flag, false),
    layer_norm_elementwise_affine: or(flag, true),
    activation_function: or(word, 'relu'),
    enable_bias: or(flag, true),
    tie_word_embeddings: or(flag, true),
    dropout: optional(fraction),
    attention_dropout: optional(fraction),
    layerdrop: optional(fraction),
  },
  options(hf) {
    const { hidden_size: hiddenSize, num_attention_heads: heads } = hf;
    if (hf._remove_final_layer_norm) refuse('_remove_final_layer_norm', true);
    if (!hf.layer_norm_elementwise_affine) refuse('layer_norm_elementwise_affine', false);
    return {
      vocabSize: hf.vocab_size,
      decoder: {
        hiddenSize,
        embeddingSize: hf.word_embed_proj_dim ?? hiddenSize,
        intermediateSize: hf.ffn_dim,
        layers: hf.num_hidden_layers,
        heads,
        kvHeads: heads,
        headDim: hiddenSize / heads,
        norm: 'layer',
        normEps: 1e-5,
        normPlace: hf.do_layer_norm_before ? 'pre' : 'post',
        activation: activation(hf.activation_function),
        gated: false,
        learnedPositions: true,
        positionOffset: 2,
        maxPositions: hf.max_position_embeddings,
        biases: hf.enable_bias ? ['q', 'k', 'v', 'o', 'up', 'down'] : [],
      },
      tiedHead: hf.tie_word_embeddings,
    };
  },
  paths: {
    tokenEmbedding: 'model.decoder.embed_tokens',
    decoder: {
      positions: 'model.decoder.embed_positions',
      projectIn: 'model.decoder.project_in',
      projectOut: 'model.decoder.project_out',
      attention: {
        norm: path('self_attn_layer_norm'),
        q: path('self_attn.q_proj'),
        k: path('self_attn.k_proj'),
        v: path('self_attn.v_proj'),
        o: path('self_attn.out_proj'),
      },
      feedForward: {
        norm: path('final_layer_norm'),
        up: path('fc1'),
        down: path('fc2'),
      },
      finalNorm: 'model.decoder.final_layer_norm',
    },
    lmHead: 'lm_head',
  },
});

function refuse(key: string, value: boolean): never {
  const message = `config.json: ${key}: ${value} is not supported`;
  throw new DomainError('unsupported', message, 'model');
}
