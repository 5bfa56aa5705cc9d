import { describe, expect, it } from 'vitest';
import { outlineOf } from './registry.js';

/** Config of Granite 3.0 2B. */
const granite2b = {
  model_type: 'granite',
  vocab_size: 49_155,
  hidden_size: 2048,
  intermediate_size: 8192,
  num_hidden_layers: 40,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  embedding_multiplier: 12,
  attention_multiplier: 0.015625,
  residual_multiplier: 0.22,
  logits_scaling: 8,
  tie_word_embeddings: true,
};

describe('config.json', () => {
  it('has the parameters of Granite 3.0 2B', () => {
    const outline = outlineOf(granite2b);
    const tied = new Set(outline.tied().map(([head]) => head));
    const sizes = [
      ...outline
        .linears()
        .filter((linear) => !tied.has(linear))
        .map(({ inFeatures, outFeatures }) => outFeatures * inFeatures),
      ...outline.norms().map(({ features }) => features),
      ...outline.embeddings().map(({ rows, columns }) => rows * columns),
    ];
    expect(sizes.reduce((a, b) => a + b)).toBe(2_533_531_648);
  });

  it.each([
    'embedding_multiplier',
    'attention_multiplier',
    'residual_multiplier',
    'logits_scaling',
  ])('rejects a %s of 0', (key) => {
    expect(() => outlineOf({ ...granite2b, [key]: 0 })).toThrow(
      `config.json: ${key} must be a number above 0, at most 1000000, got 0`,
    );
  });
});
