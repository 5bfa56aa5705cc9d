import { describe, expect, it } from 'vitest';
import { ggmlType } from '../data/gguf/ggml-types.js';
import { ggufModel } from '../io/gguf/gguf-architecture.js';
import type { GgufHeader } from '../data/gguf/gguf-header.js';
import { outlineOf } from './registry.js';

const mpt7b = {
  model_type: 'mpt',
  vocab_size: 50432,
  d_model: 4096,
  n_layers: 32,
  n_heads: 32,
  expansion_ratio: 4,
  learned_pos_emb: true,
  no_bias: true,
  attn_config: { alibi: true, alibi_bias_max: 8, clip_qkv: null, attn_impl: 'torch', qk_ln: false },
};
const withAttention = (changed: object): object => ({
  attn_config: { ...mpt7b.attn_config, ...changed },
});

describe('config.json', () => {
  it('has the parameters of MPT-7B, and no bias', () => {
    const outline = outlineOf(mpt7b);
    const tied = new Set(outline.tied().map(([head]) => head));
    const linears = outline.linears().filter((linear) => !tied.has(linear));
    const sizes = [
      ...linears.map((l) => l.outFeatures * l.inFeatures),
      ...outline.norms().map((n) => n.features),
      ...outline.embeddings().map((e) => e.rows * e.columns),
    ];
    expect(sizes.reduce((a, b) => a + b)).toBe(6_649_286_656);
    expect([...outline.linears(), ...outline.norms()].filter(({ hasBias }) => hasBias)).toEqual([]);
  });

  it('accepts a config without attn_config', () => {
    const { attn_config: _, ...rest } = mpt7b;
    expect(outlineOf(rest).linears()).toEqual(outlineOf(mpt7b).linears());
  });

  it.each<[string, object]>([
    ['expansion_ratio: 3', { expansion_ratio: 3 }],
    ['no_bias: false', { no_bias: false }],
    ['norm_type: "rmsnorm"', { norm_type: 'rmsnorm' }],
    ['embedding_fraction: 0.5', { embedding_fraction: 0.5 }],
    ['logit_scale: "inv_sqrt_d_model"', { logit_scale: 'inv_sqrt_d_model' }],
    ['attn_type: "multiquery_attention"', withAttention({ attn_type: 'multiquery_attention' })],
    ['prefix_lm: true', withAttention({ prefix_lm: true })],
    ['qk_ln: true', withAttention({ qk_ln: true })],
    ['alibi: false', withAttention({ alibi: false })],
    ['alibi_bias_max: 16', withAttention({ alibi_bias_max: 16 })],
  ])('rejects what Transformers ignores: %s', (named, changed) => {
    expect(() => outlineOf({ ...mpt7b, ...changed })).toThrow(named);
  });

  it.each<[string, object]>([
    ['softmax_scale must be', withAttention({ softmax_scale: '1' })],
    ['attn_config must be an object', { attn_config: [] }],
    ['clipQkv', withAttention({ clip_qkv: -1 })],
  ])('rejects an invalid value: %s', (named, changed) => {
    expect(() => outlineOf({ ...mpt7b, ...changed })).toThrow(named);
  });
});

describe('GGUF', () => {
  const type = ggmlType(0)!;
  const tensor = (name: string, ...shape: number[]) => ({ name, shape, type, offset: 0, bytes: 0 });
  const header = (changed: readonly (readonly [string, unknown])[] = []): GgufHeader => ({
    version: 3,
    metadata: new Map<string, unknown>([
      ['general.architecture', 'mpt'],
      ['mpt.attention.head_count', 2],
      ['mpt.embedding_length', 8],
      ['mpt.feed_forward_length', 32],
      ['mpt.context_length', 64],
      ['mpt.block_count', 1],
      ['mpt.attention.layer_norm_epsilon', Math.fround(1e-5)],
      ['mpt.attention.max_alibi_bias', 8],
      ...changed,
    ]) as GgufHeader['metadata'],
    tensors: [
      tensor('token_embd.weight', 10, 8),
      tensor('output_norm.weight', 8),
      tensor('blk.0.attn_qkv.weight', 24, 8),
      tensor('blk.0.attn_norm.weight', 8),
    ],
  });

  it('is converted to config.json, with rows in the same order', () => {
    const { config, weights } = ggufModel(header([['mpt.attention.clamp_kqv', 6]]));
    expect(config).toMatchObject({
      model_type: 'mpt',
      d_model: 8,
      layer_norm_epsilon: 1e-5,
      max_seq_len: 64,
      n_heads: 2,
      n_layers: 1,
      attn_config: { alibi_bias_max: 8, clip_qkv: 6 },
      tie_word_embeddings: true,
      vocab_size: 10,
    });
    const paths = outlineOf(config);
    const known = [...paths.linears(), ...paths.norms(), ...paths.embeddings()].map((m) => m.path);
    for (const [name, { order }] of weights) {
      expect(known).toContain(name.slice(0, name.lastIndexOf('.')));
      expect(order).toBeNull();
    }
  });

  it.each<[string, string, unknown]>([
    ['attn_type: "grouped_query_attention"', 'mpt.attention.head_count_kv', 1],
    ['alibi_bias_max: 16', 'mpt.attention.max_alibi_bias', 16],
    ['max_alibi_bias must be a positive number, got 0', 'mpt.attention.max_alibi_bias', 0],
  ])('rejects %s', (named, key, value) => {
    expect(() => outlineOf(ggufModel(header([[key, value]])).config)).toThrow(named);
  });
});
