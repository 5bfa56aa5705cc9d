import { mapSafetensors, tidy, to } from '@graft/kernels';
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import type { HfConfig } from '../nn/hf-files.js';
import { buildModel } from './registry.js';

const GOLDEN = new URL('../../../../test/golden/siglip/base/', import.meta.url).pathname;
const CONFIG = JSON.parse(readFileSync(`${GOLDEN}config.json`, 'utf8')) as HfConfig;

/** Hidden size 16. Transformers draws classifiers from N(0, (factor / √16)²). */
it.each([
  [{}, 0.25],
  [{ initializer_factor: 2 }, 0.5],
])('%j: initializes a classifier with a standard deviation of %d', (more, deviation) => {
  const file = mapSafetensors(`${GOLDEN}model.safetensors`);
  const config = { ...CONFIG, ...more };
  const model = buildModel(config, file.tensors, { dtype: 'f32', quantization: null });
  model.withHead(1, { kind: 'classification', outputs: 400 }, 5);
  const [output] = model.modules.heads.get(1)?.made ?? [];
  const numbers = tidy(() => [...(to(output!.weight.dense(), 'f32').toArray() as Float32Array)]);
  const found = Math.sqrt(numbers.reduce((sum, x) => sum + x * x, 0) / numbers.length);
  // estimated from 6,400 values: about 1 % error
  expect(found / deviation).toBeCloseTo(1, 1);
  expect(Math.abs(found / deviation - 1)).toBeLessThan(0.03);
  model.dispose();
  file.close();
});
