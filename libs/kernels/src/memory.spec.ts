/** 10,000 training steps: handles and resident memory stay flat. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const PROGRAM = fileURLToPath(new URL('../test/train-steps.mjs', import.meta.url));
const MAX_GROWTH_BYTES = 8e6; // over 5,000 steps: a leak of one 4 kB block per step would be 20 MB

interface Mark {
  readonly step: number;
  readonly tensors: number;
  readonly bytes: number;
}

it('memory stays constant over 10,000 steps of a two-layer network', { timeout: 120_000 }, () => {
  // a separate process, so that the test runner's memory does not count
  const lines = execFileSync(process.execPath, ['--expose-gc', PROGRAM], { encoding: 'utf8' });
  const [half, end, { loss }] = lines
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown) as [Mark, Mark, { loss: number }];
  expect([half.step, end.step]).toEqual([5_000, 10_000]);
  expect(loss).toBeLessThan(0.35); // the network did learn; chance is ln 2 = 0.69
  expect(end.tensors).toBe(half.tensors);
  expect(end.bytes - half.bytes).toBeLessThan(MAX_GROWTH_BYTES);
});
