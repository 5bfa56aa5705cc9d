import { describe, expect, it } from 'vitest';
import { ggmlType } from '../data/gguf/ggml-types.js';
import { ggufModel } from '../io/gguf/gguf-architecture.js';
import { ggufTokenizer } from '../data/gguf/gguf-tokenizer.js';
import type { GgufHeader } from '../data/gguf/gguf-header.js';
import { outlineOf } from './registry.js';

const bloom560m = {
  model_type: 'bloom',
  vocab_size: 250880,
  hidden_size: 1024,
  n_layer: 24,
  n_head: 16,
  seq_length: 2048,
};

describe('config.json', () => {
  it('has the parameters of BLOOM-560M', () => {
    const outline = outlineOf(bloom560m);
    const tied = new Set(outline.tied().map(([head]) => head));
    const sizes = [
      ...outline
        .linears()
        .filter((l) => !tied.has(l))
        .map((l) => l.outFeatures * (l.inFeatures + Number(l.hasBias))),
      ...outline.norms().map((n) => 2 * n.features),
      ...outline.embeddings().map((e) => e.rows * e.columns),
    ];
    expect(sizes.reduce((a, b) => a + b)).toBe(559_214_592);
  });

  it('accepts the key names of all versions', () => {
    const { hidden_size: n_embed, n_layer, n_head, ...rest } = bloom560m;
    const other = { ...rest, n_embed, num_hidden_layers: n_layer, num_attention_heads: n_head };
    expect(outlineOf(other).linears()).toEqual(outlineOf(bloom560m).linears());
  });

  it('has no maximum length', () => {
    const { maxPositions, defaultMaxSeqLen } = outlineOf(bloom560m);
    expect([maxPositions, defaultMaxSeqLen]).toEqual([16_384, 2048]);
  });

  it.each([
    [
      'a normed residual',
      { apply_residual_connection_post_layernorm: true },
      /apply_residual_connection_post_layernorm/,
    ],
    ['no number of heads', { n_head: null }, /n_head or num_attention_heads is missing/],
    ['heads that do not divide the size', { n_head: 7 }, /headDim/],
  ])('rejects %s', (_, changed, message) => {
    expect(() => outlineOf({ ...bloom560m, ...changed })).toThrow(message);
  });
});

describe('GGUF', () => {
  const type = ggmlType(0)!;
  const tensor = (name: string, ...shape: number[]) => ({ name, shape, type, offset: 0, bytes: 0 });
  const header: GgufHeader = {
    version: 3,
    metadata: new Map<string, unknown>([
      ['general.architecture', 'bloom'],
      ['bloom.attention.head_count', 2],
      ['bloom.attention.head_count_kv', 2],
      ['bloom.embedding_length', 8],
      ['bloom.feed_forward_length', 32],
      ['bloom.context_length', 64],
      ['bloom.block_count', 1],
      ['bloom.attention.layer_norm_epsilon', Math.fround(1e-5)],
    ]) as GgufHeader['metadata'],
    tensors: [
      tensor('token_embd.weight', 10, 8),
      tensor('token_embd_norm.bias', 8),
      tensor('blk.0.attn_qkv.weight', 24, 8),
      tensor('blk.0.attn_qkv.bias', 24),
      tensor('blk.0.attn_norm.weight', 8),
    ],
  };

  it('is converted to config.json', () => {
    const { config, weights } = ggufModel(header);
    expect(config).toMatchObject({
      model_type: 'bloom',
      hidden_size: 8,
      layer_norm_epsilon: 1e-5,
      n_head: 2,
      n_layer: 1,
      seq_length: 64,
      tie_word_embeddings: true,
      vocab_size: 10,
    });
    const paths = outlineOf(config);
    const known = [...paths.linears(), ...paths.norms(), ...paths.embeddings()].map((m) => m.path);
    for (const name of weights.keys())
      expect(known).toContain(name.slice(0, name.lastIndexOf('.')));
  });

  it('uses the pre-tokenizer of BLOOM if the file names none', () => {
    const metadata = new Map([
      ...header.metadata,
      ['tokenizer.ggml.model', 'gpt2'],
      ['tokenizer.ggml.tokens', ['a', '1']],
      ['tokenizer.ggml.merges', []],
    ]) as GgufHeader['metadata'];
    const { tokenizerJson } = ggufTokenizer({ ...header, metadata });
    const { pre_tokenizer: cut } = JSON.parse(tokenizerJson);
    expect(cut.pretokenizers[0].pattern.Regex).toBe(' ?[^(\\s|[.,!?…。，、।۔،])]+');
  });

  it("restores the order of each head's query, key and value", () => {
    const { weights } = ggufModel(header);
    for (const part of ['weight', 'bias']) {
      const order = weights.get(`transformer.h.0.self_attention.query_key_value.${part}`)?.order;
      expect([0, 4, 8, 12, 16, 23].map((row) => order?.(row))).toEqual([0, 12, 4, 16, 8, 23]);
    }
  });
});
