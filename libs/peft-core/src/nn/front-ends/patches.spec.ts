import {
  counterNormal,
  interpolateBicubic,
  narrow,
  permute,
  reshape,
  tidy,
  zeros,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { expect, it } from 'vitest';
import { runRows } from '../batch.js';
import type { Sequence } from '../batch.js';
import { Embedding } from '../layers/embedding.js';
import { Linear } from '../layers/linear.js';
import { DenseWeight } from '../weight.js';
import { embedPatches, patchRows, PatchesOptions } from './patches.js';
import type { PatchesModules } from './patches.js';

const OPTIONS = PatchesOptions.parse({
  kind: 'patches',
  channels: 1,
  imageSize: [8, 8],
  patch: [2, 2],
  interpolation: 'bicubic',
  tokens: 1,
});
const WIDTH = 3;

let site = 0;
const random = (...shape: number[]): Tensor =>
  counterNormal(shape, { seed: 5, step: 0, site: site++ });

function modules(positions: Tensor): PatchesModules<Linear, Embedding> {
  const projection = new Linear({
    path: 'projection',
    role: 'convolution',
    layer: null,
    index: 0,
    weight: new DenseWeight(random(WIDTH, 4)),
    bias: random(WIDTH),
    transposed: false,
    kernel: [1, 2, 2],
  });
  const parameter = (path: string, table: Tensor): Embedding =>
    new Embedding(path, table, 1, [1, ...table.shape]);
  return {
    kind: 'patches',
    projection,
    tokens: [parameter('token', random(1, WIDTH))],
    registers: null,
    positions: parameter('positions', positions),
  };
}

/** Rows of all images of a pack, one image after another. */
function rowsOf(
  made: PatchesModules<Linear, Embedding>,
  pack: readonly (readonly [number, Tensor])[],
): Tensor {
  let start = 0;
  const sequences = pack.map(([run, { shape }]): Sequence => {
    const length = patchRows(OPTIONS, shape);
    start += length;
    return { run, start: start - length, length };
  });
  const runs = new Map(pack.map(([run]) => [run, { seed: 0, step: 0 }]));
  const features = pack.map(([, picture]) => picture);
  const ctx = { training: false, runs, rows: runRows(sequences), sequences };
  return embedPatches(OPTIONS, made, { features, sequences, dtype: 'f32' }, ctx);
}

const numbers = (t: Tensor): number[] => [...(t.toArray() as Float32Array)];

it('computes images of several sizes and runs like each image alone', () => {
  tidy(() => {
    const made = modules(random(17, WIDTH));
    const sizes: readonly (readonly [number, number, number])[] = [
      [1, 8, 8],
      [1, 4, 16],
      [1, 9, 8],
      [1, 8, 8],
      [2, 4, 16],
      [2, 8, 8],
    ];
    const pack = sizes.map(([run, h, w]) => [run, random(1, h, w)] as const);
    const together = numbers(rowsOf(made, pack));
    const alone = pack.flatMap((one) => numbers(rowsOf(made, [one])));
    expect(together.length).toBe(alone.length);
    together.forEach((x, i) => expect(x).toBeCloseTo(alone[i] as number, 5));
  });
});

it('interpolates positions of as many patches in another grid', () => {
  tidy(() => {
    const table = random(17, WIDTH);
    const made = modules(table);
    const bare = { ...made, positions: modules(zeros([17, WIDTH])).positions };
    const pack = [[1, random(1, 4, 16)]] as const;
    const [placed, plain] = [numbers(rowsOf(made, pack)), numbers(rowsOf(bare, pack))];
    const all = numbers(table);
    const square = permute(reshape(narrow(table, 0, 1, 16), [1, 4, 4, WIDTH]), [0, 3, 1, 2]);
    const wide = numbers(reshape(permute(interpolateBicubic(square, [2, 8]), [0, 2, 3, 1]), [-1]));
    const expected = [...all.slice(0, WIDTH), ...wide];
    placed.forEach((x, i) =>
      expect(x - (plain[i] as number)).toBeCloseTo(expected[i] as number, 5),
    );
  });
});
