import { join } from 'node:path';
import { mapSafetensors, setThreads, tidy } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { configOf, refusal } from '../../test/one-linear.js';
import { attachMethod } from './frame/attach-method.js';
import { footprintOf } from '../catalog.js';
import type { Model } from '../models/model.js';
import { buildModel } from '../models/registry.js';

const BASE = join(import.meta.dirname, '../../../../test/golden/llama/base/model.safetensors');
const peft = { peft_type: 'CARTRIDGE', num_virtual_tokens: 5, num_frozen_tokens: 2 };
/** Keys and values of two layers with 2 heads of 8. */
const COLUMNS = 2 * 2 * 16;

let file: ReturnType<typeof mapSafetensors>;
let model: Model;
beforeAll(() => {
  setThreads(1);
  file = mapSafetensors(BASE);
  model = buildModel(configOf('llama'), file.tensors, { dtype: 'f32', quantization: null });
});
afterAll(() => {
  model.dispose();
  file.close();
});

const table = (t: Tensor): number[] => [...(t.toArray() as Float32Array)];

it('saves all rows, and has the trainable ones as parameters', () => {
  const adapter = attachMethod(model, peft, { run: 1, seed: 3 });
  const [whole, trained] = tidy(() => [
    table(adapter.exported().get('prompt_embeddings') as Tensor),
    table(adapter.parameters.get('trainable_embedding') as Tensor),
  ]) as [number[], number[]];
  expect(whole.length).toBe(5 * COLUMNS);
  expect(whole.slice(2 * COLUMNS)).toEqual(trained);
  expect(footprintOf(peft, configOf('llama')).trainableParameters).toBe(3 * COLUMNS);
  expect(footprintOf(peft, configOf('llama'), true).trainableParameters).toBe(3 * COLUMNS);
  adapter.detach();
});

it('loads the frozen rows of a file, too', () => {
  const saved = attachMethod(model, peft, { run: 1, seed: 3 });
  const values = tidy(() => table(saved.exported().get('prompt_embeddings') as Tensor));
  const adapter = attachMethod(model, peft, { run: 2, seed: 4 });
  tidy(() => adapter.load(saved.exported()));
  expect(tidy(() => table(adapter.exported().get('prompt_embeddings') as Tensor))).toEqual(values);
  expect([...adapter.parameters.keys()]).toEqual(['trainable_embedding']);
  adapter.detach();
  saved.detach();
});

it('requires at least one trainable row', () => {
  expect(refusal({ ...peft, num_frozen_tokens: 5 })).toMatchObject({
    param: 'peft.num_frozen_tokens',
  });
  expect(refusal({ ...peft, num_frozen_tokens: 0 })).toBeNull();
});
