// Tests the frame with a method that uses all of it: matrices shared by all targets (as in VeRA), one trainable part
// and one frozen part, a penalty, and a step over all targets (as in AdaLoRA's budget).
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  add,
  fill_,
  mapSafetensors,
  memory,
  mul,
  noGrad,
  setThreads,
  sum,
  tidy,
  unsqueeze,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { z } from 'zod';
import { attachMethod } from './attach-method.js';
import type { Model } from '../../models/model.js';
import type { HfConfig } from '../../nn/hf-files.js';
import { buildModel, outlineOf } from '../../models/registry.js';
import type { Linear } from '../../nn/layers/linear.js';
import { modulesToSave, targetFields } from './fields.js';
import { linearMethod } from './linear-method.js';
import type { LinearUpdate, SharedState } from './linear-method.js';
import type { NamedTensors } from '../method.js';

const BASE = join(import.meta.dirname, '../../../../../test/golden/llama/base');
const config = JSON.parse(readFileSync(join(BASE, 'config.json'), 'utf8')) as HfConfig;
const Options = z.strictObject({ ...targetFields('query'), modules_to_save: modulesToSave });

interface Shared extends SharedState {
  readonly common: Tensor;
  readonly fixed: Tensor;
}

const steps: [number, number][] = [];

const shift = linearMethod<z.infer<typeof Options>, Shared>({
  name: 'SHIFT',
  title: 'Shift',
  summary: 'y + (common + fixed) · own',
  paper: null,
  defaultLearningRate: 1e-3,
  options: Options,
  unsupported: {},
  tensors: { own: 'parameter', common: 'shared', fixed: 'shared' },
  defaultTargets: () => ['q'],
  conv1d: true,
  shapes:
    () =>
    ({ outFeatures }) => ({ own: [outFeatures] }),
  shared: {
    shapes: () => ({ common: [1] }),
    make(_, __, parameters) {
      const common = parameters.ones('common', [1]);
      return {
        common,
        fixed: parameters.constant('fixed', () => tidy(() => mul(add(common, 1), 0.5).detach())),
        penalty: () => sum(common),
        afterStep: (step, updates) => void steps.push([step, updates.length]),
      };
    },
  },
  adapt:
    () =>
    (linear, parameters, { common, fixed }): LinearUpdate => {
      const own = parameters.zeros('own', [linear.outFeatures]);
      const update = (): Tensor => mul(own, add(common, fixed));
      return {
        after: (y) => tidy(() => add(y, update())),
        merged: (weight, bias) => ({ weight, bias: bias ? add(bias, update()) : update() }),
        penalty: () => sum(own),
      };
    },
});

let file: ReturnType<typeof mapSafetensors>;
let model: Model;
beforeAll(() => {
  setThreads(1);
  file = mapSafetensors(join(BASE, 'model.safetensors'));
  model = buildModel(config, file.tensors, { dtype: 'f32', quantization: null });
});
afterAll(() => {
  model.dispose();
  file.close();
});

const options = (fields: object = {}): z.infer<typeof Options> => Options.parse(fields);
const attach = (fields?: object) => shift.attach(model, options(fields), { run: 1, seed: 1 });
const set = (tensors: NamedTensors, part: string, value: number): void =>
  noGrad(() => {
    for (const [name, tensor] of tensors) if (name.split('.').at(-1) === part) fill_(tensor, value);
  });

it('frees the tensors of a linear layer at which creating the adapter failed', () => {
  const [first, second] = model.modules.linears(['q']) as [Linear, Linear];
  const { weight } = second;
  let reads = 0;
  const failing = Object.assign(Object.create(weight) as typeof weight, {
    dense(dtype: 'f32' = 'f32') {
      // DoRA reads the weight once for the squares of its rows, which are cached, and once for its norms
      if (++reads > 1) throw new Error('the weight is gone');
      return weight.dense(dtype);
    },
  });
  Object.assign(second, { weight: failing });
  const target = [first, second].map(({ path }) => path);
  const peft = { peft_type: 'LORA', use_dora: true, target_modules: target };
  try {
    const before = memory().tensors;
    const attaching = (): unknown =>
      tidy(() => void attachMethod(model, peft, { run: 1, seed: 1 }));
    expect(attaching).toThrow('the weight is gone');
    expect(memory().tensors).toBe(before);
  } finally {
    Object.assign(second, { weight });
  }
});

it('trains shared parameters once, and saves frozen tensors with them', () => {
  const adapter = attach();
  const layers = model.modules.linears(['q']).length;
  const targets = model.modules.linears(['q']).map(({ path }) => `${path}.own`);
  expect([...adapter.parameters.keys()]).toEqual([...targets, 'common']);
  expect([...adapter.exported().keys()]).toEqual([...targets, 'common', 'fixed']);
  const sizes = [...adapter.parameters.values()].reduce((n, { size }) => n + size, 0);
  const base = { modelType: 'llama', warmStart: false, config, adapters: [] };
  expect(shift.footprint(outlineOf(config), options(), base).trainableParameters).toBe(sizes);
  // load() restores both parts
  set(adapter.exported(), 'fixed', 7);
  set(adapter.exported(), 'own', 3);
  const saved = new Map([...adapter.exported()].map(([name, t]) => [name, mul(t, 1).detach()]));
  adapter.detach();
  const again = attach();
  again.load(saved);
  expect(again.exported().get('fixed')?.item()).toBe(7);
  expect(layers).toBeGreaterThan(1);
  again.detach();
});

it('adds penalties of targets and shared parameters, and forwards steps', () => {
  const adapter = attach();
  set(adapter.parameters, 'own', 1);
  const { outFeatures } = model.modules.linears(['q'])[0] as Linear;
  const layers = model.modules.linears(['q']).length;
  expect(tidy(() => adapter.penalty?.().item())).toBe(layers * outFeatures + 1);
  adapter.afterStep?.(5);
  expect(steps).toEqual([[5, layers]]);
  adapter.detach();
});

it('merges a bias into a linear layer without one, and ignores modules_to_save', () => {
  const adapter = attach({ modules_to_save: ['lm_head'] });
  set(adapter.parameters, 'own', 2);
  tidy(() => {
    const merged = adapter.merged?.() as Map<string, Tensor>;
    const path = (model.modules.linears(['q'])[0] as { path: string }).path;
    expect(merged.get(`${path}.bias`)?.toArray()[0]).toBe(4);
    expect(merged.has('lm_head.weight')).toBe(true);
    expect(unsqueeze(merged.get(`${path}.weight`) as Tensor, 0).shape[0]).toBe(1);
  });
  adapter.detach();
});

it.each(['LORA', 'IA3', 'LOHA'])('%s that cannot be attached frees all tensors', (type) => {
  const before = memory().tensors;
  const peft = { peft_type: type, modules_to_save: ['lm_head', 'none_such'] };
  expect(() => attachMethod(model, peft, { run: 1, seed: 1 })).toThrow('none_such');
  expect(memory().tensors).toBe(before);
});
