import { tidy } from '@graft/kernels';
import type { AttentionBias, Tensor } from '@graft/kernels';
import { expect, it } from 'vitest';
import { PassBiases } from './pass-biases.js';
import type { StackOptions } from '../outline/stack-options.js';

const floats = (tensor: Tensor): number[] => [...(tensor.toArray() as Float32Array)];

function biasOf(kind: 'alibi' | 'alibi_bf16', heads: number, virtual = false): AttentionBias {
  const options = { heads, headDim: 4, maxPositions: 2 ** 24, attention: 'causal' } as StackOptions;
  const given = { options, table: null, places: 300, hasVirtual: () => virtual };
  return new PassBiases().pattern({ kind }, given)(1);
}

const slopesOf = (bias: AttentionBias): number[] =>
  floats((bias as Extract<AttentionBias, { kind: 'alibi' }>).slopes);

it('orders slopes as in the paper, with interpolated ones last if the number of heads is not a power of two', () => {
  tidy(() => {
    expect(slopesOf(biasOf('alibi', 4))).toEqual([1 / 4, 1 / 16, 1 / 64, 1 / 256]);
    const six = [1 / 4, 1 / 16, 1 / 64, 1 / 256, 1 / 2, 1 / 8];
    expect(slopesOf(biasOf('alibi', 6))).toEqual(six);
  });
});

it('rounds slope · position to bf16 before scaling, or the slope alone for runs with virtual tokens', () => {
  tidy(() => {
    // in bf16, 2^(-1/2) is 0.70703125, 25 times that is 17.625, and position 259 is 260
    const bias = biasOf('alibi_bf16', 16) as Extract<AttentionBias, { kind: 'places' }>;
    expect(bias.kind).toBe('places');
    expect(bias.table.shape).toEqual([16, 300]);
    const numbers = floats(bias.table);
    expect([0, 1, 25, 259].map((place) => numbers[place])).toEqual([0, 0.353515625, 8.8125, 92]);
    expect(slopesOf(biasOf('alibi_bf16', 16, true))[0]).toBe(0.353515625);
  });
});
