import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  counterNormal,
  linear as multiply,
  mapSafetensors,
  setThreads,
  sub,
  tidy,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { attachMethod } from './frame/attach-method.js';
import { footprintOf } from '../catalog.js';
import type { Model } from '../models/model.js';
import type { HfConfig } from '../nn/hf-files.js';
import { buildModel } from '../models/registry.js';
import type { Linear } from '../nn/layers/linear.js';

const BASE = join(import.meta.dirname, '../../../../test/golden/llama/base');
const config = JSON.parse(readFileSync(join(BASE, 'config.json'), 'utf8')) as HfConfig;
const ROWS = 40;

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

interface Outcome {
  readonly update: Float32Array;
  readonly merged: Float32Array;
  readonly out: number;
}

/** Returns the change that LoHa makes to q of layer 0, by its forward pass at `step` and by its merged weight. */
function outcome(fields: object, { training = false, step = 1 } = {}): Outcome {
  const peft = { peft_type: 'LOHA', target_modules: ['q_proj'], init_weights: false, ...fields };
  const adapter = attachMethod(model, peft, { run: 1, seed: 5 });
  const [linear] = model.modules.linears(['q']) as [Linear];
  try {
    return tidy(() => {
      const x = counterNormal([ROWS, linear.inFeatures], { seed: 1, step: 0, site: 0 });
      const ctx = {
        training,
        runs: new Map([[1, { seed: 9, step }]]),
        rows: [{ run: 1, start: 0, length: ROWS }],
      };
      const base = linear.weight.multiply(x, linear.bias);
      const whole = adapter.merged?.().get(`${linear.path}.weight`) as Tensor;
      const floats = (t: Tensor): Float32Array => t.toArray() as Float32Array;
      return {
        update: floats(sub(linear.forward(x, ctx), base)),
        merged: floats(sub(multiply(x, whole, linear.bias), base)),
        out: linear.outFeatures,
      };
    });
  } finally {
    adapter.detach();
  }
}

const worst = (a: Float32Array, b: Float32Array): number =>
  a.reduce((most, value, i) => Math.max(most, Math.abs(value - (b[i] as number))), 0);

// q is 32 × 32: up to rank 3 the update is computed as two thin matrices, from rank 4 on as a full matrix
it.each([2, 3, 4, 8])('rank %i: the forward pass equals the merged weight', (r) => {
  const { update, merged } = outcome({ r });
  expect(Math.max(...merged.map(Math.abs))).toBeGreaterThan(1e-3);
  expect(worst(update, merged)).toBeLessThan(1e-5);
});

describe.each([2, 8])('rank %i', (r) => {
  it('drops whole rows in training, different in each step, and rescales the others', () => {
    const given = { r, rank_dropout: 0.5 };
    const { update, merged, out } = outcome(given, { training: true });
    const isKept = Array.from({ length: out }, (_, o) => update[o] !== 0);
    const kept = isKept.filter(Boolean).length;
    expect(kept).toBeGreaterThan(0);
    expect(kept).toBeLessThan(out);
    const expected = merged.map((value, i) => (isKept[i % out] ? (value * out) / kept : 0));
    expect(worst(update, expected)).toBeLessThan(1e-5);
    expect(outcome(given, { training: true }).update).toEqual(update);
    expect(outcome(given, { training: true, step: 2 }).update).not.toEqual(update);
    expect(worst(outcome(given).update, merged)).toBeLessThan(1e-5);
  });
});

it('disables the update of a linear layer in some training steps', () => {
  const given = { module_dropout: 0.25 };
  const steps = Array.from({ length: 64 }, (_, step) =>
    outcome(given, { training: true, step }).update.every((value) => value === 0),
  );
  const share = steps.filter(Boolean).length / steps.length;
  expect(share).toBeGreaterThan(0.1);
  expect(share).toBeLessThan(0.4);
  expect(outcome(given).update.every((value) => value === 0)).toBe(false);
});

it('rejects weights that are stored [in, out], as in PEFT, before anything is loaded', () => {
  const gpt2 = JSON.parse(
    readFileSync(join(BASE, '../../gpt2/base/config.json'), 'utf8'),
  ) as HfConfig;
  expect(() => footprintOf({ peft_type: 'LOHA' }, gpt2)).toThrow(
    expect.objectContaining({ code: 'unsupported', param: 'peft.peft_type' }),
  );
});
