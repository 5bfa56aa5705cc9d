// Philox4x32-10 in plain TypeScript, from the paper (Salmon et al., SC'11), against the native kernels.
import { describe, expect, it } from 'vitest';
import { expectNear, numbers } from '../test/near.js';
import {
  cat,
  counterDropout,
  counterNormal,
  counterUniform,
  getThreads,
  mean,
  mul,
  narrow,
  ones,
  reshape,
  setThreads,
  sub,
  sum,
  tensor,
  tidy,
  to,
  transpose,
  square,
  zeros,
} from './index.js';
import type { RandomKey, Tensor } from './index.js';

type Words = [number, number, number, number];

function philox(counter: Words, key: [number, number]): Words {
  let [c0, c1, c2, c3] = counter.map(BigInt) as [bigint, bigint, bigint, bigint];
  let [k0, k1] = key.map(BigInt) as [bigint, bigint];
  const low = 0xffffffffn;
  for (let round = 0; round < 10; round++) {
    const [p0, p1] = [0xd2511f53n * c0, 0xcd9e8d57n * c2];
    [c0, c1, c2, c3] = [(p1 >> 32n) ^ c1 ^ k0, p1 & low, (p0 >> 32n) ^ c3 ^ k1, p0 & low];
    [k0, k1] = [(k0 + 0x9e3779b9n) & low, (k1 + 0xbb67ae85n) & low];
  }
  return [c0, c1, c2, c3].map(Number) as Words;
}

function word({ seed, step, site }: RandomKey, element: number): number {
  const block = Math.floor(element / 4);
  // the step's upper 16 bits are above the block's
  const high = Math.floor(block / 2 ** 32) + Math.floor(step / 2 ** 32) * 2 ** 16;
  const counter: Words = [block % 2 ** 32, high, step % 2 ** 32, site];
  return philox(counter, [seed % 2 ** 32, Math.floor(seed / 2 ** 32)])[element % 4] as number;
}

const uniform = (key: RandomKey, element: number): number =>
  Math.floor(word(key, element) / 256) / 2 ** 24;

function normal(key: RandomKey, element: number): number {
  const first = element - (element % 2);
  const [u, w] = [first, first + 1].map((e) => uniform(key, e) + 2 ** -24) as [number, number];
  const angle = 2 * Math.PI * w;
  return Math.sqrt(-2 * Math.log(u)) * (element % 2 ? Math.sin(angle) : Math.cos(angle));
}

const key: RandomKey = { seed: 2 ** 40 + 12345, step: 7, site: 3 };
const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

it('the reference gives the published test vectors', () => {
  // Random123's kat_vectors, philox4x32 10
  expect(philox([0, 0, 0, 0], [0, 0])).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
  const all = 0xffffffff;
  expect(philox([all, all, all, all], [all, all])).toEqual([
    0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd,
  ]);
  expect(
    philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0]),
  ).toEqual([0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]);
});

