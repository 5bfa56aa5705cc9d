import { join } from 'node:path';
import {
  counterNormal,
  dequantizeNf4,
  linear,
  mapSafetensors,
  quantizeNf4,
  tensor,
  tidy,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { afterAll, describe, expect, it } from 'vitest';
import type { LinearShape } from '../nn/outline/outline.js';
import type { Weight } from '../nn/weight.js';
import { nf4 } from './nf4.js';

const shape: LinearShape = {
  path: 'model.layers.0.self_attn.q_proj',
  role: 'q',
  layer: 0,
  outFeatures: 20,
  inFeatures: 40,
  hasBias: false,
  transposed: false,
};
const matrix = (): Tensor => counterNormal([20, 40], { seed: 1, step: 0, site: 0 });

const STATE = {
  quant_type: 'nf4',
  blocksize: 64,
  dtype: 'float32',
  shape: [20, 40],
  nested_blocksize: 256,
  nested_dtype: 'float32',
};
const json = (value: unknown): Tensor => {
  const bytes = Uint8Array.from(Buffer.from(JSON.stringify(value)));
  return tensor(bytes, [bytes.length]);
};

/** Returns a module's tensors as bitsandbytes stores them, with `changes`; undefined removes a tensor. */
function stored(
  path: string,
  changes: Readonly<Record<string, Tensor | undefined>> = {},
): Map<string, Tensor> {
  const { numbers, absmax, nested } = quantizeNf4(matrix());
  if (!nested) throw new Error('not nested');
  const code = dequantizeNf4(
    {
      shape: [1, 16],
      blocksize: 64,
      numbers: tensor(Uint8Array.from([1, 35, 69, 103, 137, 171, 205, 239]), [8]),
      absmax: tensor([1], [1]),
      nested: null,
    },
    'f32',
  );
  const all: Record<string, Tensor | undefined> = {
    '': numbers,
    '.absmax': absmax,
    '.nested_absmax': nested.absmax,
    '.nested_quant_map': nested.code,
    '.quant_map': code,
    '.quant_state.bitsandbytes__nf4': json({ ...STATE, nested_offset: nested.offset }),
    ...changes,
  };
  return new Map(
    Object.entries(all).flatMap(([end, value]) => (value ? [[`${path}.weight${end}`, value]] : [])),
  );
}

it('multiplies like its dequantized matrix', () => {
  tidy(() => {
    const weight = nf4.quantize?.(matrix()) as Weight;
    expect([weight.outFeatures, weight.inFeatures]).toEqual([20, 40]);
    const x = counterNormal([3, 40], { seed: 2, step: 0, site: 0 });
    const bias = counterNormal([20], { seed: 3, step: 0, site: 0 });
    const [got, wanted] = [weight.multiply(x, bias), linear(x, weight.dense('f32'), bias)];
    expect([...got.toArray()]).toEqual(
      [...wanted.toArray()].map((value) => expect.closeTo(Number(value), 4) as number),
    );
    weight.dispose?.();
  });
});

it('returns the bytes of a matrix', () => {
  tidy(() => {
    const { numbers, absmax, nested } = quantizeNf4(
      counterNormal([300, 200], { seed: 1, step: 0, site: 0 }),
    );
    if (!nested) throw new Error('not nested');
    const held = [numbers, absmax, nested.absmax, nested.code].map((t) => t.bytes().length);
    expect(nf4.bytes(300, 200, { model_type: 'llama' })).toBe(held.reduce((a, b) => a + b));
  });
});

it.each([
  [{ quant_method: 'bitsandbytes', load_in_4bit: true, bnb_4bit_quant_type: 'nf4' }, true],
  [{ quant_method: 'bitsandbytes', load_in_4bit: true, bnb_4bit_quant_type: 'fp4' }, false],
  [{ quant_method: 'bitsandbytes', load_in_8bit: true }, false],
  [{ quant_method: 'gptq', bits: 4 }, false],
])('reads the files of %j: %s', (config, expected) => {
  expect(nf4.reads?.(config)).toBe(expected);
});

describe('a stored matrix', () => {
  it('is read unchanged', () => {
    tidy(() => {
      const read = nf4.read?.(stored(shape.path), shape.path, shape);
      const wanted = dequantizeNf4(quantizeNf4(matrix()), 'f32');
      expect(read?.dense('f32').bytes()).toEqual(wanted.bytes());
      read?.dispose?.();
    });
  });

  it('is not read if it is dense', () => {
    tidy(() => {
      const dense = new Map([[`${shape.path}.weight`, matrix()]]);
      expect(nf4.read?.(dense, shape.path, shape)).toBeNull();
    });
  });

  it.each<[string, Record<string, unknown>, string]>([
    [
      'of another shape',
      { '.quant_state.bitsandbytes__nf4': { ...STATE, shape: [20, 41] } },
      'q_proj.weight has shape [20, 41], but config.json implies [20, 40]',
    ],
    [
      'of another type',
      { '.quant_state.bitsandbytes__nf4': { ...STATE, quant_type: 'fp4' } },
      'quant_type',
    ],
    [
      'without its scales',
      { '.absmax': undefined },
      'q_proj.weight.absmax is missing, expected 13 × u8',
    ],
    [
      'truncated',
      { '': Uint8Array.from({ length: 399 }) },
      'q_proj.weight is u8 [399], expected 400 × u8',
    ],
    [
      'with scales of another dtype',
      { '.absmax': Float32Array.from({ length: 13 }) },
      'q_proj.weight.absmax is f32 [13], expected 13 × u8',
    ],
    [
      'of another code',
      { '.quant_map': Float32Array.from({ length: 16 }) },
      'q_proj.weight.quant_map does not match the code of NF4',
    ],
  ])('%s is rejected by name', (_, changes, message) => {
    tidy(() => {
      const made = Object.entries(changes).map(([end, value]): [string, Tensor | undefined] => {
        if (value === undefined) return [end, undefined];
        if (value instanceof Uint8Array || value instanceof Float32Array)
          return [end, tensor(value, [value.length])];
        return [end, json({ nested_offset: 0, ...(value as object) })];
      });
      const tensors = stored(shape.path, Object.fromEntries(made));
      expect(() => nf4.read?.(tensors, shape.path, shape)).toThrow(message);
    });
  });
});

describe("bitsandbytes' own bytes (test/golden/stems/nf4.py), bit for bit", () => {
  const golden = join(import.meta.dirname, '../../../../test/golden/nf4/matrices.safetensors');
  const file = mapSafetensors(golden);
  afterAll(() => file.close());
  const names = [...file.tensors.keys()].flatMap((name) =>
    name.endsWith('.source') ? [name.slice(0, -'.source'.length)] : [],
  );
  const part = (name: string): Tensor => {
    const found = file.tensors.get(name);
    if (!found) throw new Error(`no ${name}`);
    return found;
  };
  interface State {
    readonly blocksize: number;
    readonly nested_blocksize?: number;
    readonly nested_offset?: number;
  }

  it.each(
    names.flatMap((name) => [
      [`${name}.plain`, name],
      [`${name}.double`, name],
    ]),
  )('%s', (path, name) => {
    tidy(() => {
      const source = part(`${name}.source`);
      const [outFeatures, inFeatures] = source.shape as [number, number];
      const bytes = (end: string): Uint8Array => part(`${path}.weight${end}`).bytes();
      const state = JSON.parse(
        Buffer.from(bytes('.quant_state.bitsandbytes__nf4')).toString(),
      ) as State;
      const doubleQuant = path.endsWith('double');
      const packed = quantizeNf4(source, { blocksize: state.blocksize, doubleQuant });
      expect(packed.numbers.bytes()).toEqual(bytes(''));
      expect(packed.absmax.bytes()).toEqual(bytes('.absmax'));
      expect(packed.nested !== null).toBe(doubleQuant);
      if (packed.nested) {
        expect(packed.nested.absmax.bytes()).toEqual(bytes('.nested_absmax'));
        expect(packed.nested.code.bytes()).toEqual(bytes('.nested_quant_map'));
        const { blocksize, offset } = packed.nested;
        expect([blocksize, offset]).toEqual([state.nested_blocksize, state.nested_offset]);
      }
      const whole = part(`${path}.dequantized`);
      expect(dequantizeNf4(packed, whole.dtype).bytes()).toEqual(whole.bytes());
      const read = nf4.read?.(file.tensors, path, { ...shape, outFeatures, inFeatures });
      expect(read?.dense(whole.dtype).bytes()).toEqual(whole.bytes());
      read?.dispose?.();
    });
  });
});
