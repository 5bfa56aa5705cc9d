import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { mapSafetensors, setThreads, tidy } from '@graft/kernels';
import { beforeAll, describe, expect, it } from 'vitest';
import { attachMethod } from './frame/attach-method.js';
import { checkPeft } from '../catalog.js';
import type { HfConfig } from '../nn/hf-files.js';
import { buildModel } from '../models/registry.js';

const GOLDEN = join(import.meta.dirname, '../../../../test/golden');
beforeAll(() => setThreads(1));

/** Returns the resolved options and the scales on a golden base. */
function resolved(family: string, fields: object = {}) {
  const config = JSON.parse(
    readFileSync(join(GOLDEN, family, 'base/config.json'), 'utf8'),
  ) as HfConfig;
  const file = mapSafetensors(join(GOLDEN, family, 'base/model.safetensors'));
  const model = buildModel(config, file.tensors, { dtype: 'f32', quantization: null });
  const adapter = attachMethod(model, { peft_type: 'IA3', ...fields }, { run: 1, seed: 3 });
  const scales = tidy(() =>
    [...adapter.parameters.values()].flatMap((l) => [...(l.toArray() as Float32Array)]),
  );
  const { target_modules: targets, feedforward_modules: inner } = adapter.resolvedConfig();
  adapter.detach();
  model.dispose();
  file.close();
  return { targets, inner, scales };
}

describe("PEFT's default modules of the family", () => {
  it.each([
    ['llama', ['down_proj', 'k_proj', 'v_proj'], ['down_proj']],
    ['mistral', ['down_proj', 'k_proj', 'v_proj'], ['down_proj']],
    ['qwen2', ['down_proj', 'q_proj', 'v_proj'], ['down_proj']],
    ['qwen3', ['down_proj', 'q_proj', 'v_proj'], ['down_proj']],
    ['gpt2', ['c_attn', 'mlp.c_proj'], ['mlp.c_proj']],
  ])('%s', (family, targets, inner) => {
    expect(resolved(family)).toMatchObject({ targets, inner });
  });

  it('feed-forward modules, also with explicit targets', () => {
    expect(resolved('llama', { target_modules: ['q_proj'] })).toMatchObject({
      targets: ['q_proj'],
      inner: ['down_proj'],
    });
  });
});

it('writes all linear layers one by one, however many', () => {
  const { targets } = resolved('llama', { target_modules: 'all-linear' });
  expect((targets as string[]).every((path) => path.startsWith('model.layers.'))).toBe(true);
});

it('starts at one, or at random values that depend on the seed', () => {
  expect(new Set(resolved('llama').scales)).toEqual(new Set([1]));
  const random = resolved('llama', { init_ia3_weights: false }).scales;
  expect(new Set(random).size).toBeGreaterThan(random.length / 2);
  expect(resolved('llama', { init_ia3_weights: false }).scales).toEqual(random);
});

it.each([
  [
    { target_modules: ['k_proj'], feedforward_modules: ['down_proj'] },
    'peft.feedforward_modules',
    /do not list "down_proj"/,
  ],
  [{ feedforward_modules: '(' }, 'peft.feedforward_modules', /not a regular expression/],
  [{ bias: 'all' }, 'peft.bias', /IA3 has no field "bias"/],
])('rejects %j', (fields, param, message) => {
  const check = (): unknown => checkPeft({ peft_type: 'IA3', ...fields }, 'llama');
  expect(check).toThrow(expect.objectContaining({ param }));
  expect(check).toThrow(message);
});
