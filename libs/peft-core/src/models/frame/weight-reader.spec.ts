import { counterNormal, keep, tensor, tidy, to, type Dtype, type Tensor } from '@graft/kernels';
import { expect, it } from 'vitest';
import type { Quantizer } from '../../quant/quantizer.js';
import type { LinearShape } from '../../nn/outline/outline.js';
import { DenseWeight } from '../../nn/weight.js';
import { WeightReader, type WeightReaderOptions } from './weight-reader.js';

const linear: LinearShape = {
  path: 'model.layers.0.up',
  role: 'up',
  layer: 0,
  inFeatures: 6,
  outFeatures: 4,
  hasBias: false,
  transposed: false,
};

/** Test quantizer that keeps only the sign of each value. */
const signs: Quantizer = {
  name: 'signs',
  title: 'Signs',
  summary: '',
  quantize: (matrix) =>
    new DenseWeight(
      keep(tensor((matrix.toArray() as Float32Array).map(Math.sign), matrix.shape)),
      true,
    ),
  bytes: (outFeatures, inFeatures) => Math.ceil((outFeatures * inFeatures) / 8),
  reads: () => true,
  read(tensors, path) {
    const stored = tensors.get(`${path}.signs`);
    return stored ? new DenseWeight(keep(stored), true) : null;
  },
};

/** File that returns a new tensor for each read, and the tensors that it returned. */
function source(dtype: Dtype, names: readonly string[], shape = [4, 6]) {
  const made: Tensor[] = [];
  const get = (name: string): Tensor | undefined => {
    if (!names.includes(name)) return undefined;
    const t = to(counterNormal(shape, { seed: 1, step: 0, site: 0 }), dtype);
    made.push(t);
    return t;
  };
  return { made, tensors: { has: (name: string) => names.includes(name), get } };
}

const options = (given: Partial<WeightReaderOptions>): WeightReaderOptions => ({
  dtype: 'f32',
  quantizer: null,
  isStoredPacked: false,
  aliases: {},
  ...given,
});

it.each<Dtype>(['f32', 'f16', 'bf16'])(
  'keeps no dense copy of a quantized matrix of %s files',
  (dtype) => {
    const { made, tensors } = source(dtype, ['model.layers.0.up.weight']);
    const reader = new WeightReader(tensors, options({ quantizer: signs }));
    const weight = reader.linear(linear);
    expect(made).toHaveLength(1);
    expect(made.every(({ handle }) => handle === 0)).toBe(true);
    expect([...(weight.dense().toArray() as Float32Array)].every((x) => Math.abs(x) === 1)).toBe(
      true,
    );
    expect(reader.parameterCount).toBe(24);
    reader.dispose();
  },
);

it('converts weights of another dtype and frees the originals', () => {
  const { made, tensors } = source('f16', ['model.layers.0.up.weight']);
  const reader = new WeightReader(tensors, options({ dtype: 'bf16' }));
  const weight = reader.linear(linear);
  expect(weight.dense().dtype).toBe('bf16');
  expect(made[0]?.handle).toBe(0);
  const dense = weight.dense();
  reader.dispose();
  expect(dense.handle).toBe(0);
});

it('uses tensors of the right dtype in place and does not free them', () => {
  const own = keep(tidy(() => to(counterNormal([4, 6], { seed: 1, step: 0, site: 0 }), 'f32')));
  const tensors = new Map([['model.layers.0.up.weight', own]]);
  const reader = new WeightReader(tensors, options({}));
  expect(reader.linear(linear).dense()).toBe(own);
  reader.dispose();
  expect(own.handle).not.toBe(0);
  own.dispose();
});

it('reads quantized weights as quantized and the others as dense', () => {
  const names = ['model.layers.0.up.signs', 'model.layers.0.down.weight'];
  const { tensors } = source('f32', names);
  const reader = new WeightReader(tensors, options({ quantizer: signs, isStoredPacked: true }));
  expect(reader.linear(linear)).toBeInstanceOf(DenseWeight);
  const dense = reader.linear({ ...linear, path: 'model.layers.0.down', role: 'down' });
  expect([...(dense.dense().toArray() as Float32Array)].some((x) => Math.abs(x) !== 1)).toBe(true);
  reader.dispose();
});

it("finds a module by its name in files, and without the backbone's name", () => {
  const { tensors } = source('f32', ['embed_out.weight', 'h.0.up.weight']);
  const reader = new WeightReader(tensors, options({ aliases: { lm_head: 'embed_out' } }));
  expect(reader.take('lm_head', 'weight', [4, 6]).shape).toEqual([4, 6]);
  expect(reader.take('transformer.h.0.up', 'weight', [4, 6]).shape).toEqual([4, 6]);
  reader.dispose();
});

it.each([
  ['missing', 'model.norm', [4, 6], /no model.norm.weight/],
  [
    'misshapen',
    'model.layers.0.up',
    [4, 7],
    /up.weight has shape \[4, 6\], config.json implies \[4, 7\]/,
  ],
])('rejects a weight that is %s', (_, path, shape, message) => {
  const { tensors } = source('f32', ['model.layers.0.up.weight']);
  const reader = new WeightReader(tensors, options({}));
  expect(() => reader.take(path, 'weight', shape)).toThrow(message);
  reader.dispose();
});

it('finds norm parameters by their oldest names, with and without the backbone’s name', () => {
  const names = ['bert.norm.gamma', 'bert.norm.beta', 'pooler.weight'];
  const { tensors } = source('f32', names, [6]);
  const reader = new WeightReader(tensors, options({}));
  expect(reader.take('bert.norm', 'weight', [6]).shape).toEqual([6]);
  expect(reader.take('bert.norm', 'bias', [6]).shape).toEqual([6]);
  expect(reader.has('bert.pooler')).toBe(true);
  expect(reader.has('bert.other')).toBe(false);
  reader.dispose();
});
