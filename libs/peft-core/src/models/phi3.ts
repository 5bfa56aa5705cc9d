/**
 * Phi-3 (arXiv:2404.14219), Phi-3.5 and Phi-4 (2412.08905), Phi-4-mini (2503.01743): LLaMA with one matrix
 * for query, key and value, another for gate and up, and heads that may be rotated in part.
 *
 * Long variants (LongRoPE) have one set of factors for sequences up to the original context length, and
 * another for all rows of longer sequences (nn/layers/rope.ts).
 */
import { DomainError } from '@graft/contracts';
import { shown } from '../data/json-scan.js';
import { defineModel } from './model.js';
import { EPSILON, fraction, optional, or, POSITIONS, ropeOptions } from './frame/hf-config.js';
import type { HfValues } from './frame/hf-config.js';
import { LLAMA_KEYS, llamaDecoder, llamaPaths } from './llama.js';

const { attention_bias: _, mlp_bias: __, ...keys } = LLAMA_KEYS;
const hf = {
  ...keys,
  max_position_embeddings: or(POSITIONS, 4096),
  original_max_position_embeddings: or(POSITIONS, 4096),
  rms_norm_eps: or(EPSILON, 1e-5),
  sliding_window: optional(POSITIONS),
  partial_rotary_factor: or(fraction, 1),
  resid_pdrop: optional(fraction),
  embd_pdrop: optional(fraction),
};
type Config = HfValues<typeof hf>;

const path = (name: string): string => `model.layers.{n}.${name}`;

export const phi3 = defineModel({
  name: 'phi3',
  title: 'Phi-3, Phi-3.5, Phi-4',
  modelTypes: ['phi3'],
  hasOwnCode: true,
  hf,
  options(config) {
    const rope = ropeOf(config);
    const { rope: _, ...decoder } = llamaDecoder({
      ...config,
      attention_bias: false,
      mlp_bias: false,
      rope_scaling: null,
      rope_parameters: null,
    });
    const { max_position_embeddings: maxPositions } = config;
    return {
      vocabSize: config.vocab_size,
      decoder: {
        ...decoder,
        rope,
        rotaryDim: Math.floor(decoder.headDim * rotatedFraction(config)),
        maxPositions,
        ...(rope.rope_type === 'longrope' && {
          defaultMaxSeqLen: Math.min(maxPositions, rope.original_max_position_embeddings),
        }),
        windows: Array.from({ length: decoder.layers }, () => config.sliding_window),
        qkv: 'concatenated',
        gateUp: 'concatenated',
      },
      tiedHead: config.tie_word_embeddings,
    };
  },
  paths: {
    ...llamaPaths,
    decoder: {
      ...llamaPaths.decoder,
      attention: {
        norm: path('input_layernorm'),
        qkv: path('self_attn.qkv_proj'),
        o: path('self_attn.o_proj'),
      },
      feedForward: {
        norm: path('post_attention_layernorm'),
        up: path('mlp.gate_up_proj'),
        down: path('mlp.down_proj'),
      },
    },
  },
});

function rotatedFraction({ rope_scaling: old, rope_parameters: given, ...config }: Config): number {
  const found = given?.['partial_rotary_factor'] ?? old?.['partial_rotary_factor'];
  if (found === undefined || found === null) return config.partial_rotary_factor;
  if (fraction.check(found) === null) return found as number;
  const message = `config.json: partial_rotary_factor must be a number from 0 to 1, got ${shown(found)}`;
  throw new DomainError('invalid_model', message, 'model');
}

function ropeOf(config: Config): ReturnType<typeof ropeOptions> {
  const { rope_scaling: old, rope_parameters: parameters } = config;
  const given: Readonly<Record<string, unknown>> = { ...old, ...parameters };
  const type = given['rope_type'] ?? given['type'] ?? 'default';
  if (!['longrope', 'su', 'yarn'].includes(String(type))) return ropeOptions(config);
  const { max_position_embeddings: most, original_max_position_embeddings: original } = config;
  const factor = Number(given['factor'] ?? most / original);
  const slowed = factor > 1 ? Math.sqrt(1 + Math.log(factor) / Math.log(original)) : 1;
  return {
    rope_type: 'longrope',
    rope_theta: Number(given['rope_theta'] ?? config.rope_theta ?? 10_000),
    short_factor: given['short_factor'] as number[],
    long_factor: given['long_factor'] as number[],
    original_max_position_embeddings: original,
    attention_factor: Number(given['attention_factor'] ?? slowed),
  };
}
