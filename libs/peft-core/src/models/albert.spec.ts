import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { mapSafetensors, noGrad, tidy } from '@graft/kernels';
import { expect, it } from 'vitest';
import type { Linear } from '../nn/layers/linear.js';
import { footprintOf } from '../methods/frame/base-footprint.js';
import type { HfConfig } from '../nn/hf-files.js';
import { buildModel, outlineOf } from './registry.js';

/** Config of albert/albert-base-v2. */
const base: HfConfig = {
  model_type: 'albert',
  vocab_size: 30_000,
  embedding_size: 128,
  hidden_size: 768,
  num_hidden_layers: 12,
  num_attention_heads: 12,
  intermediate_size: 3072,
};
const lora = { peft_type: 'LORA', r: 1, target_modules: ['query'] };

// parameter counts of Transformers 5.24: AlbertModel, AlbertForSequenceClassification,
// AlbertForTokenClassification (no pooler)
it.each([
  [null, 11_683_584],
  [{ kind: 'classification', outputs: 2 }, 11_685_122],
  [{ kind: 'token_classification', outputs: 2 }, 11_094_530],
] as const)(
  'has the parameter counts of albert-base-v2 in Transformers: %j',
  (head, parameters) => {
    const footprint = footprintOf(lora, base, false, head);
    expect(footprint.totalParameters).toBe(parameters);
    expect(footprint.trainableParameters).toBe(2 * 768 + (head ? 768 * 2 + 2 : 0));
  },
);

it('shares a block between the layers of a group, assigned as in Transformers', () => {
  const config = { ...base, num_hidden_layers: 5, num_hidden_groups: 2, inner_group_num: 2 };
  const outline = outlineOf(config);
  const [queries, blocks] = [outline.linears(['q']).map(({ path }) => path), outline.passes];
  expect(queries).toEqual(
    ['0.albert_layers.0', '0.albert_layers.1', '1.albert_layers.0', '1.albert_layers.1'].map(
      (name) => `albert.encoder.albert_layer_groups.${name}.attention.query`,
    ),
  );
  expect([outline.layers, blocks]).toEqual([10, 2.5]);
  expect(() => outlineOf({ ...config, num_hidden_groups: 6 })).toThrow(
    'num_hidden_groups must be at most num_hidden_layers, 5, got 6',
  );
});

it('has a separate dropout key for each layer that shares a block', () => {
  const folder = join(import.meta.dirname, '../../../../test/golden/albert/base');
  const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as HfConfig;
  const file = mapSafetensors(join(folder, 'model.safetensors'));
  const model = buildModel(config, file.tensors, { dtype: 'f32', quantization: null });
  const [query] = model.modules.linears(['q']) as [Linear];
  const seen: number[] = [];
  query.attach(1, {
    after: (y, _, { module }) => {
      seen.push(module);
      return y;
    },
  });
  const encoder = {
    inputs: Int32Array.of(5, 6),
    positions: Int32Array.of(0, 1),
    sequences: [{ run: 1, start: 0, length: 2 }],
  };
  noGrad(() =>
    tidy(() => void model.forward({ encoder, decoder: null }, { training: true, runs: new Map() })),
  );
  expect(seen[0]).toBe(query.index);
  expect(new Set(seen).size).toBe(2);
  expect(seen.length).toBe(2);
  query.detach(1);
  model.dispose();
  file.close();
});
