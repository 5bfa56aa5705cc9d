import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { numbers } from '../test/near.js';
import { add, keep, memory, mul, orFree, tensor, tidy, zeros } from './index.js';
import type { Tensor } from './index.js';
import { scopeDepth } from './scope.js';

const made = (fn: () => void): number => {
  const before = memory().tensors;
  fn();
  return memory().tensors - before;
};

describe('orFree', () => {
  it('frees the tensors kept inside if the function throws, and no others', () => {
    const kept = keep(zeros([3]));
    let other: Tensor | undefined;
    const count = made(() => {
      other = orFree(() => keep(tensor([1], [1])));
      const fails = (): void =>
        orFree(() => {
          keep(zeros([5]));
          tidy(() => keep(zeros([6])));
          orFree(() => keep(zeros([7])));
          throw new Error('no more');
        });
      expect(fails).toThrow('no more');
    });
    expect(count).toBe(1);
    expect([kept.disposed, other?.disposed]).toEqual([false, false]);
    kept.dispose();
    other?.dispose();
  });
});

describe('tidy', () => {
  it('frees tensors created inside, except the result', () => {
    let inner: Tensor | undefined;
    let result: Tensor | undefined;
    const count = made(() => {
      result = tidy(() => {
        inner = tensor([1, 2], [2]);
        return mul(add(inner, 1), 2);
      });
    });
    expect(count).toBe(1);
    expect(inner?.disposed).toBe(true);
    expect(numbers(result as Tensor)).toEqual([4, 6]);
    result?.dispose();
  });

  it('finds tensors in arrays, objects, Maps and Sets', () => {
    tidy(() => {
      const result = tidy(() => ({
        list: [zeros([1]), [zeros([2])]],
        map: new Map([['a', zeros([3])]]),
        set: new Set([zeros([4])]),
        none: null,
        text: 'x',
      }));
      const all = [
        result.list[0],
        (result.list[1] as Tensor[])[0],
        result.map.get('a'),
        ...result.set,
      ];
      expect(all.map((t) => (t as Tensor).disposed)).toEqual([false, false, false, false]);
    });
  });

  it('hands results to the enclosing scope, which frees them', () => {
    let escaped: Tensor | undefined;
    const count = made(() =>
      tidy(() => {
        escaped = tidy(() => tidy(() => zeros([1])));
        expect(escaped.disposed).toBe(false);
      }),
    );
    expect([count, escaped?.disposed]).toEqual([0, true]);
  });

  it('leaves tensors of outer scopes alone, also when they are returned', () => {
    tidy(() => {
      const outer = zeros([1]);
      const same = tidy(() => outer);
      expect(same).toBe(outer);
      expect(outer.disposed).toBe(false);
    });
  });

  it('frees everything when the function throws half-way', () => {
    const count = made(() => {
      expect(() =>
        tidy(() => {
          const a = zeros([2]);
          tidy(() => add(a, zeros([3])));
        }),
      ).toThrow('aten::add.Tensor(self f32[2], other f32[3]');
    });
    expect(count).toBe(0);
    expect(scopeDepth()).toBe(0);
  });

  it('accepts tensors disposed inside', () => {
    expect(made(() => tidy(() => zeros([1]).dispose()))).toBe(0);
  });

  it('rejects asynchronous functions', () => {
    const count = made(() => {
      expect(() => tidy(async () => zeros([1]))).toThrow('must be synchronous');
    });
    expect(count).toBe(0);
  });

  it('frees thousands of tensors together', () => {
    const count = made(() =>
      tidy(() => {
        for (let i = 0; i < 50_000; i++) zeros([1]);
      }),
    );
    expect(count).toBe(0);
  });
});

describe('keep', () => {
  it('takes a tensor out of every scope until its owner disposes it', () => {
    let kept: Tensor | undefined;
    tidy(() => tidy(() => (kept = keep(keep(tensor([3], [1]))))) && undefined);
    expect(kept?.item()).toBe(3);
    expect(made(() => kept?.dispose())).toBe(-1);
  });

  it('rejects disposed tensors', () => {
    const t = zeros([1]);
    t.dispose();
    expect(() => keep(t)).toThrow('disposed');
  });
});

describe('the garbage collector', () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;

  it('frees handles created outside every scope', async () => {
    const before = memory().tensors;
    for (let i = 0; i < 1000; i++) zeros([10]);
    for (let i = 0; i < 20 && memory().tensors > before + 10; i++) {
      collect();
      await setImmediate();
    }
    expect(memory().tensors).toBeLessThan(before + 10);
  });

  it('never frees tensors in use', async () => {
    const t = tensor([1, 2, 3], [3]);
    for (let i = 0; i < 5; i++) {
      collect();
      await setImmediate();
      tidy(() => expect(numbers(add(t, 1))).toEqual([2, 3, 4]));
    }
    t.dispose();
  });
});
