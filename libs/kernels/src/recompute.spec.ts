import { describe, expect, it } from 'vitest';
import {
  add,
  backward,
  counterDropout,
  counterNormal,
  linear,
  memory,
  mul,
  packedAttention,
  Recomputation,
  rmsNorm,
  silu,
  sum,
  tensor,
  tidy,
  trimMemory,
  view,
} from './index.js';
import type { Tensor } from './index.js';

const D = 16;
const random = (shape: number[], site: number): Tensor =>
  counterNormal(shape, { seed: 5, step: 0, site });
const leaf = (t: Tensor): Tensor => {
  t.requiresGrad = true;
  return t;
};
const bits = (t: Tensor | null): Uint8Array | undefined => t?.bytes();

/** Layers with operators of each kind: libtorch's, ours, random ones, and a parameter that all layers share. */
function layers(count: number): {
  readonly parameters: Tensor[];
  readonly layer: (at: number) => (x: Tensor) => Tensor;
} {
  const shared = leaf(random([D, D], 0));
  const own = Array.from({ length: count }, (_, i) => leaf(random([D, D], i + 1)));
  const norm = leaf(random([D], 99));
  const segments = [{ start: 0, rows: 7, keyStart: 0, keyRows: 7, beforeStart: 0, before: 0 }];
  const layer =
    (at: number) =>
    (x: Tensor): Tensor => {
      const n = rmsNorm(x, norm, 1e-6);
      const q = view(linear(n, shared, null), [7, 2, D / 2]);
      const v = view(n, [7, 2, D / 2]);
      const seen = packedAttention(q, q, v, segments, { scale: 0.5 });
      const fed = silu(linear(seen, own[at] as Tensor, null));
      return add(counterDropout(fed, 0.3, { seed: 1, step: 2, site: at }), x);
    };
  return { parameters: [shared, norm, ...own], layer };
}

/** Gradients of a step through three layers, with the output first. @param through wrapper of each layer */
function gradients(
  through: (x: Tensor, layer: (x: Tensor) => Tensor) => Tensor,
  learnsInput = false,
): (Uint8Array | undefined)[] {
  return tidy(() => {
    const { parameters, layer } = layers(3);
    const first = random([7, D], 200);
    if (learnsInput) leaf(first);
    const y = [0, 1, 2].reduce((x, at) => through(x, layer(at)), mul(first, 1));
    backward([y], [random([7, D], 201)]);
    return [y, ...[...parameters, first].map((one) => one.grad)].map(bits);
  });
}

describe('Recomputation', () => {
  it.each([false, true])(
    'has the bits of a forward pass that stores all activations (input requires grad: %s)',
    (learns) => {
      const usual = gradients((x, layer) => layer(x), learns);
      const recomputation = new Recomputation();
      const calls: string[] = [];
      const found = gradients(
        (x, layer) =>
          recomputation.through(x, (rows) => {
            calls.push('layer');
            return layer(rows);
          }),
        learns,
      );
      recomputation.dispose();
      expect(found).toEqual(usual);
      expect(usual.filter((one) => one === undefined)).toHaveLength(learns ? 0 : 1);
      expect(calls).toHaveLength(6);
    },
  );

  it('frees its tensors, also if a backward pass fails', () => {
    const before = memory().tensors;
    const recomputation = new Recomputation();
    let held: Tensor | undefined;
    const result = recomputation.hold(() => {
      held = tensor([2], [1]);
      return { sum: add(held, 1) };
    });
    expect([held?.disposed, result.sum.disposed]).toEqual([false, false]);
    let again = false;
    tidy(() => {
      const x = leaf(random([3], 1));
      const y = recomputation.through(x, (rows) => {
        if (again) throw new Error('not twice');
        again = true;
        return mul(rows, rows);
      });
      expect(() => sum(y).backward()).toThrow('backward(f32[]): not twice');
    });
    recomputation.dispose();
    result.sum.dispose();
    expect(held?.disposed).toBe(true);
    expect(memory().tensors).toBe(before);
  });

  it('throws if a recomputed part differs or was disposed', () => {
    const recomputation = new Recomputation();
    tidy(() => {
      const x = leaf(random([3], 1));
      let calls = 0;
      const changing = (rows: Tensor): Tensor => (calls++ === 0 ? mul(rows, rows) : mul(rows, 2));
      const y = recomputation.through(x, changing);
      expect(() => sum(y).backward()).toThrow('gave another result when it was recomputed');
      const z = recomputation.through(x, (rows) => mul(rows, rows));
      recomputation.dispose();
      expect(() => sum(z).backward()).toThrow('its Recomputation was disposed before');
    });
  });

  it('keeps only the input of a part', () => {
    const heldBytes = (through: (x: Tensor, fn: (x: Tensor) => Tensor) => Tensor): number =>
      tidy(() => {
        trimMemory(); // otherwise memory freed by other tests would be reused
        const before = memory().rssBytes;
        // 16 products of 8 MiB each
        const many = (x: Tensor): Tensor =>
          tidy(() => Array.from({ length: 16 }).reduce<Tensor>((y) => mul(y, y), x));
        const y = through(leaf(tensor(new Float32Array(1 << 21).fill(1), [1 << 21])), many);
        trimMemory();
        const after = memory().rssBytes;
        y.dispose();
        return (after - before) / 2 ** 20;
      });
    const recomputation = new Recomputation();
    expect(heldBytes((x, fn) => fn(x))).toBeGreaterThan(100);
    expect(heldBytes((x, fn) => recomputation.through(x, fn))).toBeLessThan(60);
    recomputation.dispose();
  });
});