describe('counterUniform', () => {
  it.each([0, 1, 2, 63, 64, 65, 1000, 2 ** 33 + 5])(
    'equals the reference from offset %i',
    (offset) => {
      tidy(() => {
        const expected = range(200).map((i) => uniform(key, offset + i));
        expect(numbers(counterUniform([2, 100], key, offset))).toEqual(expected);
      });
    },
  );

  it.each([2 ** 32 - 1, 2 ** 32, 2 ** 32 + 7, 2 ** 43 + 12, 2 ** 48 - 1])(
    'equals the reference at step %i',
    (step) => {
      tidy(() => {
        const at = { ...key, step };
        for (const offset of [0, 2 ** 33 + 5, 2 ** 50 - 100]) {
          const expected = range(100).map((i) => uniform(at, offset + i));
          expect(numbers(counterUniform([100], at, offset))).toEqual(expected);
        }
      });
    },
  );

  it('depends on each part of the key', () => {
    tidy(() => {
      const keys = [
        key,
        { ...key, seed: key.seed + 1 },
        { ...key, seed: 12345 },
        { ...key, step: 8 },
        { ...key, step: 2 ** 32 + 7 },
        { ...key, step: 2 ** 43 + 7 },
        { ...key, site: 4 },
      ];
      const firsts = keys.map((k) => numbers(counterUniform([8], k)).join());
      expect(new Set(firsts).size).toBe(keys.length);
    });
  });

  it('does not depend on the number of threads', () => {
    const threads = getThreads();
    tidy(() => {
      setThreads(1);
      const one = counterUniform([300_001], key).bytes();
      setThreads(2);
      expect(Buffer.compare(one, counterUniform([300_001], key).bytes())).toBe(0);
    });
    setThreads(threads);
  });

  it('is uniform', () => {
    tidy(() => {
      const n = 1_000_000;
      const values = counterUniform([n], key).toArray() as Float32Array;
      const bins = new Array<number>(64).fill(0);
      for (const v of values) bins[Math.floor(v * 64)]!++;
      const chi = bins.reduce((s, count) => s + (count - n / 64) ** 2 / (n / 64), 0);
      expect(chi).toBeLessThan(120); // 63 degrees of freedom: exceeded once in 50,000; 83 on every processor
      expect(Math.min(...values.slice(0, 1000))).toBeGreaterThanOrEqual(0);
    });
  });

  it('creates empty tensors and rejects invalid keys', () => {
    tidy(() => {
      expect(counterUniform([0], key).size).toBe(0);
      expect(() => counterUniform([1], { ...key, step: 2 ** 48 })).toThrow(
        'step must be in [0, 2^48)',
      );
      expect(() => counterUniform([1], { ...key, site: -1 })).toThrow('site must be in [0, 2^32)');
      expect(() => counterUniform([1], { ...key, seed: 0.5 })).toThrow('not an exact integer');
      expect(() => counterUniform([1], key, -1)).toThrow('offset must not be negative');
      expect(counterUniform([1], key, 2 ** 50 - 1).size).toBe(1);
      expect(() => counterUniform([2], key, 2 ** 50 - 1)).toThrow('elements end at 2^50');
    });
  });
});

describe('counterNormal', () => {
  it.each([0, 1, 77])('equals the reference from offset %i', (offset) => {
    tidy(() =>
      expectNear(
        counterNormal([200], key, offset),
        range(200).map((i) => normal(key, offset + i)),
        1e-6,
      ),
    );
  });

  it('has mean 0 and variance 1', () => {
    tidy(() => {
      const t = counterNormal([1_000_000], key);
      expect(Math.abs(mean(t).item())).toBeLessThan(0.004);
      expect(Math.abs(mean(square(t)).item() - 1)).toBeLessThan(0.006);
    });
  });
});

