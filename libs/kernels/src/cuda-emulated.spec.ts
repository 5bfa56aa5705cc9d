/**
 * The CUDA emulator detects faults, and one operator runs on it. The other operators run on it in the tier `all`
 * (onEachBody in test/own-kernel.ts).
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as k from './index.js';
import { compare, loadEmulated, random, restart } from '../test/own-kernel.js';
import type { Emulated } from '../test/own-kernel.js';

describe.skipIf(process.env['GRAFT_KERNELS'])('CUDA, emulated', () => {
  let emulated: Emulated;
  beforeAll(() => {
    emulated = loadEmulated();
  }, 1_800_000);
  afterAll(() => emulated.use(false));

  it('finds a missing barrier, one that some threads do not reach, and writes past shared memory', () => {
    expect(emulated.isWrong(true)).toBe(false);
    expect(emulated.isWrong(false)).toBe(true);
    expect(emulated.halfWaits()).toBe('32 threads of 64 are at a barrier, 32 have ended');
    expect(emulated.writesPast()).toBe('a kernel wrote past its shared memory');
    expect(emulated.isWrong(true)).toBe(false);
  });

  it.each(['f32', 'bf16'] as const)('runs the CUDA code of an operator, in %s', (dtype) => {
    emulated.use(true);
    restart(0);
    const before = emulated.launches();
    k.tidy(() => {
      const inputs = [random([9, 41], dtype), random([9, 41], dtype)];
      compare(inputs, dtype, k.siluMul, (gate, up) => k.mul(k.silu(gate), up));
    });
    emulated.use(false);
    expect(emulated.launches() - before).toBe(2); // forward and backward
  });
});
