import { expect, it } from 'vitest';
import { outlineOf } from './registry.js';

it('has the parameters of OLMo 2 1B, with queries and keys normed as rows', () => {
  const outline = outlineOf({
    model_type: 'olmo2',
    vocab_size: 100_352,
    hidden_size: 2048,
    intermediate_size: 8192,
    num_hidden_layers: 16,
    num_attention_heads: 16,
    num_key_value_heads: 16,
  });
  const sizes = [
    ...outline.linears().map(({ inFeatures, outFeatures }) => outFeatures * inFeatures),
    ...outline.norms().map(({ features }) => features),
    ...outline.embeddings().map(({ rows, columns }) => rows * columns),
  ];
  expect(sizes.reduce((a, b) => a + b)).toBe(1_484_916_736);
  expect(
    outline
      .norms()
      .map(({ path }) => path.replace(/^model\./, ''))
      .slice(0, 5),
  ).toEqual([
    'layers.0.post_attention_layernorm',
    'layers.0.self_attn.q_norm',
    'layers.0.self_attn.k_norm',
    'layers.0.post_feedforward_layernorm',
    'layers.1.post_attention_layernorm',
  ]);
});
