import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fill_, mapSafetensors, noGrad, tidy } from '@graft/kernels';
import { afterEach, expect, it } from 'vitest';
import { attachMethod } from '../methods/frame/attach-method.js';
import { checkPeft } from '../catalog.js';
import { footprintOf, residentBytes } from '../methods/frame/base-footprint.js';
import { packRows } from '../tasks/batches/pack.js';
import type { Model } from './model.js';
import type { HfConfig } from '../nn/hf-files.js';
import { buildModel, outlineOf } from './registry.js';

const mixtral = {
  model_type: 'mixtral',
  vocab_size: 32000,
  hidden_size: 4096,
  intermediate_size: 14336,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: 8,
};
const qwen = {
  model_type: 'qwen3_moe',
  vocab_size: 151936,
  hidden_size: 2048,
  intermediate_size: 6144,
  moe_intermediate_size: 768,
  num_hidden_layers: 48,
  num_attention_heads: 32,
  num_key_value_heads: 4,
  head_dim: 128,
  num_experts: 128,
  num_experts_per_tok: 8,
};

it.each([
  ['Mixtral 8x7B', mixtral, 46_702_792_704],
  ['Qwen3-30B-A3B', qwen, 30_532_122_624],
])('has the parameters of %s', (_, config, parameters) => {
  expect(footprintOf({ peft_type: 'LORA' }, config).totalParameters).toBe(parameters);
  expect(residentBytes(config, { dtype: 'bf16', quantization: null })).toBe(2 * parameters);
});

it('has experts in the layers that config.json selects', () => {
  const layers = (changed: object): number[] =>
    outlineOf({ ...qwen, num_hidden_layers: 6, ...changed })
      .experts()
      .map(({ router }) => Number(/layers\.(\d+)/.exec(router)?.[1]));
  expect(layers({})).toEqual([0, 1, 2, 3, 4, 5]);
  expect(layers({ decoder_sparse_step: 2, mlp_only_layers: [3] })).toEqual([1, 5]);
  expect(layers({ num_experts: 0 })).toEqual([]);
});

it.each([
  ["the router's own loss", mixtral, { output_router_logits: true }, 'output_router_logits: true'],
  ["the router's own loss", qwen, { output_router_logits: true }, 'output_router_logits: true'],
  ['noise', mixtral, { router_jitter_noise: 0.1 }, 'router_jitter_noise 0.1'],
  ['more experts per row than there are', qwen, { num_experts: 4 }, 'cannot pick 8 of 4 experts'],
  ['layers by name', qwen, { mlp_only_layers: ['a'] }, 'mlp_only_layers must be an array'],
])('rejects %s', (_, config, changed, message) => {
  expect(() => outlineOf({ ...config, ...changed })).toThrow(message);
});

const dense = { ...qwen, mlp_only_layers: [0] };

