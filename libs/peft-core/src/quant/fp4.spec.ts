// nf4.spec.ts tests what both codes share.
import { join } from 'node:path';
import { dequantizeNf4, mapSafetensors, quantizeNf4, tidy } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { afterAll, describe, expect, it } from 'vitest';
import { fp4 } from './fp4.js';

it.each([
  [{ quant_method: 'bitsandbytes', load_in_4bit: true, bnb_4bit_quant_type: 'fp4' }, true],
  [{ quant_method: 'bitsandbytes', load_in_4bit: true, bnb_4bit_quant_type: 'nf4' }, false],
])('reads the files of %j: %s', (config, expected) => {
  expect(fp4.reads?.(config)).toBe(expected);
});

describe("bitsandbytes' own bytes (test/golden/stems/fp4.py), bit for bit", () => {
  const file = mapSafetensors(
    join(import.meta.dirname, '../../../../test/golden/fp4/matrices.safetensors'),
  );
  afterAll(() => file.close());
  const part = (name: string): Tensor => {
    const found = file.tensors.get(name);
    if (!found) throw new Error(`no ${name}`);
    return found;
  };
  const names = ['whole', 'bf16', 'odd', 'edges'];

  it.each(names.flatMap((name) => [`${name}.plain`, `${name}.double`]))('%s', (path) => {
    tidy(() => {
      const source = part(`${path.split('.')[0] as string}.source`);
      const doubleQuant = path.endsWith('double');
      const packed = quantizeNf4(source, { doubleQuant, code: 'fp4' });
      const bytes = (end: string): Uint8Array => part(`${path}.weight${end}`).bytes();
      expect(packed.numbers.bytes()).toEqual(bytes(''));
      expect(packed.absmax.bytes()).toEqual(bytes('.absmax'));
      const whole = part(`${path}.dequantized`);
      expect(dequantizeNf4(packed, whole.dtype).bytes()).toEqual(whole.bytes());
      expect(dequantizeNf4(packed, whole.dtype, true).bytes()).toEqual(whole.bytes());
      const [outFeatures, inFeatures] = source.shape as [number, number];
      const read = fp4.read?.(file.tensors, path, { outFeatures, inFeatures });
      expect(read?.dense(whole.dtype).bytes()).toEqual(whole.bytes());
      read?.dispose?.();
    });
  });
});
