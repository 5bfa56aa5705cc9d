import { describe, expect, it } from 'vitest';
import { ggmlType } from '../data/gguf/ggml-types.js';
import { ggufModel } from '../io/gguf/gguf-architecture.js';
import type { GgufHeader } from '../data/gguf/gguf-header.js';
import { outlineOf } from './registry.js';

const pythia = {
  model_type: 'gpt_neox',
  vocab_size: 50304,
  hidden_size: 512,
  intermediate_size: 2048,
  num_hidden_layers: 6,
  num_attention_heads: 8,
  max_position_embeddings: 2048,
};

describe('config.json', () => {
  it('has the parameters of Pythia-70M, head included', () => {
    const outline = outlineOf(pythia);
    const sizes = [
      ...outline.linears().map((l) => l.outFeatures * (l.inFeatures + Number(l.hasBias))),
      ...outline.norms().map((n) => 2 * n.features),
      ...outline.embeddings().map((e) => e.rows * e.columns),
    ];
    expect(sizes.reduce((a, b) => a + b)).toBe(70_426_624);
  });

  it.each([
    [
      'a head of an odd number of rotated dimensions',
      { rotary_pct: 0.05 },
      /even number of dimensions, got 3/,
    ],
    ['a fraction above 1', { rotary_pct: 1.5 }, /rotary_pct must be a number from 0 to 1, got 1.5/],
    ['an unknown scaling', { rope_scaling: { type: 'yarn', factor: 2 } }, /rope_type "yarn"/],
    ['a missing size', { hidden_size: null }, /hidden_size is missing/],
  ])('rejects %s', (_, changed, message) => {
    expect(() => outlineOf({ ...pythia, ...changed })).toThrow(message);
  });
});

describe('GGUF', () => {
  const type = ggmlType(0)!;
  const tensor = (name: string, ...shape: number[]) => ({ name, shape, type, offset: 0, bytes: 0 });
  const header = (rotated?: number): GgufHeader => ({
    version: 3,
    metadata: new Map<string, unknown>([
      ['general.architecture', 'gptneox'],
      ['gptneox.attention.head_count', 2],
      ['gptneox.embedding_length', 8],
      ['gptneox.feed_forward_length', 32],
      ['gptneox.context_length', 64],
      ['gptneox.block_count', 1],
      ['gptneox.attention.layer_norm_epsilon', Math.fround(1e-5)],
      ['gptneox.use_parallel_residual', false],
      ...(rotated === undefined ? [] : [['gptneox.rope.dimension_count', rotated] as const]),
    ]) as GgufHeader['metadata'],
    tensors: [
      tensor('token_embd.weight', 10, 8),
      tensor('output.weight', 10, 8),
      tensor('blk.0.attn_qkv.weight', 24, 8),
      tensor('blk.0.attn_qkv.bias', 24),
      tensor('blk.0.ffn_up.weight', 32, 8),
    ],
  });

  it('is converted to config.json', () => {
    expect(ggufModel(header(2)).config).toMatchObject({
      model_type: 'gpt_neox',
      attention_bias: true,
      layer_norm_eps: 1e-5,
      rotary_pct: 0.5,
      use_parallel_residual: false,
      tie_word_embeddings: false,
      vocab_size: 10,
    });
    expect(ggufModel(header()).config['rotary_pct']).toBe(1);
  });

  it("restores the order of each head's query, key and value, which convert_hf_to_gguf.py changes", () => {
    const { weights } = ggufModel(header());
    const path = 'gpt_neox.layers.0.attention.query_key_value';
    for (const part of ['weight', 'bias']) {
      const order = weights.get(`${path}.${part}`)?.order;
      // stored: q of head 0, q of head 1, k of head 0, … with 4 rows each
      expect([0, 3, 4, 8, 12, 16, 23].map((row) => order?.(row))).toEqual([0, 3, 12, 4, 16, 8, 23]);
    }
    expect(weights.get('gpt_neox.layers.0.mlp.dense_h_to_4h.weight')?.order).toBeNull();
  });
});
