/** Mixtral (arXiv:2401.04088): Mistral with a mixture of experts instead of the dense feed-forward part. */
import { DomainError } from '@graft/contracts';
import { defineModel } from './model.js';
import {
  flag,
  fraction,
  HEADS,
  integer,
  nullable,
  optional,
  or,
  POSITIONS,
} from './frame/hf-config.js';
import type { HfTable } from './frame/hf-config.js';
import { LLAMA_KEYS, llamaDecoder, llamaPaths } from './llama.js';
import type { ModelPaths } from '../nn/outline/model-paths.js';

/**
 * Keys of mixture-of-experts models. output_router_logits adds a load-balancing loss of the router to
 * training.
 */
export const ROUTER_KEYS = {
  num_experts_per_tok: or(HEADS, 2),
  output_router_logits: or(flag, false),
  router_aux_loss_coef: optional(fraction),
} satisfies HfTable;

/** Rejects configs that enable the router's loss. @throws DomainError */
export function refuseRouterLoss({
  output_router_logits: asked,
}: {
  output_router_logits: boolean;
}): void {
  if (!asked) return;
  const message =
    'config.json: output_router_logits: true adds a load-balancing loss, which is not supported; set it to false';
  throw new DomainError('unsupported', message, 'model');
}

const path = (name: string): string => `model.layers.{n}.${name}`;
const { gate: _, up: __, down: ___, ...feedForward } = llamaPaths.decoder.feedForward;

const paths: ModelPaths = {
  ...llamaPaths,
  decoder: {
    ...llamaPaths.decoder,
    feedForward: {
      ...feedForward,
      experts: {
        router: path('mlp.gate'),
        experts: path('mlp.experts'),
        files: {
          router: path('block_sparse_moe.gate'),
          gate: path('block_sparse_moe.experts.{e}.w1'),
          up: path('block_sparse_moe.experts.{e}.w3'),
          down: path('block_sparse_moe.experts.{e}.w2'),
        },
      },
    },
  },
};

export const mixtral = defineModel({
  name: 'mixtral',
  title: 'Mixtral',
  modelTypes: ['mixtral'],
  hf: {
    ...LLAMA_KEYS,
    ...ROUTER_KEYS,
    num_local_experts: or(integer(1, 1024), 8),
    sliding_window: nullable(POSITIONS),
    router_jitter_noise: or(fraction, 0),
  },
  options(config) {
    refuseRouterLoss(config);
    if (config.router_jitter_noise > 0) {
      const message = `config.json: router_jitter_noise ${config.router_jitter_noise} is not supported; set it to 0`;
      throw new DomainError('unsupported', message, 'model');
    }
    const { num_hidden_layers: layers, sliding_window: window = null } = config;
    return {
      vocabSize: config.vocab_size,
      decoder: {
        ...llamaDecoder({ ...config, rope_theta: config.rope_theta ?? 1e6 }),
        windows: Array.from({ length: layers }, () => window),
        experts: {
          count: config.num_local_experts,
          perRow: config.num_experts_per_tok,
          size: config.intermediate_size,
          normalized: true,
          roundsWeights: false,
          layers: Array.from({ length: layers }, () => true),
        },
      },
      tiedHead: config.tie_word_embeddings,
    };
  },
  paths,
});
