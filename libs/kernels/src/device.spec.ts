import { afterEach, describe, expect, it } from 'vitest';
import { device, deviceMemory, setDevice } from './device.js';
import { KernelError } from './errors.js';
import { native } from './native.js';
import { arange, full, mul, ownKernels, tensor, zeros } from './ops.js';

import { counterDropout, counterNormal, counterUniform } from './random.js';
import { tidy } from './scope.js';
import { fromBytes } from './tensor.js';

const KEY = { seed: 7, step: 3, site: 2 };

afterEach(() => {
  setDevice('cpu');
  ownKernels(true);
});

describe('the process’s device', () => {
  it('is the CPU, with the memory of the process', () => {
    expect(device()).toBe('cpu');
    expect(deviceMemory()).toBeNull();
  });

  it('rejects a missing device', () => {
    const none = native().devices();
    expect(() => setDevice(`cuda:${none}`)).toThrow(
      native().build().cuda
        ? `CUDA device ${none} not found: this machine has ${none}`
        : `CUDA device ${none} not found: libtorch was built without CUDA`,
    );
    expect(() => setDevice('tpu' as 'cpu')).toThrow('expected cpu or cuda:N, got tpu');
    expect(device()).toBe('cpu');
  });

  it('applies to all tensors created afterwards', () => {
    setDevice('meta');
    tidy(() => {
      const made = [
        zeros([2]),
        full([2], 1),
        arange(0, 4),
        tensor([1, 2], [2]),
        tensor([1, 2], [2], 'bf16'),
        tensor(Int32Array.of(1, 2), [2]),
        fromBytes(new Uint8Array(8), [2], 'f32'),
        counterUniform([2, 3], KEY),
        counterNormal([2, 3], KEY),
      ];
      expect(made.map((t) => t.device)).toEqual(made.map(() => 'meta'));
      expect(counterDropout(zeros([2, 3]), 0.5, KEY).device).toBe('meta');
    });
  });

  it('rejects tensors that were left on the CPU', () => {
    tidy(() => {
      const left = tensor([1, 2], [2]);
      setDevice('meta');
      expect(() => mul(zeros([2]), left)).toThrow(KernelError);
    });
  });
});

describe('without the own kernels', () => {
  it.each(['f32', 'bf16'] as const)('dropout drops and scales the same, in %s', (dtype) => {
    tidy(() => {
      const x = tensor(
        Float32Array.from({ length: 15 }, (_, i) => i - 7),
        [5, 3],
        dtype,
      );
      const own = counterDropout(x, 0.3, KEY, 2).toArray();
      ownKernels(false);
      expect(counterDropout(x, 0.3, KEY, 2).toArray()).toEqual(own);
    });
  });
});