it.each<[string | string[], HfConfig]>([
  ['all-linear', mixtral],
  [['q_proj', 'w1'], mixtral],
  [['q_proj', 'gate'], mixtral],
  [['q_proj', 'up_proj'], { ...qwen, mlp_only_layers: [0] }],
  [['model.layers.0.mlp.down_proj'], { ...qwen, mlp_only_layers: [0] }],
  [String.raw`.*\.mlp\..*_proj`, { ...qwen, mlp_only_layers: [0] }],
])(
  'rejects target_modules %j that match experts, for methods that do not support them',
  (targets, config) => {
    expect(() => footprintOf({ peft_type: 'MISS', target_modules: targets }, config)).toThrow(
      /target_modules also matches the experts \(model\.layers\.\d+\.mlp/,
    );
  },
);

const [MIXTRAL_ATTENTION, MIXTRAL_ROUTER] = [4 * 4096 + 4096 + 1024 + 1024 + 4096, 4096 + 8];
const MIXTRAL_EXPERTS = { down: 8 * (14336 + 4096), fused: 8 * (4096 + 2 * 14336) };

it.each<[object, number, HfConfig]>([
  // r is the rank of each expert; two matrices that became one parameter have twice the rank
  [
    { target_modules: 'ALL-linear' },
    32 *
      2 *
      (MIXTRAL_ATTENTION + MIXTRAL_ROUTER + MIXTRAL_EXPERTS.down + 2 * MIXTRAL_EXPERTS.fused),
    mixtral,
  ],
  [{ target_modules: ['w2'] }, 32 * 2 * MIXTRAL_EXPERTS.down, mixtral],
  [{ target_modules: ['mlp.gate'] }, 32 * 2 * MIXTRAL_ROUTER, mixtral],
  [{ target_modules: ['w3', 'w1'] }, 32 * 4 * MIXTRAL_EXPERTS.fused, mixtral],
  [{ target_modules: String.raw`.*\.experts\.w[123]` }, 32 * 2 * (MIXTRAL_EXPERTS.down + 2 * MIXTRAL_EXPERTS.fused), mixtral], // prettier-ignore
  [{ target_parameters: ['layers.3.mlp.experts.gate_up_proj'] }, 2 * MIXTRAL_EXPERTS.fused, mixtral], // prettier-ignore
  [
    {
      target_modules: [],
      target_parameters: ['gate.weight'],
      rank_pattern: { 'layers.0.mlp.gate.weight': 5 },
    },
    (31 * 2 + 5) * MIXTRAL_ROUTER,
    mixtral,
  ],
  // PEFT uses only the last segments of a pattern's matches, for all layers
  [{ target_modules: String.raw`model\.layers\.0\..*q_proj` }, 32 * 2 * 2 * 4096, mixtral],
  // a name that experts had targets experts only, even if a layer without experts has linear layers with this
  // name
  [{ target_modules: ['down_proj'] }, 47 * 2 * 128 * (2048 + 768), dense],
])('LORA of %j has %i parameters', (peft, parameters, config) => {
  const { trainableParameters: found } = footprintOf({ peft_type: 'LORA', r: 2, ...peft }, config);
  expect(found).toBe(parameters);
});

it.each<[object, string, string, HfConfig]>([
  [
    { target_modules: ['w1'] },
    'peft.target_modules',
    'w1 without w3: they are a single parameter, gate_up_proj; list both',
    mixtral,
  ],
  [
    { target_parameters: ['up_proj'] },
    'peft.target_parameters',
    'is named "up_proj": this model has gate.weight, experts.gate_up_proj, experts.down_proj',
    mixtral,
  ],
  [
    { target_parameters: ['q_proj.weight'] },
    'peft.target_parameters',
    'is named "q_proj.weight"',
    qwen,
  ],
  [
    { target_parameters: ['gate.weight'] },
    'peft.target_parameters',
    'this model has none',
    { ...qwen, num_experts: 0 },
  ],
  [{ target_modules: [] }, 'peft.target_modules', 'must not be empty', qwen],
  [{ target_modules: [], target_parameters: [] }, 'peft.target_modules', 'must not be empty', qwen],
  [
    { target_modules: 'all-linear', lora_dropout: 0.1 },
    'peft.lora_dropout',
    'lora_dropout cannot be combined with the experts and routers that target_modules also matches',
    qwen,
  ],
  ...[
    { use_dora: true },
    { lora_bias: true },
    { fan_in_fan_out: true },
    { use_bdlora: {} },
    { kasa_config: {} },
  ].map((more): [object, string, string, HfConfig] => {
    const [field] = Object.keys(more);
    return [
      { target_parameters: ['down_proj'], ...more },
      `peft.${field}`,
      `${field} cannot be combined with target_parameters`,
      mixtral,
    ];
  }),
  [
    { target_parameters: ['down_proj'], init_lora_weights: 'pissa' },
    'peft.init_lora_weights',
    '"pissa" cannot be combined with target_parameters',
    mixtral,
  ],
])('rejects LORA with %j', (peft, param, message, config) => {
  // prettier-ignore
  const refused = (): unknown => footprintOf({ peft_type: 'LORA', ...peft }, config);
  expect(refused).toThrow(expect.objectContaining({ param }));
  expect(refused).toThrow(message);
});

it('adapts no linear layers if a job sets target_parameters', () => {
  const job = (peft: object) => checkPeft({ peft_type: 'LORA', ...peft }, 'mixtral');
  expect(job({ target_parameters: ['down_proj'] })).toMatchObject({ target_modules: null });
  expect(job({})).toMatchObject({ target_modules: 'all-linear' });
  expect(job({ target_modules: ['w1', 'w3'] })).toMatchObject({ target_modules: ['w1', 'w3'] });
  const { trainableParameters: found } = footprintOf(
    job({ r: 2, target_parameters: ['down_proj'] }),
    mixtral,
  );
  expect(found).toBe(32 * 2 * MIXTRAL_EXPERTS.down);
});

it('adapts attention, and rejects experts and routers in modules_to_save', () => {
  const trained = (peft: object): number =>
    footprintOf({ peft_type: 'LORA', r: 2, ...peft }, mixtral).trainableParameters;
  expect(trained({})).toBe(32 * 2 * (2 * 4096 + 4096 + 1024));
  for (const name of ['gate', 'experts', 'mlp'])
    expect(() => trained({ modules_to_save: [name] })).toThrow(
      `modules_to_save: "${name}" matches experts or their router`,
    );
});

const GOLDEN = join(import.meta.dirname, '../../../../test/golden');
const done: (() => void)[] = [];
afterEach(() => done.splice(0).forEach((end) => end()));

function open(family: string): Model {
  const folder = join(GOLDEN, family, 'base');
  const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as HfConfig;
  const { tensors, close } = mapSafetensors(join(folder, 'model.safetensors'));
  const model = buildModel(config, tensors, { dtype: 'f32', quantization: null });
  done.push(() => {
    model.dispose();
    close();
  });
  return model;
}

const hidden = (model: Model, runs: readonly number[]): Float32Array =>
  tidy(() => {
    const decoder = packRows(
      runs.map((run) => ({ run, tokens: Int32Array.from([5, 9 + run, 17, 4]) })),
    );
    const keys = new Map(runs.map((run) => [run, { seed: 0, step: 0 }]));
    const made = model.forward({ encoder: null, decoder }, { training: true, runs: keys });
    return made.decoder.hidden.toArray() as Float32Array;
  });

it.each(['mixtral', 'qwen3_moe'])(
  '%s: own experts of a run do not change the rows of others',
  (family) => {
    const model = open(family);
    const [before, alone] = [hidden(model, [0]), hidden(model, [1])];
    const own = attachMethod(model, null, { run: 1, seed: 0 });
    const experts = [...own.parameters].filter(([name]) => name.endsWith('down_proj'));
    tidy(() => experts.forEach(([, tensor]) => noGrad(() => fill_(tensor, 0.01))));
    const both = hidden(model, [0, 1]);
    const changed = hidden(model, [1]);
    const apart = Math.max(...changed.map((value, i) => Math.abs(value - (alone[i] as number))));
    expect(apart).toBeGreaterThan(1e-2);
    const expected = [...before, ...changed];
    both.forEach((value, i) => expect(value).toBeCloseTo(expected[i] as number, 4));
    own.detach();
    expect(hidden(model, [1])).toEqual(alone);
  },
);
