import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BiasCache, mapSafetensors, memory, noGrad } from '@graft/kernels';
import { expect, it, vi } from 'vitest';
import { BARE_BASE } from './batch.js';
import type { HfConfig } from './hf-files.js';
import { buildModel } from '../models/registry.js';

const BASE = join(import.meta.dirname, '../../../../test/golden/t5/base');

it('computes a bias once for all layers of a pass, and frees it', () => {
  const config = JSON.parse(readFileSync(join(BASE, 'config.json'), 'utf8')) as HfConfig;
  const file = mapSafetensors(join(BASE, 'model.safetensors'));
  const model = buildModel(config, file.tensors, { dtype: 'f32', quantization: null });
  const asked = vi.spyOn(BiasCache.prototype, 'of');
  const rows = (ids: number[]) => ({
    inputs: Int32Array.from(ids),
    positions: Int32Array.from(ids.keys()),
    sequences: [{ run: BARE_BASE, start: 0, length: ids.length }],
  });
  const before = memory().tensors;
  const batch = { encoder: rows([5, 6, 7, 1]), decoder: rows([0, 8]) };
  const outputs = noGrad(() => model.forward(batch, { training: false, runs: new Map() }));
  outputs.encoder.hidden.dispose();
  outputs.decoder.hidden.dispose();
  expect(memory().tensors).toBe(before);
  expect(asked).toHaveBeenCalledTimes(4); // two layers in each stack
  expect(new Set(asked.mock.contexts).size).toBe(2);
  asked.mockRestore();
  model.dispose();
  file.close();
});