describe('counterDropout', () => {
  it('drops where the uniform number is below p, and scales the rest', () => {
    tidy(() => {
      const x = tensor(
        range(60).map((i) => i + 1),
        [6, 10],
      );
      const expected = range(60).map((e) => (uniform(key, e) >= 0.3 ? (e + 1) / 0.7 : 0));
      expectNear(counterDropout(x, 0.3, key), expected, 1e-6);
    });
  });

  it('gives the same mask for the same key', () => {
    tidy(() => {
      const x = counterNormal([64, 64], key);
      expect(counterDropout(x, 0.5, key).bytes()).toEqual(counterDropout(x, 0.5, key).bytes());
      expect(counterDropout(x, 0.5, key).bytes()).not.toEqual(
        counterDropout(x, 0.5, { ...key, step: 8 }).bytes(),
      );
    });
  });

  // recorded when steps had 32 bits: older checkpoints must resume with the same masks
  it.each([
    [0, '1000110010101101111111010101011011001011011101011111100100010011'],
    [4096 * (2 ** 20 - 1), '1000001000010110000110000100001111011110011100110001000010111110'],
    [2 ** 32 - 1, '1000100000001110100110011001011001010110010001110011000111100000'],
  ])('keeps the bits of step %i', (step, mask) => {
    tidy(() => {
      const kept = numbers(counterDropout(ones([1, 64]), 0.5, { ...key, step }));
      expect(kept.map((value) => (value === 0 ? '0' : '1')).join('')).toBe(mask);
    });
  });

  it.each([1, 3, 37, 63])(
    'of the rows from %i on equals those rows of the whole tensor',
    (from) => {
      tidy(() => {
        const x = counterNormal([100, 37], key);
        const part = counterDropout(narrow(x, 0, from, 30), 0.5, key, from);
        expect(part.bytes()).toEqual(narrow(counterDropout(x, 0.5, key), 0, from, 30).bytes());
      });
    },
  );

  it('does not change when runs are packed in another order', () => {
    tidy(() => {
      // two runs with their own keys: a run's mask does not depend on the rows before it
      const [a, b] = [ones([5, 16]), ones([9, 16])];
      const keyB = { ...key, seed: 99 };
      const drop = (packed: Tensor, start: number, rows: number, k: RandomKey): Uint8Array =>
        counterDropout(narrow(packed, 0, start, rows), 0.5, k).bytes();
      const [ab, ba] = [cat([a, b]), cat([b, a])];
      expect(drop(ab, 0, 5, key)).toEqual(drop(ba, 9, 5, key));
      expect(drop(ab, 5, 9, keyB)).toEqual(drop(ba, 0, 9, keyB));
    });
  });

  it('treats all dimensions but the last as rows, in any memory layout', () => {
    tidy(() => {
      const x = counterNormal([4, 6, 8], key);
      const flat = counterDropout(reshape(x, [24, 8]), 0.5, key);
      expect(counterDropout(x, 0.5, key).bytes()).toEqual(flat.bytes());
      const transposed = transpose(counterNormal([8, 24], key), 0, 1);
      const masked = numbers(mul(transposed, counterDropout(ones([24, 8]), 0.5, key)));
      expect(numbers(counterDropout(transposed, 0.5, key))).toEqual(masked.map((v) => v + 0)); // -0 to 0
    });
  });

  it.each(['f32', 'f64', 'bf16', 'f16'] as const)('keeps %s, with the same mask', (dtype) => {
    tidy(() => {
      const x = to(ones([10, 10]), dtype);
      const y = counterDropout(x, 0.5, key);
      expect(y.dtype).toBe(dtype);
      expect(numbers(y)).toEqual(numbers(counterDropout(ones([10, 10]), 0.5, key)));
    });
  });

  it('passes gradients through the kept elements only', () => {
    tidy(() => {
      const x = counterNormal([7, 9], key).detach();
      x.requiresGrad = true;
      const y = counterDropout(x, 0.4, key, 5);
      expect(y.requiresGrad).toBe(true);
      sum(y).backward();
      expect(numbers(x.grad as Tensor)).toEqual(numbers(counterDropout(ones([7, 9]), 0.4, key, 5)));
    });
  });

  it('keeps the expectation', () => {
    tidy(() => {
      const kept = mean(counterDropout(ones([1000, 1000]), 0.1, key)).item();
      expect(Math.abs(kept - 1)).toBeLessThan(0.0015);
    });
  });

  it('with p = 0 changes nothing, with p = 1 gives zeros even for NaN', () => {
    tidy(() => {
      const x = counterNormal([3, 5], key);
      expect(numbers(sub(counterDropout(x, 0, key), x))).toEqual(new Array(15).fill(0));
      expect(numbers(counterDropout(tensor([NaN, Infinity], [2]), 1, key))).toEqual([0, 0]);
    });
  });

  it('rejects invalid arguments', () => {
    expect(() => counterDropout(ones([2]), 1.5, key)).toThrow('p must be in [0, 1], got 1.5');
    expect(() => counterDropout(ones([2]), NaN, key)).toThrow('got NaN');
    expect(() => counterDropout(zeros([]), 0.5, key)).toThrow('at least one dimension');
    expect(() => counterDropout(zeros([2], 'i64'), 0.5, key)).toThrow('graft::dropout(x i64[2]');
    expect(() => counterDropout(ones([2]), 0.5, key, -1)).toThrow('offset must not be negative');
  });
});
