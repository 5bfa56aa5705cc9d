import { keep, tensor, tidy, type Tensor } from '@graft/kernels';
import { expect, it } from 'vitest';
import { mergedWeights } from '../adapters/merge.js';
import { footprintOf } from '../catalog.js';
import { attachMethod } from '../methods/frame/attach-method.js';
import type { Model } from './model.js';
import { buildModel, outlineOf } from './registry.js';

const base = {
  model_type: 'bart',
  vocab_size: 50265,
  d_model: 768,
  encoder_layers: 6,
  encoder_ffn_dim: 3072,
  encoder_attention_heads: 12,
  decoder_layers: 6,
  decoder_ffn_dim: 3072,
  decoder_attention_heads: 12,
};

it.each([
  ['bart-base', base, 139_420_416],
  ['bart-large', { model_type: 'bart' }, 406_291_456],
])('has the parameters of %s', (_, config, parameters) => {
  expect(footprintOf({ peft_type: 'LORA' }, config).totalParameters).toBe(parameters);
});

it.each([
  ['a decoder-only model', { is_encoder_decoder: false }, /is_encoder_decoder: false/],
  ['an untied head', { tie_word_embeddings: false }, /tie_word_embeddings: false/],
  ['another number of decoder heads', { decoder_attention_heads: 8 }, /decoder_attention_heads: 8/],
])('rejects %s', (_, changed, message) => {
  expect(() => outlineOf({ ...base, ...changed })).toThrow(message);
});

const tiny = {
  ...base,
  vocab_size: 5,
  d_model: 2,
  encoder_layers: 1,
  encoder_ffn_dim: 2,
  encoder_attention_heads: 1,
  decoder_layers: 1,
  decoder_ffn_dim: 2,
  decoder_attention_heads: 1,
  max_position_embeddings: 4,
};

/** Model with weights of zero, and optionally a bias of the logits. */
function onZeros(bias: readonly number[] | null): Model {
  const outline = outlineOf(tiny);
  const zeros = (name: string, ...shape: number[]): [string, Tensor] => [
    name,
    keep(tensor(new Float32Array(shape.reduce((product, n) => product * n, 1)), shape)),
  ];
  const tied = new Set(outline.tied().map(([head]) => head));
  const tensors = new Map([
    ...outline.embeddings().map((e) => zeros(`${e.path}.weight`, e.rows, e.columns)),
    ...outline
      .linears()
      .filter((linear) => !tied.has(linear))
      .flatMap((l) => [
        zeros(`${l.path}.weight`, l.outFeatures, l.inFeatures),
        zeros(`${l.path}.bias`, l.outFeatures),
      ]),
    ...outline
      .norms()
      .flatMap((n) => [zeros(`${n.path}.weight`, n.features), zeros(`${n.path}.bias`, n.features)]),
  ]);
  if (bias) {
    const given = tensor(Float32Array.from(bias), [1, bias.length]);
    tensors.set('final_logits_bias', keep(given));
  }
  return buildModel(tiny, tensors, { dtype: 'f32', quantization: null });
}

/** Returns the tensor names that full fine-tuning and a merged adapter save, and loads the full model again. */
const saved = (model: Model): readonly string[][] =>
  tidy(() => {
    const whole = attachMethod(model, null, { run: 0, seed: 0 });
    const tensors = whole.merged?.() ?? new Map<string, Tensor>();
    whole.load(tensors);
    whole.detach();
    const lora = attachMethod(model, { peft_type: 'LORA' }, { run: 0, seed: 0 });
    const merged = mergedWeights(model, lora, 'LORA');
    lora.detach();
    return [[...tensors.keys()].sort(), [...merged.keys()].sort()];
  });

it('saves the bias of the logits with whole models, unless it is zero', () => {
  const [whole, merged] = saved(onZeros([0, 1, 0, 0, 0])) as [string[], string[]];
  expect(whole).toContain('final_logits_bias');
  expect(merged).toEqual(whole);
  for (const bias of [[0, 0, 0, 0, 0], null])
    expect(saved(onZeros(bias)).flat()).not.toContain('final_logits_bias');
  expect(() => onZeros([1, 2])).toThrow('final_logits_bias has shape [1, 2]');
});
