import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { keep, mapSafetensors, mul, noGrad, tensor, tidy, type Tensor } from '@graft/kernels';
import { expect, it } from 'vitest';
import { packBatch } from '../tasks/batches/pack.js';
import type { HfConfig } from '../nn/hf-files.js';
import { buildModel } from './registry.js';

const BASE = join(import.meta.dirname, '../../../../test/golden/gpt2/base');
const config = JSON.parse(readFileSync(join(BASE, 'config.json'), 'utf8')) as HfConfig;
const tokens = Int32Array.from([3, 1, 4, 1, 5, 9, 2, 6]);
const labels = tokens.map(() => -100);
const { batch } = packBatch([{ run: 0, examples: [{ tokens, labels, first: -100 }] }]);

function hidden(changes: object, tensors: ReadonlyMap<string, Tensor>): Float32Array {
  const options = { dtype: 'f32', quantization: null } as const;
  const model = buildModel({ ...config, ...changes }, tensors, options);
  try {
    const ctx = { training: false, runs: new Map() };
    const forward = (): Float32Array =>
      tidy(() => model.forward(batch, ctx).decoder.hidden.toArray() as Float32Array);
    return noGrad(forward).slice();
  } finally {
    model.dispose();
  }
}

/** Divides the queries of each layer by the layer's number, from 1. c_attn: [in, 3 D], queries first */
function withSmallerQueries(tensors: ReadonlyMap<string, Tensor>): Map<string, Tensor> {
  const width = config['n_embd'] as number;
  return new Map(
    [...tensors].map(([name, values]) => {
      const layer = /\.h\.(\d+)\.attn\.c_attn\./.exec(name)?.[1];
      if (layer === undefined) return [name, values];
      const by = Float32Array.from({ length: 3 * width }, (_, i) =>
        i < width ? 1 / (Number(layer) + 1) : 1,
      );
      return [name, keep(tidy(() => mul(values, tensor(by, [3 * width]))))];
    }),
  );
}

it('scale_attn_by_inverse_layer_idx divides the scores of a layer by its number', () => {
  const file = mapSafetensors(join(BASE, 'model.safetensors'));
  const smaller = withSmallerQueries(file.tensors);
  try {
    const scaled = hidden({ scale_attn_by_inverse_layer_idx: true }, file.tensors);
    const expected = hidden({}, smaller);
    scaled.forEach((value, i) => expect(value).toBeCloseTo(expected[i] as number, 4));
    const plain = hidden({}, file.tensors);
    expect(scaled.some((value, i) => Math.abs(value - (plain[i] as number)) > 1e-2)).toBe(true);
  } finally {
    smaller.forEach((values, name) => values !== file.tensors.get(name) && values.dispose());
    file.close();
  }
});
