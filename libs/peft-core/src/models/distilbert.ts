/**
 * DistilBERT (arXiv:1910.01108): half of BERT's blocks, without token types and pooler. The position table is
 * learned or sinusoidal.
 */
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
  required,
  SIZE,
  VOCABULARY,
  word,
} from './frame/hf-config.js';

const embeddings = (name: string): string => `distilbert.embeddings.${name}`;
const layer = (name: string): string => `distilbert.transformer.layer.{n}.${name}`;

export const distilBert = defineModel({
  name: 'distilbert',
  title: 'DistilBERT',
  modelTypes: ['distilbert'],
  hf: {
    vocab_size: required(VOCABULARY),
    dim: required(SIZE),
    n_layers: required(LAYERS),
    n_heads: required(HEADS),
    hidden_dim: required(SIZE),
    activation: or(word, 'gelu'),
    max_position_embeddings: or(POSITIONS, 512),
    initializer_range: or(fraction, 0.02),
    sinusoidal_pos_embds: or(flag, false),
    dropout: optional(fraction),
    attention_dropout: optional(fraction),
    qa_dropout: optional(fraction),
    seq_classif_dropout: optional(fraction),
  },
  options: (hf) => ({
    vocabSize: hf.vocab_size,
    encoder: {
      hiddenSize: hf.dim,
      intermediateSize: hf.hidden_dim,
      layers: hf.n_layers,
      heads: hf.n_heads,
      kvHeads: hf.n_heads,
      headDim: hf.dim / hf.n_heads,
      norm: 'layer',
      normEps: 1e-12,
      normPlace: 'post',
      embeddingNorm: true,
      activation: activation(hf.activation),
      gated: false,
      attention: 'bidirectional',
      learnedPositions: true,
      maxPositions: hf.max_position_embeddings,
      biases: ['q', 'k', 'v', 'o', 'up', 'down'],
    },
  }),
  paths: {
    tokenEmbedding: embeddings('word_embeddings'),
    encoder: {
      positions: embeddings('position_embeddings'),
      embeddingNorm: embeddings('LayerNorm'),
      attention: {
        q: layer('attention.q_lin'),
        k: layer('attention.k_lin'),
        v: layer('attention.v_lin'),
        o: layer('attention.out_lin'),
        norm: layer('sa_layer_norm'),
      },
      feedForward: {
        up: layer('ffn.lin1'),
        down: layer('ffn.lin2'),
        norm: layer('output_layer_norm'),
      },
    },
    heads: {
      classification: {
        pool: 'first',
        hidden: { path: 'pre_classifier', activation: 'relu', isStored: false },
        output: 'classifier',
        hasBias: true,
      },
      token_classification: { pool: 'each', output: 'classifier', hasBias: true },
      span: { pool: 'each', output: 'qa_outputs', hasBias: true },
    },
  },
});
