import { mul, ones, sum, tidy, type Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import { expect, it } from 'vitest';
import { configOf } from '../../../test/one-linear.js';
import { outlineOf } from '../../models/registry.js';
import { parameter } from '../../methods/frame/parameters.js';
import { footprintOf } from '../../methods/frame/base-footprint.js';
import { checkOptimizer, checkTrained, makeOptimizer, trainedBy } from './optimizer.js';
import type { OptimizerSpec } from './optimizer.js';

const SPEC: OptimizerSpec = {
  peft: { peft_type: 'LORA', r: 2 },
  optimizer: 'adamw',
  learning_rate: 0.01,
  weight_decay: 0,
  loraplus_lr_ratio: null,
  loraplus_lr_embedding: 1e-6,
};

const NAMES = ['x.lora_A', 'x.lora_B', 'x.lora_magnitude_vector', 'e.lora_embedding_B'];
const shapeOf = (name: string): number[] => (name.endsWith('vector') ? [2] : [2, 2]);

/**
 * Change of each parameter in its first step. With AdamW it is the learning rate, regardless of the gradient.
 */
function moved(names: readonly string[], spec: Partial<OptimizerSpec>): Record<string, number> {
  const parameters = new Map(
    names.map((name) => [name, tidy(() => parameter(ones(shapeOf(name))))]),
  );
  const optimizer = makeOptimizer(parameters, { ...SPEC, ...spec });
  tidy(() => {
    const losses = [...parameters.values()]
      .filter((one) => one.requiresGrad)
      .map((one) => sum(mul(one, 3)));
    losses.forEach((loss) => loss.backward());
    optimizer.step(SPEC.learning_rate);
  });
  const far = [...parameters].map(([name, one]) => [
    name,
    Number((1 - ((one.toArray() as Float32Array)[0] as number)).toPrecision(3)),
  ]);
  optimizer.dispose();
  parameters.forEach((one) => one.dispose());
  return Object.fromEntries(far) as Record<string, number>;
}

it('LoRA+ has separate rates for A, for B and vectors, and for an embedding', () => {
  expect(moved(NAMES, {})).toEqual(Object.fromEntries(NAMES.map((name) => [name, 0.01])));
  expect(moved(NAMES, { loraplus_lr_ratio: 4, loraplus_lr_embedding: 0.002 })).toEqual({
    'x.lora_A': 0.01,
    'x.lora_B': 0.04,
    'x.lora_magnitude_vector': 0.04,
    'e.lora_embedding_B': 0.002,
  });
});

it('LoRA-FA freezes A: it has no gradient and no moments', () => {
  const parameters = new Map(
    ['x.lora_A', 'x.lora_B'].map((name) => [name, tidy(() => parameter(ones([2, 2])))]),
  );
  const optimizer = makeOptimizer(parameters, { ...SPEC, optimizer: 'lorafa' });
  const [a, b] = [...parameters.values()] as [Tensor, Tensor];
  tidy(() => {
    sum(mul(mul(a, b), 2)).backward();
    expect(a.grad).toBeNull();
    optimizer.step(0.01);
  });
  expect([...(a.toArray() as Float32Array)]).toEqual([1, 1, 1, 1]);
  expect((b.toArray() as Float32Array)[0]).toBeLessThan(1);
  expect([...optimizer.moments().keys()]).toEqual(['m.x.lora_B', 'v.x.lora_B']);
  expect(optimizer.steps).toBe(1);
  optimizer.dispose();
  parameters.forEach((one) => one.dispose());
});

it.each(['adamw', 'lorafa'] as const)('counts the parameters that %s trains', (optimizer) => {
  const outline = outlineOf(configOf('llama'));
  const peft = { peft_type: 'LORA', r: 2, target_modules: ['down_proj'] };
  const { layers } = outline;
  const [down] = outline.linears().filter(({ role }) => role === 'down');
  const { inFeatures, outFeatures } = down!;
  const trained = optimizer === 'adamw' ? inFeatures + outFeatures : outFeatures;
  expect(trainedBy(optimizer, footprintOf(peft, configOf('llama')))).toBe(2 * layers * trained);
});

it.each<[string, string, object, RegExp]>([
  [
    'an embedding',
    'llama',
    { target_modules: ['q_proj', 'embed_tokens'] },
    /remove the embedding from target_modules/,
  ],
  [
    'experts that target_modules matches',
    'mixtral',
    { target_modules: 'all-linear' },
    /target_modules also matches model\.layers\.0\.mlp\.\S+, which belongs to experts or their router; list attention layers/,
  ],
])('LoRA-FA rejects %s, given only config.json', (_, family, fields, message) => {
  const footprint = footprintOf({ peft_type: 'LORA', ...fields }, configOf(family));
  expect(() => checkTrained('lorafa', footprint)).toThrow(
    expect.objectContaining({
      code: 'unsupported',
      param: 'graft.optimizer',
      message: expect.stringMatching(message) as unknown,
    }),
  );
  checkTrained('adamw', footprint);
  const linears = { peft_type: 'LORA', target_modules: ['q_proj'] };
  checkTrained('lorafa', footprintOf(linears, configOf(family)));
});

it.each<[string, Partial<OptimizerSpec>, string, RegExp]>([
  [
    'a ratio without a B',
    { peft: { peft_type: 'IA3' }, loraplus_lr_ratio: 2 },
    'graft.loraplus_lr_ratio',
    /LoRA's B, which IA3 does not have/,
  ],
  [
    'a ratio with full fine-tuning',
    { peft: null, loraplus_lr_ratio: 2 },
    'graft.loraplus_lr_ratio',
    /FULL/,
  ],
  [
    'a ratio with lorafa, which does not train A',
    { optimizer: 'lorafa', loraplus_lr_ratio: 2 },
    'graft.loraplus_lr_ratio',
    /requires optimizer adamw/,
  ],
  [
    'lorafa without LoRA',
    { peft: { peft_type: 'LOHA' }, optimizer: 'lorafa' },
    'graft.optimizer',
    /optimizer lorafa is for LoRA, not LOHA/,
  ],
  [
    'lorafa with DoRA',
    { peft: { peft_type: 'LORA', use_dora: true }, optimizer: 'lorafa' },
    'graft.optimizer',
    /cannot be combined with use_dora/,
  ],
  [
    'lorafa with BD-LoRA',
    {
      peft: { peft_type: 'LORA', use_bdlora: { target_modules_bd_b: ['o_proj'] } },
      optimizer: 'lorafa',
    },
    'graft.optimizer',
    /cannot be combined with use_bdlora/,
  ],
  [
    'lorafa with KaSA',
    { peft: { peft_type: 'LORA', kasa_config: {} }, optimizer: 'lorafa' },
    'graft.optimizer',
    /cannot be combined with kasa_config/,
  ],
  [
    'lorafa with VeLoRA',
    { peft: { peft_type: 'LORA', velora_config: { init_type: 'random' } }, optimizer: 'lorafa' },
    'graft.optimizer',
    /cannot be combined with velora_config/,
  ],
  [
    'lorafa with target_parameters',
    {
      peft: { peft_type: 'LORA', target_modules: [], target_parameters: ['experts.down_proj'] },
      optimizer: 'lorafa',
    },
    'graft.optimizer',
    /cannot be combined with target_parameters/,
  ],
  [
    'lorafa with MiCA, which freezes B',
    { peft: { peft_type: 'LORA', init_lora_weights: 'mica' }, optimizer: 'lorafa' },
    'graft.optimizer',
    /cannot be combined with init_lora_weights "mica"/,
  ],
  [
    'lorafa with EVA, whose ranks depend on the data',
    { peft: { peft_type: 'LORA', init_lora_weights: 'eva' }, optimizer: 'lorafa' },
    'graft.optimizer',
    /cannot be combined with init_lora_weights "eva"/,
  ],
])('rejects %s', (_, spec, param, message) => {
  expect(() => checkOptimizer({ ...SPEC, ...spec })).toThrow(message);
  expect(() => checkOptimizer({ ...SPEC, ...spec })).toThrow(expect.objectContaining({ param }));
  expect(() => checkOptimizer({ ...SPEC, ...spec })).toThrow(DomainError);
});
