/**
 * ALBERT (arXiv:1909.11942): BERT with parameters shared by all layers, or by those of a group. Embeddings of
 * tokens, positions and types are narrower than the layers; an input projection widens them. An adapter of a
 * linear layer acts in each layer that shares it.
 */
import { DomainError } from '@graft/contracts';
import { defineModel } from './model.js';
import { BERT_KEYS, bertEncoder } from './bert.js';
import { fraction, LAYERS, optional, or, required, SIZE, word } from './frame/hf-config.js';
import type { HfValues } from './frame/hf-config.js';

const hf = {
  ...BERT_KEYS,
  embedding_size: or(SIZE, 128),
  hidden_act: or(word, 'gelu_new'),
  num_hidden_groups: or(LAYERS, 1),
  inner_group_num: or(LAYERS, 1),
  num_hidden_layers: required(LAYERS),
  classifier_dropout_prob: optional(fraction),
};

const embeddings = (name: string): string => `albert.embeddings.${name}`;
const layer = (name: string): string => `albert.encoder.albert_layer_groups.{n}.${name}`;

export const albert = defineModel({
  name: 'albert',
  title: 'ALBERT',
  modelTypes: ['albert'],
  hf,
  options(config) {
    const blocks = blocksOf(config);
    const encoder = bertEncoder(config);
    return {
      vocabSize: config.vocab_size,
      encoder: {
        ...encoder,
        embeddingSize: config.embedding_size,
        projectionInput: 'embedded',
        layers: blocks.length,
        blocks,
        biases: [...encoder.biases, 'projectIn'],
      },
    };
  },
  paths: {
    tokenEmbedding: embeddings('word_embeddings'),
    encoder: {
      positions: embeddings('position_embeddings'),
      tokenTypes: embeddings('token_type_embeddings'),
      embeddingNorm: embeddings('LayerNorm'),
      projectIn: 'albert.encoder.embedding_hidden_mapping_in',
      attention: {
        q: layer('attention.query'),
        k: layer('attention.key'),
        v: layer('attention.value'),
        o: layer('attention.dense'),
        norm: layer('attention.LayerNorm'),
      },
      feedForward: {
        up: layer('ffn'),
        down: layer('ffn_output'),
        norm: layer('full_layer_layer_norm'),
      },
    },
    heads: {
      classification: {
        pool: 'first',
        hidden: { path: 'albert.pooler', activation: 'tanh', isStored: true },
        output: 'classifier',
        hasBias: true,
      },
      token_classification: { pool: 'each', output: 'classifier', hasBias: true },
      span: { pool: 'each', output: 'qa_outputs', hasBias: true },
    },
  },
});

/** Returns the block of each layer. A layer of config.json runs all layers of its group's list in order. */
function blocksOf(config: HfValues<typeof hf>): string[] {
  const { num_hidden_layers: layers, num_hidden_groups: groups, inner_group_num: inner } = config;
  if (groups > layers) {
    const message = `config.json: num_hidden_groups must be at most num_hidden_layers, ${layers}, got ${groups}`;
    throw new DomainError('invalid_model', message, 'model');
  }
  return Array.from({ length: layers }, (_, i) => Math.floor(i / (layers / groups))).flatMap(
    (group) => Array.from({ length: inner }, (_, n) => `${group}.albert_layers.${n}`),
  );
}
