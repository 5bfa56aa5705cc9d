/**
 * ModernBERT (arXiv:2412.13663): an encoder with rotary positions and gated feed-forward parts. By default
 * every third layer has full attention and the others a sliding window; each kind has its own rotary base.
 * Task heads start with the hidden layer of the masked-language-model head, which the files contain.
 */
import { DomainError } from '@graft/contracts';
import { shown } from '../data/json-scan.js';
import { defineModel } from './model.js';
import {
  activation,
  EPSILON,
  flag,
  fraction,
  HEADS,
  LAYERS,
  layerRopes,
  layersThatSlide,
  optional,
  or,
  POSITIONS,
  real,
  ROPE_KEYS,
  SIZE,
  VOCABULARY,
  word,
  words,
} from './frame/hf-config.js';
import type { HfValues } from './frame/hf-config.js';
import type { TaskHeadPaths } from '../nn/outline/model-paths.js';

const { rope_theta: _, ...ropeKeys } = ROPE_KEYS;
const hf = {
  vocab_size: or(VOCABULARY, 50368),
  hidden_size: or(SIZE, 768),
  intermediate_size: or(SIZE, 1152),
  num_hidden_layers: or(LAYERS, 22),
  num_attention_heads: or(HEADS, 12),
  hidden_activation: or(word, 'gelu'),
  max_position_embeddings: or(POSITIONS, 8192),
  initializer_range: or(fraction, 0.02),
  norm_eps: or(EPSILON, 1e-5),
  norm_bias: or(flag, false),
  attention_bias: or(flag, false),
  mlp_bias: or(flag, false),
  local_attention: or(POSITIONS, 128),
  layer_types: optional(words),
  global_attn_every_n_layers: or(LAYERS, 3),
  global_rope_theta: or(real(1e12), 160_000),
  local_rope_theta: or(real(1e12), 10_000),
  ...ropeKeys,
  classifier_pooling: or(word, 'cls'),
  classifier_bias: or(flag, false),
  classifier_activation: or(word, 'gelu'),
  classifier_dropout: optional(fraction),
  attention_dropout: optional(fraction),
  embedding_dropout: optional(fraction),
  mlp_dropout: optional(fraction),
};
type Config = HfValues<typeof hf>;

const layer = (name: string): string => `model.layers.{n}.${name}`;

const head = (pool: TaskHeadPaths['pool']): TaskHeadPaths => ({
  pool,
  hidden: { path: 'head.dense', activation: 'gelu', norm: 'head.norm', isStored: true },
  output: 'classifier',
  hasBias: true,
});

export const modernBert = defineModel({
  name: 'modernbert',
  title: 'ModernBERT',
  modelTypes: ['modernbert'],
  hf,
  options(config) {
    const { hidden_size: hiddenSize, num_attention_heads: heads } = config;
    const slides = layersThatSlide(config, (i) => i % config.global_attn_every_n_layers !== 0);
    // a row sees equally many rows before and after it
    const window = Math.floor(config.local_attention / 2) + 1;
    const { rope_scaling, attention_bias: isBiased, mlp_bias: isFeedBiased } = config;
    return {
      vocabSize: config.vocab_size,
      encoder: {
        hiddenSize,
        intermediateSize: config.intermediate_size,
        layers: config.num_hidden_layers,
        heads,
        kvHeads: heads,
        headDim: hiddenSize / heads,
        norm: 'layer',
        normEps: config.norm_eps,
        normBias: config.norm_bias,
        firstNorm: false,
        embeddingNorm: true,
        activation: activation(config.hidden_activation),
        gated: true,
        gateUp: 'concatenated',
        attention: 'bidirectional',
        layerRopes: layerRopes(config, slides, {
          full: { rope_theta: config.global_rope_theta, rope_scaling },
          sliding: { rope_theta: config.local_rope_theta, rope_scaling },
        }),
        windows: slides.map((isSliding) => (isSliding ? window : null)),
        maxPositions: config.max_position_embeddings,
        qkv: 'concatenated',
        biases: [
          ...(isBiased ? (['qkv', 'o'] as const) : []),
          ...(isFeedBiased ? (['gate_up', 'down'] as const) : []),
        ],
      },
      headPool: poolOf(config),
      headBias: config.classifier_bias,
    };
  },
  paths: {
    tokenEmbedding: 'model.embeddings.tok_embeddings',
    encoder: {
      embeddingNorm: 'model.embeddings.norm',
      attention: {
        norm: layer('attn_norm'),
        qkv: layer('attn.Wqkv'),
        o: layer('attn.Wo'),
      },
      feedForward: {
        norm: layer('mlp_norm'),
        up: layer('mlp.Wi'),
        down: layer('mlp.Wo'),
      },
      finalNorm: 'model.final_norm',
    },
    // an nn.Identity, which PEFT cannot adapt
    unread: { inAll: ['model.layers.0.attn_norm'] },
    heads: {
      classification: head('first'),
      token_classification: head('each'),
      span: head('each'),
    },
  },
});

/** Returns the pooling of a classification head. @throws DomainError for unsupported heads */
function poolOf(config: Config): 'first' | 'mean' {
  const refuse = (key: 'classifier_pooling' | 'classifier_activation', known: string): never => {
    const message = `config.json: ${key} ${shown(config[key])} is not supported; supported: ${known}`;
    throw new DomainError('unsupported', message, 'model');
  };
  if (config.classifier_activation !== 'gelu') refuse('classifier_activation', 'gelu');
  if (config.classifier_pooling === 'cls') return 'first';
  return config.classifier_pooling === 'mean' ? 'mean' : refuse('classifier_pooling', 'cls, mean');
}
