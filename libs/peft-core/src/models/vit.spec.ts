import { DomainError } from '@graft/contracts';
import { tidy, zeros } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { expect, it } from 'vitest';
import { convertToLora } from '../adapters/convert.js';
import { loraFactors } from '../adapters/lora-factors.js';
import { attachMethod } from '../methods/frame/attach-method.js';
import { asFilesCall } from '../io/base/file-names.js';
import { footprintOf, residentBytes } from '../methods/frame/base-footprint.js';
import { buildModel, optionsOf, outlineOf } from './registry.js';
import { storedShape, tableName } from '../nn/outline/outline.js';

const CONFIG = {
  model_type: 'vit',
  hidden_size: 8,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  intermediate_size: 12,
  image_size: [6, 9],
  patch_size: 3,
  num_channels: 2,
};
const HEAD = { kind: 'classification', outputs: 2 } as const;

/** Returns all weights of the model by module names. */
function weights(config = CONFIG): Map<string, Tensor> {
  const outline = outlineOf(config);
  return new Map([
    ...outline
      .embeddings()
      .map((table) => [tableName(table), zeros([1, table.rows, table.columns])] as const),
    ...outline
      .linears()
      .flatMap((one) => [
        [`${one.path}.weight`, zeros(storedShape(one))] as const,
        ...(one.hasBias ? [[`${one.path}.bias`, zeros([one.outFeatures])] as const] : []),
      ]),
    ...outline
      .norms()
      .flatMap(({ path, features }) => [
        [`${path}.weight`, zeros([features])] as const,
        [`${path}.bias`, zeros([features])] as const,
      ]),
  ]);
}

it('reads images of one size, with a row for each patch after the class token', () => {
  const outline = outlineOf(CONFIG);
  expect([outline.inputKind, outline.maxPositions, outline.tokenEmbedding]).toEqual([
    'image',
    7,
    null,
  ]);
  expect(outline.inputRows([2, 6, 9])).toBe(7);
  expect(() => outline.inputRows([2, 9, 6])).toThrow(
    'expected an image of 2 × 6 × 9 (channels, height, width), got 2 × 9 × 6',
  );
});

it.each([
  [{ qkv_bias: false }, false],
  [{}, true],
])('%j: whether attention has biases', (more, has) => {
  const [query] = outlineOf({ ...CONFIG, ...more }).linears(['q']);
  expect(query?.hasBias).toBe(has);
});

it('accepts one or two numbers as image size', () => {
  const { encoder } = optionsOf({ ...CONFIG, image_size: 6, patch_size: [2, 3] });
  expect(encoder?.frontEnd).toMatchObject({ imageSize: [6, 6], patch: [2, 3] });
  expect(() => optionsOf({ ...CONFIG, image_size: [6, 6, 6] })).toThrow(
    'image_size must be a size from 1 to 4096 pixels, or two of them',
  );
});

it.each([['vit.'], ['']])('loads files whose names start with "%s"', (prefix) =>
  tidy(() => {
    const lazy = new Map(
      [...weights()].map(([name, one]) => [name, { bytes: 0, make: () => one }] as const),
    );
    const files = new Map(
      [...asFilesCall(lazy, CONFIG)].map(([name, one]) => [
        name.replace('vit.', prefix),
        one.make(),
      ]),
    );
    expect([...files.keys()]).toContain(
      `${prefix}encoder.layer.0.attention.attention.query.weight`,
    );
    expect([...files.keys()]).toContain(`${prefix}embeddings.cls_token`);
    const model = buildModel(CONFIG, files, { dtype: 'f32', quantization: null });
    expect(model.parameterCount).toBe(footprintOf(null, CONFIG).totalParameters);
    expect(4 * model.parameterCount).toBe(
      residentBytes(CONFIG, { dtype: 'f32', quantization: null }),
    );
    model.dispose();
  }),
);

it('reports a missing tensor', () =>
  tidy(() => {
    const files = weights();
    files.delete('vit.embeddings.cls_token');
    expect(() => buildModel(CONFIG, files, { dtype: 'f32', quantization: null })).toThrow(
      "the model's files have no vit.embeddings.cls_token",
    );
  }));

it.each([
  [{ peft_type: 'PROMPT_TUNING', num_virtual_tokens: 2 }, 'peft.peft_type'],
  [{ peft_type: 'PREFIX_TUNING', num_virtual_tokens: 2 }, 'peft.peft_type'],
  [{ peft_type: 'TRAINABLE_TOKENS', token_indices: [1] }, 'peft.peft_type'],
  [{ peft_type: 'LORA', trainable_token_indices: [1] }, 'peft.trainable_token_indices'],
  [{ peft_type: 'LORA', alora_invocation_tokens: [1] }, 'peft.alora_invocation_tokens'],
  [{ peft_type: 'ROAD', target_modules: ['projection'] }, 'peft.target_modules'],
  [
    { peft_type: 'LORA', target_modules: ['projection'], init_lora_weights: 'pissa' },
    'peft.init_lora_weights',
  ],
  [{ peft_type: 'LORA', target_modules: ['q_proj'], modules_to_save: ['vit.embeddings'] }, 'peft.modules_to_save'], // prettier-ignore
])('rejects %j', (peft, param) =>
  tidy(() => {
    const model = buildModel(CONFIG, weights(), { dtype: 'f32', quantization: null });
    for (const act of [
      () => footprintOf(peft, CONFIG, false, HEAD),
      () => attachMethod(model, peft, { run: 1, seed: 0, head: HEAD }),
    ])
      try {
        act();
        expect.unreachable();
      } catch (error) {
        expect(error).toBeInstanceOf(DomainError);
        expect(error).toMatchObject({ code: 'unsupported', param });
      }
    model.dispose();
  }),
);

it('all-linear excludes convolutions', () => {
  const peft = { peft_type: 'LORA', r: 1, target_modules: 'all-linear' };
  const linears = outlineOf(CONFIG)
    .linears()
    .filter(({ kernel }) => !kernel);
  const ranks = linears.reduce((sum, one) => sum + one.inFeatures + one.outFeatures, 0);
  expect(footprintOf(peft, CONFIG).trainableParameters).toBe(ranks);
});

it.each([
  [
    { peft_type: 'LOHA', r: 1 },
    /projection: the update of a convolution cannot be converted to LORA/,
  ],
  [
    { peft_type: 'LORA', r: 1 },
    /projection: the update of a convolution cannot be converted to LORA/,
  ],
])('rejects conversion of %j at a convolution to LoRA', (more, message) =>
  tidy(() => {
    const model = buildModel(CONFIG, weights(), { dtype: 'f32', quantization: null });
    const peft = { ...more, target_modules: ['projection'] };
    const adapter = attachMethod(model, peft, { run: 1, seed: 0 });
    expect(() => convertToLora(adapter, peft, { rank: 1 })).toThrow(message);
    const file = { peft, tensors: adapter.exported() };
    if (peft.peft_type === 'LORA')
      expect(() => loraFactors(file, 'model', { lacks: 'is refused', cannot: '' })).toThrow(
        'model: vit.embeddings.patch_embeddings.projection is a convolution, whose update is refused',
      );
    adapter.detach();
    model.dispose();
  }),
);
