import { describe, expect, it } from 'vitest';
import { outlineOf } from './registry.js';

const opt125m = {
  model_type: 'opt',
  vocab_size: 50272,
  hidden_size: 768,
  ffn_dim: 3072,
  num_hidden_layers: 12,
  num_attention_heads: 12,
  max_position_embeddings: 2048,
  word_embed_proj_dim: 768,
};
const opt350m = {
  ...opt125m,
  hidden_size: 1024,
  ffn_dim: 4096,
  num_hidden_layers: 24,
  num_attention_heads: 16,
  word_embed_proj_dim: 512,
  do_layer_norm_before: false,
};

function parameters(config: typeof opt125m): number {
  const outline = outlineOf(config);
  const tied = new Set(outline.tied().map(([head]) => head));
  const own = outline.linears().filter((linear) => !tied.has(linear));
  return [
    ...own.map((l) => l.outFeatures * (l.inFeatures + Number(l.hasBias))),
    ...outline.norms().map((n) => 2 * n.features),
    ...outline.embeddings().map((e) => e.rows * e.columns),
  ].reduce((a, b) => a + b);
}

describe('config.json', () => {
  it('has the parameters of OPT-125M and OPT-350M', () => {
    expect(parameters(opt125m)).toBe(125_239_296);
    expect(parameters(opt350m)).toBe(331_196_416);
  });

  it('projects embeddings to the width of blocks and back', () => {
    const outline = outlineOf(opt350m);
    const shapes = outline
      .linears()
      .filter(({ layer }) => layer === null)
      .map(({ path, inFeatures, outFeatures }) => [path, inFeatures, outFeatures]);
    expect(shapes).toEqual([
      ['model.decoder.project_in', 512, 1024],
      ['model.decoder.project_out', 1024, 512],
      ['lm_head', 512, 50272],
    ]);
    expect(outline.embeddingSize).toBe(512);
    expect(outlineOf(opt125m).embeddingSize).toBe(768);
  });

  it.each([
    ['a model without a final norm', { _remove_final_layer_norm: true }],
    ['norms without weights', { layer_norm_elementwise_affine: false }],
    ['an unknown activation', { activation_function: 'tanh' }],
    ['a width of the wrong type', { word_embed_proj_dim: '512' }],
  ])('rejects %s', (_, changed) => {
    const [key] = Object.keys(changed) as [string];
    const named = key === 'activation_function' ? 'tanh' : key;
    expect(() => outlineOf({ ...opt125m, ...changed })).toThrow(named);
  });
});
