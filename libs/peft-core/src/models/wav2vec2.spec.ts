import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { mapSafetensors } from '@graft/kernels';
import { expect, it } from 'vitest';
import { footprintOf } from '../catalog.js';
import { weightProblems } from './frame/check-weights.js';
import type { HfConfig } from '../nn/hf-files.js';
import { buildModel, outlineOf } from './registry.js';

const base = { model_type: 'wav2vec2' };
const large = {
  ...base,
  hidden_size: 1024,
  num_hidden_layers: 24,
  num_attention_heads: 16,
  intermediate_size: 4096,
  conv_bias: true,
  feat_extract_norm: 'layer',
  do_stable_layer_norm: true,
};

const spelling = { ...base, architectures: ['Wav2Vec2ForCTC'] };

it.each([
  ['wav2vec2-base', base, 94_371_712],
  ['wav2vec2-base-960h', spelling, 94_396_320],
  ['wav2vec2-large-lv60', large, 315_438_720],
])('has the parameters of %s', (_, config, parameters) => {
  const peft = { peft_type: 'LORA', target_modules: ['q_proj'] };
  expect(footprintOf(peft, config).totalParameters).toBe(parameters);
});

it('reads audio of any length at 50 rows per second', () => {
  const outline = outlineOf(base);
  expect([outline.inputKind, outline.tokenEmbedding]).toEqual(['audio', null]);
  expect([outline.inputRows([16_000]), outline.inputRows([400])]).toEqual([49, 1]);
  expect(() => outline.inputRows([399])).toThrow('expected audio of at least 400 samples, got 399');
});

it('has a CTC head if its files have one', () => {
  expect(outlineOf(base)).toMatchObject({ ctc: null, vocabSize: 0 });
  expect(outlineOf({ ...spelling, vocab_size: 40, pad_token_id: 39 })).toMatchObject({
    ctc: { blank: 39, zeroInfinity: false },
    vocabSize: 40,
  });
  expect(() => outlineOf({ ...spelling, pad_token_id: 32 })).toThrow(/pad_token_id: 32/);
});

it.each([
  ['an adapter after the encoder', { add_adapter: true }, /add_adapter: true/],
  ['another norm', { feat_extract_norm: 'batch' }, /feat_extract_norm: batch/],
  ['another activation', { feat_extract_activation: 'relu' }, /feat_extract_activation: relu/],
  ['lists of different lengths', { conv_stride: [5, 2] }, /different list lengths/],
  ['masked features', { mask_feature_prob: 0.1 }, /mask_feature_prob: 0.1/],
  ['an empty list', { conv_dim: [] }, /conv_dim must be an array of integers ≥ 1/],
])('rejects %s', (_, changed, message) => {
  expect(() => outlineOf({ ...base, ...changed })).toThrow(message);
});

it('accepts masked features if apply_spec_augment is off', () => {
  const config = { ...base, mask_feature_prob: 0.1, apply_spec_augment: false };
  expect(() => outlineOf(config)).not.toThrow();
});

it.each([
  [{ target_modules: ['conv'] }, /pos_conv_embed\.conv, whose update PEFT cannot merge/],
  [{ target_modules: '.*conv' }, /pos_conv_embed\.conv, whose update PEFT cannot merge/],
  [{ peft_type: 'OFT', target_modules: ['conv_layers.0.conv'] }, /is a convolution: in PEFT it is not a no-op/], // prettier-ignore
  [{ peft_type: 'IA3', target_modules: ['conv_layers.0.conv'], feedforward_modules: ['conv_layers.0.conv'] }, /as in PEFT \(Conv1d\)/], // prettier-ignore
])('rejects %j at convolutions', (peft, message) => {
  expect(() => footprintOf({ peft_type: 'LORA', ...peft }, base)).toThrow(
    expect.objectContaining({
      code: 'unsupported',
      param: 'peft.target_modules',
      message: expect.stringMatching(message) as string,
    }),
  );
});

it('adapts all convolutions except the excluded one', () => {
  const found = footprintOf(
    { peft_type: 'LORA', r: 1, target_modules: ['conv'], exclude_modules: ['pos_conv_embed.conv'] },
    base,
  );
  const [first, others, last] = [10 + 512, 3 * 512 + 512, 2 * 512 + 512];
  expect(found.trainableParameters).toBe(first + 4 * others + 2 * last);
});

it('loads files with the former names of weight norm in PyTorch', () => {
  const folder = join(import.meta.dirname, '../../../../test/golden/wav2vec2/base');
  const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as HfConfig;
  const { tensors, close } = mapSafetensors(join(folder, 'model.safetensors'));
  const renamed = [...tensors].map(
    ([name, tensor]) =>
      [
        name
          .replace('parametrizations.weight.original0', 'weight_g')
          .replace('parametrizations.weight.original1', 'weight_v'),
        tensor,
      ] as const,
  );
  const open = (files: typeof tensors): number => {
    const model = buildModel(config, files, { dtype: 'f32', quantization: null });
    model.dispose();
    return model.parameterCount;
  };
  expect(renamed.map(([name]) => name)).toContain('encoder.pos_conv_embed.conv.weight_v');
  expect(open(new Map(renamed))).toBe(open(tensors));
  close();
});

it('requires a mask embedding only if training may mask rows, as in Transformers', () => {
  const folder = join(import.meta.dirname, '../../../../test/golden/wav2vec2/base');
  const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as HfConfig;
  const file = mapSafetensors(join(folder, 'model.safetensors'));
  const isOther = (name: string): boolean => !name.endsWith('masked_spec_embed');
  const without = new Map([...file.tensors].filter(([name]) => isOther(name)));
  const unmasked = { ...config, mask_time_prob: 0 };
  const load = (of: HfConfig, tensors: typeof without): number => {
    const model = buildModel(of, tensors, { dtype: 'f32', quantization: null });
    model.dispose();
    return model.parameterCount;
  };
  try {
    expect(file.tensors.size - without.size).toBe(1);
    const all = load(config, file.tensors);
    expect(load({ ...config, apply_spec_augment: false }, file.tensors)).toBe(all);
    expect(load(unmasked, without)).toBe(all - Number(config['hidden_size']));
    expect(weightProblems(unmasked, without).first).toBeNull();
    const message = /have no wav2vec2\.masked_spec_embed/;
    expect(() => load(config, without)).toThrow(message);
    expect(weightProblems(config, without).first).toMatch(message);
  } finally {
    file.close();
  }
});
