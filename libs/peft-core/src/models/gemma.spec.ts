import { describe, expect, it } from 'vitest';
import { ggmlType } from '../data/gguf/ggml-types.js';
import { ggufModel } from '../io/gguf/gguf-architecture.js';
import type { GgufHeader } from '../data/gguf/gguf-header.js';
import { outlineOf } from './registry.js';

/** Returns the number of parameters. Tied parameters count once. */
function size(config: Parameters<typeof outlineOf>[0]): number {
  const outline = outlineOf(config);
  const tied = new Set(outline.tied().map(([head]) => head));
  const sizes = [
    ...outline
      .linears()
      .filter((linear) => !tied.has(linear))
      .map(({ inFeatures, outFeatures, hasBias }) => outFeatures * (inFeatures + Number(hasBias))),
    ...outline.norms().map(({ features }) => features),
    ...outline.embeddings().map(({ rows, columns }) => rows * columns),
  ];
  return sizes.reduce((a, b) => a + b);
}

const gemma2b = {
  model_type: 'gemma',
  vocab_size: 256000,
  hidden_size: 2048,
  intermediate_size: 16384,
  num_hidden_layers: 18,
  num_attention_heads: 8,
  num_key_value_heads: 1,
  head_dim: 256,
};
const gemma2 = {
  model_type: 'gemma2',
  vocab_size: 256000,
  hidden_size: 2304,
  intermediate_size: 9216,
  num_hidden_layers: 26,
  num_attention_heads: 8,
  num_key_value_heads: 4,
};
/** Config on the Hub, written by Transformers 4. */
const gemma3 = {
  model_type: 'gemma3_text',
  vocab_size: 262144,
  hidden_size: 1152,
  intermediate_size: 6912,
  num_hidden_layers: 26,
  num_attention_heads: 4,
  num_key_value_heads: 1,
  head_dim: 256,
  attn_logit_softcapping: null,
  final_logit_softcapping: null,
  rope_theta: 1_000_000,
  rope_local_base_freq: 10_000,
  rope_scaling: null,
  sliding_window: 512,
  sliding_window_pattern: 6,
};

it.each([
  ['Gemma 2B', gemma2b, 2_506_172_416],
  ['Gemma 2 2B', gemma2, 2_614_341_888],
  ['Gemma 3 1B', gemma3, 999_885_952],
  [
    'Gemma 3 270M',
    { ...gemma3, hidden_size: 640, intermediate_size: 2048, num_hidden_layers: 18 },
    268_098_176,
  ],
])('%s has its parameters', (_, config, parameters) => {
  expect(size(config)).toBe(parameters);
});

describe('config.json', () => {
  it.each([
    [
      'bidirectional attention',
      { ...gemma2b, use_bidirectional_attention: true },
      /use_bidirectional_attention: true is not supported/,
    ],
    [
      'no number of key heads',
      { ...gemma2, num_key_value_heads: null },
      /num_key_value_heads is missing/,
    ],
    [
      'an unknown layer type',
      { ...gemma2, layer_types: Array(26).fill('chunked_attention') },
      /layer_types has "chunked_attention"; supported: sliding_attention, full_attention/,
    ],
    [
      'too few layer types',
      { ...gemma2, layer_types: ['full_attention'] },
      /windows: 26 layers need as many entries, got 1/,
    ],
    [
      'a cap that transformers does not apply',
      { ...gemma3, attn_logit_softcapping: 50 },
      /attn_logit_softcapping is not supported for gemma3_text, got 50/,
    ],
    [
      'one set of rotary options for a version with two',
      { ...gemma3, rope_parameters: { rope_type: 'default', rope_theta: 10_000 } },
      /rope_parameters has "rope_type"; expected full_attention and sliding_attention/,
    ],
    [
      'invalid rotary options',
      { ...gemma3, rope_parameters: { full_attention: 3 } },
      /rope_parameters.full_attention must be an object, got 3/,
    ],
    [
      'an unknown scaling',
      { ...gemma3, rope_scaling: { rope_type: 'dynamic', factor: 2 } },
      /rope_type "dynamic"/,
    ],
  ])('rejects %s', (_, config, message) => {
    expect(() => outlineOf(config)).toThrow(message);
  });
});

describe('GGUF', () => {
  const type = ggmlType(0)!;
  const tensor = (name: string, ...shape: number[]) => ({ name, shape, type, offset: 0, bytes: 0 });
  const header = (architecture: string, layers: number, more: object = {}): GgufHeader => ({
    version: 3,
    metadata: new Map<string, unknown>([
      ['general.architecture', architecture],
      ...Object.entries({
        'attention.head_count': 32,
        'attention.head_count_kv': 16,
        'attention.key_length': 128,
        'attention.layer_norm_rms_epsilon': Math.fround(1e-6),
        'attention.sliding_window': 1024,
        block_count: layers,
        context_length: 8192,
        embedding_length: 5376,
        feed_forward_length: 21504,
        'rope.freq_base': 1e6,
        ...more,
      }).map(([key, value]) => [`${architecture}.${key}`, value] as const),
    ]) as GgufHeader['metadata'],
    tensors: [
      tensor('token_embd.weight', 10, 8),
      tensor('blk.0.attn_q.weight', 8, 8),
      tensor('blk.0.post_ffw_norm.weight', 8),
    ],
  });

  it('is converted to config.json', () => {
    const scaled = { 'rope.scaling.type': 'linear', 'rope.scaling.factor': 8 };
    expect(ggufModel(header('gemma3', 48, scaled)).config).toMatchObject({
      model_type: 'gemma3_text',
      query_pre_attn_scalar: 128,
      sliding_window: 1024,
      sliding_window_pattern: 6,
      rope_theta: 1e6,
      rope_local_base_freq: 10_000,
      rope_scaling: { rope_type: 'linear', factor: 8 },
      tie_word_embeddings: true,
      vocab_size: 10,
    });
    expect(ggufModel(header('gemma2', 42)).config).toMatchObject({
      model_type: 'gemma2',
      attn_logit_softcapping: 50,
      final_logit_softcapping: 30,
    });
  });

  it.each([
    ['gemma2', 46],
    ['gemma3', 62],
  ])('derives the score scale of the 27B model of %s', (architecture, layers) => {
    expect(ggufModel(header(architecture, layers)).config['query_pre_attn_scalar']).toBe(168);
  });

  it('subtracts the 1 that llama.cpp adds to norms', () => {
    const { weights } = ggufModel(header('gemma3', 48));
    expect(weights.get('model.layers.0.post_feedforward_layernorm.weight')?.shift).toBe(1);
    expect(weights.get('model.layers.0.self_attn.q_proj.weight')?.shift).toBe(0);
  });
});
