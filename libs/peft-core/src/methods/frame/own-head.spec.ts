import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { mapSafetensors } from '@graft/kernels';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { attachMethod } from './attach-method.js';
import type { Model } from '../../models/model.js';
import type { HfConfig } from '../../nn/hf-files.js';
import { buildModel } from '../../models/registry.js';
import type { HeadRequest } from '../../nn/outline/head-shapes.js';
import type { Adapter } from '../method.js';

const BASE = join(import.meta.dirname, '../../../../../test/golden/bert/base');
const HEAD: HeadRequest = { kind: 'classification', outputs: 3 };

let file: ReturnType<typeof mapSafetensors>;
let model: Model;
beforeAll(() => {
  file = mapSafetensors(join(BASE, 'model.safetensors'));
  const config = JSON.parse(readFileSync(join(BASE, 'config.json'), 'utf8')) as HfConfig;
  model = buildModel(config, file.tensors, { dtype: 'f32', quantization: null });
});
afterAll(() => {
  model.dispose();
  file.close();
});

/** Attaches an adapter, with a head or without one, and returns the result of `of`. */
function found<T>(peft: { peft_type: string }, head: HeadRequest | null, of: (a: Adapter) => T): T {
  const adapter = attachMethod(model, peft, { run: 1, seed: 3, head });
  try {
    return of(adapter);
  } finally {
    adapter.detach();
  }
}

const TARGETS = { target_modules: ['query', 'value'] };

it('stores the optimizer-dependent state in checkpoints, also with a head', () => {
  const peft = { peft_type: 'ADALORA', init_r: 4, target_r: 2, total_step: 9, tinit: 1, tfinal: 2 };
  const kept = (head: HeadRequest | null): string[] =>
    found({ ...peft, ...TARGETS }, head, (adapter) => [...new Map(adapter.state?.()).keys()]);
  expect(kept(null)).toContain('bert.encoder.layer.0.attention.self.query.lora_E_left');
  expect(kept(HEAD)).toEqual(kept(null));
});

it('names the biases of targets in files the same with and without a head', () => {
  const peft = { peft_type: 'UNILORA', theta_d_length: 8, bias: 'unilora_only', ...TARGETS };
  const adapted = (head: HeadRequest | null) => found(peft, head, (adapter) => adapter.adapted);
  expect(adapted(null)).toContain('bert.encoder.layer.0.attention.self.query');
  expect(adapted(HEAD)).toEqual(adapted(null));
});
