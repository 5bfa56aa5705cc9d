import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import type { HfConfig } from '../../nn/hf-files.js';
import { footprintOf, residentBytes } from './base-footprint.js';

const GOLDEN = new URL('../../../../../test/golden/', import.meta.url);
const config = (family: string): HfConfig =>
  JSON.parse(readFileSync(new URL(`${family}/base/config.json`, GOLDEN), 'utf8')) as HfConfig;

it('rejects full fine-tuning of a base with quantized files', () => {
  expect(footprintOf(null, config('llama')).trainableParameters).toBeGreaterThan(10_000);
  expect(() => footprintOf(null, config('llama-nf4'))).toThrow(
    'full fine-tuning is not supported because the base model is stored quantized (nf4); choose a method in `peft`',
  );
});

it('counts a base at its size in memory, quantized or not', () => {
  const asked = { dtype: 'f32', quantization: null } as const;
  const dense = residentBytes(config('llama'), asked);
  const packed = residentBytes(config('llama'), { ...asked, quantization: 'nf4' });
  const stored = residentBytes(config('llama-nf4'), asked);
  expect(dense).toBeGreaterThan(packed);
  expect(stored).toBe(residentBytes(config('llama-nf4'), { ...asked, quantization: 'nf4' }));
  expect(() => residentBytes(config('llama'), { ...asked, quantization: 'int3' })).toThrow(
    "unknown quantization 'int3'",
  );
});
