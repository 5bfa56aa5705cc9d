import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { mapSafetensors } from '@graft/kernels';
import { describe, expect, it } from 'vitest';
import { attachMethod } from '../methods/frame/attach-method.js';
import { footprintOf } from '../methods/frame/base-footprint.js';
import type { HfConfig } from '../nn/hf-files.js';
import { buildModel, forConfig, outlineOf } from './registry.js';
import { readHf } from './frame/hf-config.js';

/** Values of answerdotai/ModernBERT-base that differ from the defaults. */
const base: HfConfig = { model_type: 'modernbert', classifier_pooling: 'mean' };
const lora = { peft_type: 'LORA', r: 1, target_modules: ['Wqkv'] };

// Transformers 5.24: ModernBertModel, ModernBertForSequenceClassification, ModernBertForQuestionAnswering
it.each([
  [null, 149_014_272],
  [{ kind: 'classification', outputs: 2 }, 149_606_402],
  [{ kind: 'span', outputs: 2 }, 149_606_402],
] as const)(
  'has the parameter counts of ModernBERT-base in Transformers: %j',
  (head, parameters) => {
    const footprint = footprintOf(lora, base, false, head);
    expect(footprint.totalParameters).toBe(parameters);
    expect(footprint.trainableParameters).toBe(22 * (768 + 3 * 768) + (head ? 768 * 2 + 2 : 0));
  },
);

const encoderOf = (config: HfConfig) => {
  const family = forConfig(config);
  const { encoder } = family.options(readHf(config, family.hf), 'modernbert');
  return encoder as NonNullable<typeof encoder>;
};

it('reads the layers of configs of Transformers 4 and 5', () => {
  const four = { ...base, num_hidden_layers: 4, local_attention: 8, local_rope_theta: 5e3 };
  const { windows, layerRopes } = encoderOf(four);
  expect(windows).toEqual([null, 5, 5, null]);
  expect(layerRopes?.map((rope) => rope?.rope_theta)).toEqual([160_000, 5e3, 5e3, 160_000]);
  const five = {
    ...four,
    layer_types: ['sliding_attention', 'full_attention', 'full_attention', 'sliding_attention'],
    rope_parameters: {
      full_attention: { rope_type: 'default', rope_theta: 100 },
      sliding_attention: { rope_type: 'default', rope_theta: 10 },
    },
  };
  expect(encoderOf(five).windows).toEqual([5, null, null, 5]);
  expect(encoderOf(five).layerRopes?.map((rope) => rope?.rope_theta)).toEqual([10, 100, 100, 10]);
});

it.each([
  [
    { classifier_pooling: 'max' },
    'classifier_pooling "max" is not supported; supported: cls, mean',
  ],
  [{ classifier_activation: 'silu' }, 'classifier_activation "silu" is not supported'],
  [{ hidden_activation: 'mish' }, 'unknown activation "mish"'],
  [{ layer_types: ['chunked_attention'] }, 'layer_types has "chunked_attention"'],
  [{ rope_parameters: { rope_theta: 1 } }, 'rope_parameters has "rope_theta"'],
  [{ rope_scaling: { rope_type: 'yarn', factor: 2 } }, 'rope_type "yarn" is not supported'],
])('rejects %j', (changed, message) =>
  expect(() => outlineOf({ ...base, ...changed })).toThrow(message),
);

describe('a base model without a masked-language-model head in its files', () => {
  const folder = join(import.meta.dirname, '../../../../test/golden/modernbert/base');
  const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as HfConfig;
  const init = { run: 1, seed: 0, head: { kind: 'classification', outputs: 2 } as const };

  it('must train one', () => {
    const file = mapSafetensors(join(folder, 'model.safetensors'));
    const tensors = new Map([...file.tensors].filter(([name]) => !name.startsWith('head.')));
    const model = buildModel(config, tensors, { dtype: 'f32', quantization: null });
    expect(() => attachMethod(model, lora, init)).toThrow(
      'the base\'s files have no head.dense, so it starts at random and must train: add "head.dense"',
    );
    const peft = { ...lora, modules_to_save: ['head'] };
    const adapter = attachMethod(model, peft, init);
    expect([...adapter.parameters.keys()]).toEqual(
      expect.arrayContaining(['head.dense.weight', 'head.norm.weight', 'classifier.weight']),
    );
    const trained = [...adapter.parameters.values()].reduce((sum, { size }) => sum + size, 0);
    expect(footprintOf(peft, config, false, init.head).trainableParameters).toBe(trained);
    adapter.detach();
    model.dispose();
    file.close();
  });
});
