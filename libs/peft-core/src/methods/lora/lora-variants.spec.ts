import { DomainError } from '@graft/contracts';
import { describe, expect, it } from 'vitest';
import { resolveSpec } from '../../catalog.js';
import { footprintOf } from '../frame/base-footprint.js';
import { parsePeft } from '../frame/config.js';
import { blocksOf, factorShapes, kasaShapes } from './lora-variants.js';

const CONFIG = {
  target_modules_bd_a: ['o_proj'],
  target_modules_bd_b: ['q_proj', 'layers.1'],
  nblocks: 2,
  match_strict: true,
};
const place = (path: string) => ({ path, inFeatures: 12, outFeatures: 8, transposed: false });

describe('blocks', () => {
  it.each<[string, object, string, number[], number[]]>([
    ['of A', {}, 'layers.0.o_proj', [4, 6], [8, 4]],
    ['of B', {}, 'layers.0.q_proj', [4, 12], [8, 2]],
    ['of B, by any part of the path', {}, 'layers.1.k_proj', [4, 12], [8, 2]],
    ['of neither', { match_strict: false }, 'layers.0.k_proj', [4, 12], [8, 4]],
  ])('%s', (_, fields, path, a, b) => {
    const blocks = blocksOf(place(path), { ...CONFIG, ...fields }, 4);
    expect(factorShapes(place(path), blocks, 4)).toEqual({ lora_A: a, lora_B: b });
  });

  it.each<[string, object, string, number, RegExp]>([
    ['a linear layer in both lists', {}, 'layers.1.o_proj', 4, /layers.1.o_proj is in both/],
    [
      'a linear layer in neither list',
      {},
      'layers.0.k_proj',
      4,
      /is in neither.*set match_strict to false/,
    ],
    [
      'an odd rank',
      {},
      'layers.0.q_proj',
      3,
      /has a factor \[8, 3\], which 2 blocks do not divide/,
    ],
    ['an input', { nblocks: 5 }, 'layers.0.o_proj', 5, /has a factor \[5, 12\], which 5 blocks/],
  ])('reject %s', (_, fields, path, r, message) => {
    expect(() => blocksOf(place(path), { ...CONFIG, ...fields }, r)).toThrow(message);
    expect(() => blocksOf(place(path), { ...CONFIG, ...fields }, r)).toThrow(DomainError);
  });
});

it('KaSA keeps part of a weight, and requires weights stored as [out, in]', () => {
  expect(kasaShapes(place('x'), 7)).toEqual({ lora_diag: [7] });
  expect(() => kasaShapes(place('x'), 8)).toThrow(/x supports a rank of at most 7, got 8/);
  expect(() => kasaShapes({ ...place('x'), transposed: true }, 2)).toThrow(/Conv1D/);
});

it.each<[object, RegExp]>([
  [{ use_dora: true, use_bdlora: {} }, /use_dora cannot be combined with use_bdlora/],
  [{ use_bdlora: {}, kasa_config: {} }, /use_bdlora cannot be combined with kasa_config/],
  [
    { use_dora: true, init_lora_weights: 'mica' },
    /use_dora cannot be combined with init_lora_weights "mica"/,
  ],
  [{ lora_bias: true, use_dora: true }, /lora_bias cannot be combined with use_dora/],
  [{ lora_bias: true, use_bdlora: {} }, /lora_bias cannot be combined with use_bdlora/],
  [{ lora_bias: true, init_lora_weights: 'gaussian' }, /lora_bias requires .*got "gaussian"/],
  [{ kasa_config: {}, init_lora_weights: 'pissa' }, /kasa_config requires .* \(got "pissa"\)/],
  [
    { alora_invocation_tokens: [1], use_dora: true },
    /use_dora cannot be combined with alora_invocation_tokens/,
  ],
  [
    { alora_invocation_tokens: [1], init_lora_weights: 'mica' },
    /alora_invocation_tokens cannot be combined with init_lora_weights "mica"/,
  ],
  [
    { alora_invocation_tokens: [1], init_lora_weights: 'pissa' },
    /alora_invocation_tokens requires .* \(got "pissa"\)/,
  ],
  [{ velora_config: {}, kasa_config: {} }, /kasa_config cannot be combined with velora_config/],
  [{ velora_config: { num_groups: 0 } }, /velora_config.num_groups: must be at least 1/],
  [{ alora_invocation_tokens: [] }, /alora_invocation_tokens/],
  [{ alora_invocation_tokens: [-1] }, /alora_invocation_tokens/],
  [{ use_bdlora: { nblocks: 0 } }, /use_bdlora.nblocks: must be at least 1/],
  [{ kasa_config: { alpha: 1 } }, /LORA has no field "kasa_config.alpha"/],
])('rejects %o', (fields, message) => {
  expect(() => parsePeft({ peft_type: 'LORA', ...fields })).toThrow(message);
});

const LLAMA = {
  model_type: 'llama',
  vocab_size: 32,
  hidden_size: 16,
  intermediate_size: 24,
  num_hidden_layers: 2,
  num_attention_heads: 4,
};

it.each<[object, string, RegExp]>([
  [{ alora_invocation_tokens: [5, 32] }, 'alora_invocation_tokens', /ids below 32, .* got 32/],
  [{ velora_config: {} }, 'velora_config', /"batch_average", PEFT's default, .* use "random"/],
  [
    { velora_config: { init_type: 'random' }, target_modules: ['embed_tokens'] },
    'velora_config',
    /cannot be combined with model.embed_tokens in target_modules/,
  ],
  [
    { alora_invocation_tokens: [5], target_modules: ['q_proj', 'lm_head'] },
    'alora_invocation_tokens',
    /is not supported with lm_head in target_modules/,
  ],
  [
    { alora_invocation_tokens: [5], target_modules: ['q_proj', 'embed_tokens'] },
    'alora_invocation_tokens',
    /cannot be combined with model.embed_tokens in target_modules/,
  ],
])('rejects %o on a model', (peft, field, message) => {
  const refused = (): unknown => footprintOf({ peft_type: 'LORA', ...peft }, LLAMA);
  expect(refused).toThrow(message);
  expect(refused).toThrow(expect.objectContaining({ param: `peft.${field}` }));
});

it('aLoRA requires tasks that continue a text', () => {
  const peft = { peft_type: 'LORA', alora_invocation_tokens: [5] };
  const spec = (task: string, modelType: string) =>
    resolveSpec(
      { model: 'm', training_file: 'f', peft, graft: { task } },
      { trainingRecords: 1, modelType },
    );
  expect(spec('dpo', 'llama').peft).toMatchObject(peft);
  for (const [task, type, modelType] of [
    ['feature_extraction', 'FEATURE_EXTRACTION', 'llama'],
    ['seq_cls', 'SEQ_CLS', 'llama'],
    ['seq_2_seq_lm', 'SEQ_2_SEQ_LM', 't5'],
  ] as const)
    expect(() => spec(task, modelType)).toThrow(
      `alora_invocation_tokens requires a task of type CAUSAL_LM, as in PEFT; task ${task} has type ${type}`,
    );
});
