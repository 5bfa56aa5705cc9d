import { describe, expect, it } from 'vitest';
import { ModelOptions } from '../nn/outline/stack-options.js';
import { readHf } from './frame/hf-config.js';
import type { HfConfig } from '../nn/hf-files.js';
import { outlineOf } from './registry.js';
import { smollm3 } from './smollm3.js';

const published = {
  model_type: 'smollm3',
  vocab_size: 128_256,
  hidden_size: 2048,
  intermediate_size: 11_008,
  num_hidden_layers: 36,
  num_attention_heads: 16,
  num_key_value_heads: 4,
  rope_theta: 5_000_000,
};
const decoderOf = (config: HfConfig) =>
  ModelOptions.parse(smollm3.options(readHf(config, smollm3.hf), 'smollm3')).decoder;
const small = { ...published, num_hidden_layers: 5 };

describe('config.json', () => {
  it('has the parameters of SmolLM3-3B', () => {
    const outline = outlineOf(published);
    const tied = new Set(outline.tied().map(([head]) => head));
    const sizes = [
      ...outline
        .linears()
        .filter((linear) => !tied.has(linear))
        .map(({ inFeatures, outFeatures }) => outFeatures * inFeatures),
      ...outline.norms().map(({ features }) => features),
      ...outline.embeddings().map(({ rows, columns }) => rows * columns),
    ];
    expect(sizes.reduce((a, b) => a + b)).toBe(3_075_098_624);
  });

  it('rotates all layers except every fourth', () => {
    const ropes = decoderOf(small)?.layerRopes;
    expect(ropes?.map((rope) => rope?.rope_theta)).toEqual([5e6, 5e6, 5e6, undefined, 5e6]);
  });

  it('rotates the layers in no_rope_layers, and ignores extra entries', () => {
    const ropes = decoderOf({ ...small, no_rope_layers: [0, 1, 0, 1, 1, 0, 0] })?.layerRopes;
    expect(ropes?.map((rope) => rope !== null)).toEqual([false, true, false, true, true]);
  });

  it('gives a window to layers without rotation, or to those in layer_types', () => {
    const windowed = { ...small, use_sliding_window: true, sliding_window: 9 };
    expect(decoderOf(windowed)?.windows).toEqual([null, null, null, 9, null]);
    const types = ['full', 'sliding', 'full', 'full', 'full'].map((kind) => `${kind}_attention`);
    expect(decoderOf({ ...windowed, layer_types: types })?.windows).toEqual([
      ...[null, 9],
      ...[null, null, null],
    ]);
  });

  it.each([
    [
      'too few entries of no_rope_layers',
      { no_rope_layers: [1, 1] },
      /no_rope_layers must have at least 5 entries, got 2/,
    ],
    [
      'entries other than 0 and 1',
      { no_rope_layers: [1, 2, 1, 1, 1] },
      /no_rope_layers must be an array of 0 and 1/,
    ],
    [
      'sliding layers without a window',
      { layer_types: Array(5).fill('sliding_attention') },
      /layer_types has "sliding_attention" with sliding_window null/,
    ],
  ])('rejects %s', (_, changed, message) => {
    expect(() => outlineOf({ ...small, ...changed })).toThrow(message);
  });
});
