import { join } from 'node:path';
import {
  counterNormal,
  dequantizeInt8,
  mapSafetensors,
  quantizeInt8,
  tensor,
  tidy,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { afterAll, describe, expect, it } from 'vitest';
import { int8 } from './int8.js';

const PATH = 'model.layers.0.self_attn.q_proj';
const shape = { outFeatures: 20, inFeatures: 40 };
const matrix = (): Tensor => counterNormal([20, 40], { seed: 1, step: 0, site: 0 });

/** Returns a module's tensors as bitsandbytes stores them, with `changes`; undefined removes a tensor. */
function stored(changes: Readonly<Record<string, Tensor | undefined>> = {}): Map<string, Tensor> {
  const { numbers, scales } = quantizeInt8(matrix());
  const format = tensor(Uint8Array.of(0), []);
  const all = { weight: numbers, SCB: scales, weight_format: format, ...changes };
  return new Map(
    Object.entries(all).flatMap(([end, value]) => (value ? [[`${PATH}.${end}`, value]] : [])),
  );
}

it('returns the bytes of a matrix', () => {
  tidy(() => {
    const { numbers, scales } = quantizeInt8(matrix());
    const held = numbers.bytes().length + scales.bytes().length;
    expect(int8.bytes(20, 40, { model_type: 'llama' })).toBe(held);
  });
});

it.each([
  [{ quant_method: 'bitsandbytes', load_in_8bit: true }, true],
  [{ quant_method: 'bitsandbytes', load_in_4bit: true, bnb_4bit_quant_type: 'nf4' }, false],
  [{ quant_method: 'gptq', bits: 8 }, false],
])('reads the files of %j: %s', (config, expected) => {
  expect(int8.reads?.(config)).toBe(expected);
});

describe('a stored matrix', () => {
  it('is read unchanged', () => {
    tidy(() => {
      const read = int8.read?.(stored(), PATH, shape);
      expect(read?.dense('f32').bytes()).toEqual(
        dequantizeInt8(quantizeInt8(matrix()), 'f32').bytes(),
      );
      read?.dispose?.();
    });
  });

  it('is not read if it is dense', () => {
    tidy(() => expect(int8.read?.(stored({ weight: matrix() }), PATH, shape)).toBeNull());
  });

  it.each<[string, () => Record<string, Tensor | undefined>, string]>([
    ['without its scales', () => ({ SCB: undefined }), 'q_proj.SCB is missing'],
    [
      'with scales of another length',
      () => ({ SCB: tensor(new Float32Array(19), [19]) }),
      'q_proj.SCB has shape [19], but config.json implies [20]',
    ],
    [
      'of another shape',
      () => ({ weight: tensor(new Int8Array(800), [40, 20]) }),
      'q_proj.weight has shape [40, 20], but config.json implies [20, 40]',
    ],
    [
      'in another order',
      () => ({ weight_format: tensor(Uint8Array.of(1), []) }),
      'q_proj.weight_format must be 0',
    ],
  ])('%s is rejected by name', (_, changes, message) => {
    tidy(() => expect(() => int8.read?.(stored(changes()), PATH, shape)).toThrow(message));
  });
});

describe("bitsandbytes' own bytes (test/golden/stems/int8.py), bit for bit", () => {
  const file = mapSafetensors(
    join(import.meta.dirname, '../../../../test/golden/int8/matrices.safetensors'),
  );
  afterAll(() => file.close());
  const part = (name: string): Tensor => {
    const found = file.tensors.get(name);
    if (!found) throw new Error(`no ${name}`);
    return found;
  };

  it.each(['whole', 'odd', 'bf16', 'f16', 'edges'])('%s', (name) => {
    tidy(() => {
      const source = part(`${name}.source`);
      const packed = quantizeInt8(source);
      expect(packed.numbers.bytes()).toEqual(part(`${name}.weight`).bytes());
      expect(packed.scales.bytes()).toEqual(part(`${name}.SCB`).bytes());
      const [outFeatures, inFeatures] = source.shape as [number, number];
      const read = int8.read?.(file.tensors, name, { outFeatures, inFeatures });
      expect(read?.dense('f32').bytes()).toEqual(part(`${name}.dequantized`).bytes());
      read?.dispose?.();
    });
  });
});
