import { expect, it } from 'vitest';
import { loadEmulated } from '../test/own-kernel.js';

it.skipIf(process.env['GRAFT_KERNELS'])(
  'finds a missing barrier, one that some threads do not reach, and writes past shared memory',
  { timeout: 1_800_000 },
  () => {
    const emulated = loadEmulated();
    expect(emulated.isWrong(true)).toBe(false);
    expect(emulated.isWrong(false)).toBe(true);
    expect(emulated.halfWaits()).toBe('32 threads of 64 are at a barrier, 32 have ended');
    expect(emulated.writesPast()).toBe('a kernel wrote past its shared memory');
    expect(emulated.isWrong(true)).toBe(false);
  },
);
