import { join } from 'node:path';
import {
  counterNormal,
  keep,
  mapSafetensors,
  matmul,
  mul,
  noGrad,
  sub,
  svd,
  tidy,
  transpose,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Linear } from '../../nn/layers/linear.js';
import { DenseWeight } from '../../nn/weight.js';
import { lowRankSvd, makeFactors, takesFromWeight } from './lora-init.js';
import type { LoraInit, LoraStart } from './lora-init.js';
import { ModuleParameters } from '../frame/parameters.js';

const SHAPES = [
  ['tall', [12, 7]],
  ['wide', [5, 9]],
] as const;

let weights: Tensor[];
beforeAll(() => {
  weights = SHAPES.map(([, shape], site) => keep(counterNormal(shape, { seed: 2, step: 0, site })));
});
afterAll(() => weights.forEach((weight) => weight.dispose()));

const linearOf = (weight: Tensor, transposed = false): Linear =>
  new Linear({
    path: 'layer',
    role: 'q',
    layer: 0,
    index: 0,
    weight: new DenseWeight(weight),
    bias: null,
    transposed,
  });

const largest = (tensor: Tensor): number =>
  (tensor.toArray() as Float32Array).reduce((most, value) => Math.max(most, Math.abs(value)), 0);

const LOW_RANK = join(
  import.meta.dirname,
  '../../../../../test/golden/lora-svd/low-rank.safetensors',
);
const SIZE = { r: 4, scale: 1.5 };

/** Returns the value of the update and of its factors at the start. */
function begun(init: LoraInit, weight: Tensor): { update: number; a: number; b: number } {
  const parameters = new ModuleParameters('layer', 3);
  try {
    return noGrad(() =>
      tidy(() => {
        makeFactors(linearOf(weight), startOf(init), SIZE, parameters);
        const parts = parameters.exported();
        const [a, b] = ['layer.lora_A', 'layer.lora_B'].map((name) => parts.get(name) as Tensor);
        return {
          update: largest(matmul(b as Tensor, a as Tensor)),
          a: largest(a as Tensor),
          b: largest(b as Tensor),
        };
      }),
    );
  } finally {
    parameters.dispose();
  }
}

const startOf = (init: LoraInit): LoraStart => ({ init_lora_weights: init, loftq_config: {} });

describe.each(SHAPES)('on a %s weight', (kind, shape) => {
  const weight = (): Tensor => weights[SHAPES.findIndex((one) => one[1] === shape)] as Tensor;

  it.each<LoraInit>(['orthogonal', 'pissa', 'pissa_niter_4', 'olora'])(
    '%s starts as the base, and neither A nor B is zero',
    (init) => {
      const { update, a, b } = begun(init, weight());
      expect(update).toBeLessThan(1e-5);
      expect(a).toBeGreaterThan(1e-2);
      expect(b).toBeGreaterThan(1e-2);
    },
  );

  it('mica starts at zero with a frozen B', () => {
    const parameters = new ModuleParameters('layer', 3);
    makeFactors(linearOf(weight()), startOf('mica'), SIZE, parameters);
    expect([...parameters.trained.keys()]).toEqual(['layer.lora_A']);
    tidy(() => {
      const [a, b] = [...parameters.saved.values()] as [Tensor, Tensor];
      expect(largest(a)).toBe(0);
      // columns of length 1, orthogonal to one another and to W's other left singular vectors
      const { u, s } = svd(weight());
      const seen = matmul(transpose(b, 0, 1), u).toArray() as Float32Array;
      const rank = s.shape[0] as number;
      seen.forEach((value, i) => {
        const [row, column] = [Math.floor(i / rank), i % rank];
        expect(Math.abs(value)).toBeCloseTo(column === rank - SIZE.r + row ? 1 : 0, 4);
      });
    });
    parameters.dispose();
  });

  it.each([0, 1, 4])('%i rounds equal torch.svd_lowrank', (rounds) => {
    const { tensors, close } = mapSafetensors(LOW_RANK);
    tidy(() => {
      const [w, start, values, product] = ['w', 'start', 's', 'product'].map((part) =>
        tensors.get(`${kind}.${rounds}.${part}`),
      ) as [Tensor, Tensor, Tensor, Tensor];
      const { u, s, vh } = lowRankSvd(w, start, rounds);
      expect(largest(sub(s, values))).toBeLessThan(1e-5);
      expect(largest(sub(matmul(mul(u, s), vh), product))).toBeLessThan(1e-5);
    });
    close();
  });
});

it.each<[LoraInit, number, RegExp]>([
  ['orthogonal', 3, /requires an even rank, but layer has rank 3/],
  ['pissa', 6, /requires a rank of at most 5 for a weight of shape \[5, 9\]/],
  ['olora', 6, /a rank of at most 5/],
  ['mica', 6, /a rank of at most 5/],
  ['corda', 6, /a rank of at most 5/],
  ['lora_ga', 3, /a rank of at most 2/],
  ['loftq', 6, /a rank of at most 5/],
])('%s rejects rank %i', (init, r, message) => {
  const parameters = new ModuleParameters('layer', 3);
  const weight = weights[1] as Tensor;
  expect(() => makeFactors(linearOf(weight), startOf(init), { r, scale: 1 }, parameters)).toThrow(
    message,
  );
});

it.each<[LoraInit, boolean, RegExp | null]>([
  ['pissa', false, null],
  ['olora', false, null],
  ['olora', true, /treats weights that are stored \[in, out\] as \[out, in\]/],
  ['pissa_niter_4', false, /"pissa_niter_4" draws random numbers/],
  ['corda', false, /"corda" depends on the training data/],
])(
  'a file of %s (stored [in, out]: %s) without the part subtracted from W',
  (init, transposed, message) => {
    const parameters = new ModuleParameters('layer', 3);
    makeFactors(linearOf(weights[0] as Tensor, transposed), startOf(init), SIZE, parameters);
    expect(takesFromWeight(init)).toBe(true);
    tidy(() => {
      const file = parameters.saved;
      if (message) expect(() => parameters.takeBehind(file)).toThrow(message);
      else expect([...parameters.takeBehind(file).keys()]).toEqual([...file.keys()]);
      expect(() => parameters.takeBehind(parameters.exported())).not.toThrow();
    });
    parameters.dispose();
  },
);
