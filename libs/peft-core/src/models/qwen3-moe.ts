/**
 * Qwen 3 MoE (arXiv:2505.09388). All layers have experts, or every n-th, or all but those in mlp_only_layers.
 */
import { defineModel } from './model.js';
import {
  flag,
  integer,
  layerNumbers,
  nullable,
  optional,
  or,
  POSITIONS,
  SIZE,
} from './frame/hf-config.js';
import { LLAMA_KEYS, llamaDecoder, llamaPaths } from './llama.js';
import { refuseRouterLoss, ROUTER_KEYS } from './mixtral.js';
import type { ModelPaths } from '../nn/outline/model-paths.js';

const path = (name: string): string => `model.layers.{n}.${name}`;

const paths: ModelPaths = {
  ...llamaPaths,
  decoder: {
    ...llamaPaths.decoder,
    feedForward: {
      ...llamaPaths.decoder.feedForward,
      experts: {
        router: path('mlp.gate'),
        experts: path('mlp.experts'),
        files: {
          router: path('mlp.gate'),
          gate: path('mlp.experts.{e}.gate_proj'),
          up: path('mlp.experts.{e}.up_proj'),
          down: path('mlp.experts.{e}.down_proj'),
        },
      },
    },
  },
};

export const qwen3Moe = defineModel({
  name: 'qwen3_moe',
  title: 'Qwen 3 MoE',
  modelTypes: ['qwen3_moe'],
  hf: {
    ...LLAMA_KEYS,
    ...ROUTER_KEYS,
    num_experts_per_tok: or(integer(1, 1024), 8),
    // Transformers 5 writes the second name
    num_experts: optional(integer(0, 1024)),
    num_local_experts: optional(integer(0, 1024)),
    moe_intermediate_size: or(SIZE, 768),
    norm_topk_prob: or(flag, false),
    decoder_sparse_step: or(integer(1, 1000), 1),
    mlp_only_layers: optional(layerNumbers),
    use_sliding_window: or(flag, false),
    sliding_window: nullable(POSITIONS),
  },
  options(config) {
    refuseRouterLoss(config);
    const { num_hidden_layers: layers, mlp_only_layers: dense } = config;
    const count = config.num_experts ?? config.num_local_experts ?? 128;
    const window = config.use_sliding_window ? (config.sliding_window ?? null) : null;
    const isRouted = (layer: number): boolean =>
      count > 0 && !(dense ?? []).includes(layer) && (layer + 1) % config.decoder_sparse_step === 0;
    return {
      vocabSize: config.vocab_size,
      decoder: {
        ...llamaDecoder(config),
        qkNorm: 'head',
        windows: Array.from({ length: layers }, () => window),
        ...(count > 0 && {
          experts: {
            count,
            perRow: config.num_experts_per_tok,
            size: config.moe_intermediate_size,
            normalized: config.norm_topk_prob,
            roundsWeights: true,
            layers: Array.from({ length: layers }, (_, layer) => isRouted(layer)),
          },
        }),
      },
      tiedHead: config.tie_word_embeddings,
    };
  },
  paths,
});
