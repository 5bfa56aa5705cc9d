/**
 * BERT (arXiv:1810.04805) and models with its architecture: MiniLM, BGE, E5. An encoder with norms after the
 * residuals, learned positions, and token types that distinguish the two texts of a pair.
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
import type { HfTable, HfValues } from './frame/hf-config.js';
import type { ModelPaths } from '../nn/outline/model-paths.js';

/** Keys of config.json for BERT and related encoders. */
export const BERT_KEYS = {
  vocab_size: required(VOCABULARY),
  hidden_size: required(SIZE),
  num_hidden_layers: required(LAYERS),
  num_attention_heads: required(HEADS),
  intermediate_size: required(SIZE),
  hidden_act: or(word, 'gelu'),
  max_position_embeddings: or(POSITIONS, 512),
  type_vocab_size: or(SIZE, 2),
  layer_norm_eps: or(EPSILON, 1e-12),
  initializer_range: or(fraction, 0.02),
  position_embedding_type: or(word, 'absolute'),
  is_decoder: or(flag, false),
  add_cross_attention: or(flag, false),
  hidden_dropout_prob: optional(fraction),
  attention_probs_dropout_prob: optional(fraction),
  classifier_dropout: optional(fraction),
} satisfies HfTable;

export const bert = defineModel({
  name: 'bert',
  title: 'BERT, MiniLM, BGE, E5',
  modelTypes: ['bert'],
  hf: BERT_KEYS,
  options: (hf) => ({ vocabSize: hf.vocab_size, encoder: bertEncoder(hf) }),
  paths: {
    ...encoderPaths('bert'),
    heads: {
      classification: {
        pool: 'first',
        hidden: { path: 'bert.pooler.dense', activation: 'tanh', isStored: true },
        output: 'classifier',
        hasBias: true,
      },
      token_classification: { pool: 'each', output: 'classifier', hasBias: true },
      span: { pool: 'each', output: 'qa_outputs', hasBias: true },
    },
  },
});

/** Returns the encoder of a config. @throws DomainError for unsupported variants */
export function bertEncoder(hf: HfValues<typeof BERT_KEYS>): z.input<typeof StackOptions> {
  refuseVariants(hf);
  return {
    hiddenSize: hf.hidden_size,
    intermediateSize: hf.intermediate_size,
    layers: hf.num_hidden_layers,
    heads: hf.num_attention_heads,
    kvHeads: hf.num_attention_heads,
    headDim: hf.hidden_size / hf.num_attention_heads,
    norm: 'layer',
    normEps: hf.layer_norm_eps,
    normPlace: 'post',
    embeddingNorm: true,
    activation: activation(hf.hidden_act),
    gated: false,
    attention: 'bidirectional',
    learnedPositions: true,
    maxPositions: hf.max_position_embeddings,
    tokenTypes: hf.type_vocab_size,
    biases: ['q', 'k', 'v', 'o', 'up', 'down'],
  };
}

/** Rejects variants that are not encoders with learned positions. @throws DomainError naming the key */
function refuseVariants(hf: {
  readonly is_decoder: boolean;
  readonly add_cross_attention: boolean;
  readonly position_embedding_type: string;
}): void {
  const refused = [
    ['is_decoder', hf.is_decoder],
    ['add_cross_attention', hf.add_cross_attention],
    ['position_embedding_type', hf.position_embedding_type !== 'absolute'],
  ] as const;
  const [key] = refused.find(([, isSet]) => isSet) ?? [];
  if (key === undefined) return;
  const message = `config.json: ${key} ${String(hf[key])} is not supported; expected an encoder with learned positions`;
  throw new DomainError('unsupported', message, 'model');
}

/**
 * Returns the paths of an encoder with BERT's module names in Transformers.
 * @param prefix name of the backbone
 */
export function encoderPaths(prefix: string): ModelPaths {
  const layer = (name: string): string => `${prefix}.encoder.layer.{n}.${name}`;
  const embeddings = (name: string): string => `${prefix}.embeddings.${name}`;
  return {
    tokenEmbedding: embeddings('word_embeddings'),
    encoder: {
      positions: embeddings('position_embeddings'),
      tokenTypes: embeddings('token_type_embeddings'),
      embeddingNorm: embeddings('LayerNorm'),
      attention: {
        q: layer('attention.self.query'),
        k: layer('attention.self.key'),
        v: layer('attention.self.value'),
        o: layer('attention.output.dense'),
        norm: layer('attention.output.LayerNorm'),
      },
      feedForward: {
        up: layer('intermediate.dense'),
        down: layer('output.dense'),
        norm: layer('output.LayerNorm'),
      },
    },
  };
}
