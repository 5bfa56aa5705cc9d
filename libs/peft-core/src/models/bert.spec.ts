import { mapSafetensors } from '@graft/kernels';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { attachMethod } from '../methods/frame/attach-method.js';
import { footprintOf } from '../methods/frame/base-footprint.js';
import type { HfConfig } from '../nn/hf-files.js';
import { buildModel, outlineOf } from './registry.js';

const base: HfConfig = {
  model_type: 'bert',
  vocab_size: 30_522,
  hidden_size: 768,
  num_hidden_layers: 12,
  num_attention_heads: 12,
  intermediate_size: 3072,
};
const classification = { kind: 'classification', outputs: 2 } as const;

describe('has the parameter counts of bert-base-uncased in Transformers', () => {
  // Transformers 5.24: BertModel, BertForSequenceClassification, BertForTokenClassification (no pooler)
  it.each([
    [null, 109_482_240],
    [classification, 109_483_778],
    [{ kind: 'token_classification', outputs: 2 }, 108_893_186],
    [{ kind: 'span', outputs: 2 }, 108_893_186],
  ] as const)('%j', (head, parameters) => {
    const footprint = footprintOf({ peft_type: 'LORA' }, base, false, head);
    expect(footprint.totalParameters).toBe(parameters);
    const own = head ? 768 * 2 + 2 : 0;
    expect(footprint.trainableParameters).toBe(2 * 12 * 8 * (768 + 768) + own);
  });
});

it.each([
  [{ is_decoder: true }, 'is_decoder true is not supported'],
  [{ add_cross_attention: true }, 'add_cross_attention true is not supported'],
  [{ position_embedding_type: 'relative_key' }, 'position_embedding_type relative_key'],
])('rejects %j', (changed, message) =>
  expect(() => outlineOf({ ...base, ...changed })).toThrow(message),
);

describe('a base model without a pooler in its files', () => {
  const folder = join(import.meta.dirname, '../../../../test/golden/bert/base');
  const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as HfConfig;
  const open = () => {
    const file = mapSafetensors(join(folder, 'model.safetensors'));
    const tensors = new Map([...file.tensors].filter(([name]) => !name.startsWith('pooler.')));
    return buildModel(config, tensors, { dtype: 'f32', quantization: null });
  };

  it('must train one, because PEFT saves it only then', () => {
    const model = open();
    const lora = (more: object) => ({ peft_type: 'LORA', ...more });
    const init = { run: 1, seed: 0, head: classification };
    expect(() => attachMethod(model, lora({}), init)).toThrow(
      expect.objectContaining({ code: 'invalid_value', param: 'peft.modules_to_save' }),
    );
    expect(model.modules.heads.size).toBe(0);
    for (const peft of [lora({ modules_to_save: ['pooler'] }), null]) {
      const adapter = attachMethod(model, peft, init);
      expect([...adapter.parameters.keys()]).toEqual(
        expect.arrayContaining(['bert.pooler.dense.weight', 'classifier.weight']),
      );
      adapter.detach();
    }
    model.dispose();
  });
});

it('rejects text generation', () => {
  const folder = join(import.meta.dirname, '../../../../test/golden/bert/base');
  const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as HfConfig;
  const file = mapSafetensors(join(folder, 'model.safetensors'));
  const model = buildModel(config, file.tensors, { dtype: 'f32', quantization: null });
  expect(() => model.cache()).toThrow('generates no text');
  model.dispose();
  file.close();
});
