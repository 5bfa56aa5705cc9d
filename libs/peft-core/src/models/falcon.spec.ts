import { describe, expect, it } from 'vitest';
import { outlineOf } from './registry.js';

const falcon7b = {
  model_type: 'falcon',
  vocab_size: 65024,
  hidden_size: 4544,
  num_hidden_layers: 32,
  num_attention_heads: 71,
};
const falcon40b = {
  ...falcon7b,
  hidden_size: 8192,
  num_hidden_layers: 60,
  num_attention_heads: 128,
  num_kv_heads: 8,
  new_decoder_architecture: true,
};
const rw1b = {
  ...falcon7b,
  vocab_size: 50304,
  hidden_size: 2048,
  num_hidden_layers: 24,
  num_attention_heads: 32,
  alibi: true,
  bias: true,
  multi_query: false,
  parallel_attn: false,
};
type Config = typeof falcon7b;

function parameters(config: Config): number {
  const outline = outlineOf(config);
  const tied = new Set(outline.tied().map(([head]) => head));
  const own = outline.linears().filter((linear) => !tied.has(linear));
  return [
    ...own.map((l) => l.outFeatures * (l.inFeatures + Number(l.hasBias))),
    ...outline.norms().map((n) => 2 * n.features),
    ...outline.embeddings().map((e) => e.rows * e.columns),
  ].reduce((a, b) => a + b);
}

const firstNorms = (config: Config): string[] =>
  outlineOf(config)
    .norms()
    .filter(({ path }) => path.includes('.h.0.'))
    .map(({ path }) => path.slice('transformer.h.0.'.length));

describe('config.json', () => {
  it('has the parameters of Falcon 7B, 40B and RW-1B', () => {
    expect(parameters(falcon7b)).toBe(6_921_720_704);
    expect(parameters(falcon40b)).toBe(41_303_293_952);
    expect(parameters(rw1b)).toBe(1_311_625_216);
  });

  it('has the norms of each variant', () => {
    expect(firstNorms(falcon7b)).toEqual(['input_layernorm']);
    expect(firstNorms(falcon40b)).toEqual(['ln_attn', 'ln_mlp']);
    const falcon2 = { ...falcon40b, num_ln_in_parallel_attn: 1 };
    expect(firstNorms(falcon2)).toEqual(['input_layernorm']);
    expect(firstNorms(rw1b)).toEqual(['input_layernorm', 'post_attention_layernorm']);
  });

  it('has prefixes with one head, or with as many as queries have', () => {
    const heads = (config: Config) => {
      const { kvHeads, prefixHeads } = outlineOf(config);
      return [kvHeads, prefixHeads];
    };
    expect(heads(falcon7b)).toEqual([1, 1]);
    expect(heads(falcon40b)).toEqual([8, 128]);
    expect(heads(rw1b)).toEqual([32, 32]);
  });

  it.each([
    [
      'two norms in the old architecture',
      { num_ln_in_parallel_attn: 2 },
      /num_ln_in_parallel_attn: 2/,
    ],
    [
      'the new architecture with sequential parts',
      { new_decoder_architecture: true, parallel_attn: false },
      /parallel_attn: false/,
    ],
    ['three norms', { num_ln_in_parallel_attn: 3 }, /must be an integer from 1 to 2, got 3/],
    [
      'a number of key heads that does not divide the heads',
      { ...falcon40b, num_kv_heads: 3 },
      /3 key heads/,
    ],
  ])('rejects %s', (_, changed, message) => {
    expect(() => outlineOf({ ...falcon7b, ...changed })).toThrow(message);
  });
});
