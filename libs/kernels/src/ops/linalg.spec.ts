import { expect, it } from 'vitest';
import { numbers } from '../../test/near.js';
import * as k from '../index.js';
import type { Tensor } from '../index.js';

const a = k.tensor([1, 2, 3, 4, 5, 6], [2, 3]);
const b = k.tensor([1, 0, -1, 2, 0.5, 1], [3, 2]);
const ab = [1 - 2 + 1.5, 4 + 3, 4 - 5 + 3, 10 + 6];

it.each<[string, () => Tensor, number[]]>([
  ['matmul', () => k.matmul(a, b), ab],
  ['matmul of vectors', () => k.matmul(k.select(a, 0, 0), k.select(a, 0, 1)), [32]],
  ['matmul broadcast', () => k.matmul(k.unsqueeze(a, 0), k.unsqueeze(b, 0)), ab],
  ['mm', () => k.mm(a, b), ab],
  ['bmm', () => k.bmm(k.stack([a, k.neg(a)]), k.stack([b, b])), [...ab, ...ab.map((v) => -v)]],
  ['addmm', () => k.addmm(k.ones([2, 2]), a, b, { beta: 10, alpha: 2 }), ab.map((v) => 2 * v + 10)],
  ['addmm default', () => k.addmm(k.ones([2]), a, b), ab.map((v) => v + 1)],
  [
    'linear',
    () => k.linear(a, k.transpose(b, 0, 1), k.tensor([1, -1], [2])),
    ab.map((v, i) => v + (i % 2 ? -1 : 1)),
  ],
  ['linear without bias', () => k.linear(a, k.transpose(b, 0, 1)), ab],
  ['outer', () => k.outer(k.tensor([1, 2], [2]), k.tensor([3, 4], [2])), [3, 4, 6, 8]],
  ['einsum', () => k.einsum('ij,jk->ki', a, b), [0.5, 2, 7, 16]],
  [
    'embedding',
    () => k.embedding(a, k.tensor([1, 0, 1], [3, 1], 'i64')),
    [4, 5, 6, 1, 2, 3, 4, 5, 6],
  ],
  ['bf16 mm', () => k.mm(k.to(a, 'bf16'), k.to(b, 'bf16')), ab],
  ['empty mm', () => k.mm(k.zeros([2, 0]), k.zeros([0, 2])), [0, 0, 0, 0]],
])('%s', (_name, make, expected) => {
  expect(k.tidy(() => numbers(make()))).toEqual(expected);
});
