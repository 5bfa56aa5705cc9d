/**
 * Emulated AMX tiles (native/ops/emulated), on any processor with bf16 dot products: the emulator itself, and the specs
 * of products with packed matrices, whose bits are those of dense ones; bf16-products.spec.ts compares these with f64.
 * A processor with AMX runs those specs on its own tiles.
 */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { buildEmulated } from '../test/own-kernel.js';
import { instructionSets } from './index.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const BUILT = fileURLToPath(new URL('../dist/index.js', import.meta.url));

/** Program for a separate process. A tile of B holds pairs along the depth. */
const PROGRAM = `
const k = await import(${JSON.stringify(BUILT)});
const bf16 = (rows) => k.to(k.tensor(rows.flat(), [rows.length, rows[0].length]), 'bf16');
const product = (c, a, b) => {
  const sums = k.tensor(c.flat(), [c.length, c[0].length]);
  return [...k.call('graft::tile_product', sums, bf16(a), bf16(b)).toArray()];
};
const fault = (which) => { try { k.call('graft::tile_fault', which); return 'nothing'; } catch (error) { return error.message.split('\\n')[0]; } };
const big = 2 ** 12, tiny = 2 ** -127;
const found = {
  set: k.instructionSet(),
  apart: product([[0.5]], [[big, 1, 1, -big]], [[big, 1], [1, big]]),
  rounded: product([[2 ** 24]], [[1, 0]], [[1, 1]]),
  small: product([[tiny], [0], [0], [1]], [[0, 0], [0, tiny], [2 ** -100, 0], [2 ** -60, 0]], [[2 ** -30, 2 ** 20]]),
  halves: product([[1, 2], [3, 4]], [[1, 2], [3, 4]], [[5, 6, 7, 8]]),
  faults: Array.from({ length: 9 }, (_, i) => fault(i)),
};
const [x, w] = [k.to(k.counterNormal([70, 100], { seed: 1, step: 0, site: 0 }), 'bf16'), k.to(k.counterNormal([90, 100], { seed: 1, step: 0, site: 1 }), 'bf16')];
const before = k.call('graft::tile_products');
k.setThreads(2);
k.linear(x, w, null);
// rows in tiles of 16, the last of 6, by columns in tiles of 16, the last of 10, by the depth in steps of 32
found.products = k.call('graft::tile_products') - before;
found.configured = k.call('graft::configured_threads');
process.stdout.write(JSON.stringify(found));`;

// the kernel packs by AVX-512
describe.skipIf(process.env['GRAFT_KERNELS'] || !instructionSets().includes('avx512bf16'))(
  'tiles, emulated',
  () => {
    let env: NodeJS.ProcessEnv;
    beforeAll(() => {
      env = { ...process.env, GRAFT_KERNELS: buildEmulated('tiles') };
    }, 1_800_000);

    it('multiply as in the manual, reject what a processor rejects, and are released', () => {
      const args = ['--input-type=module', '-e', PROGRAM];
      const options = { encoding: 'utf8', env: { ...env, GRAFT_ISA: 'amx' } } as const;
      const found = JSON.parse(execFileSync(process.execPath, args, options)) as object;
      expect(found).toEqual({
        set: 'amx',
        // 2²⁴ + 1 rounds to 2²⁴ among the first values of pairs; 1 − 2²⁴ is exact among the second
        apart: [1.5],
        rounded: [2 ** 24],
        // denormals in the sum and in a factor, a product that would be one, and a small number
        small: [0, 0, 0, 1],
        halves: [1 + 5 + 12, 2 + 7 + 16, 3 + 15 + 24, 4 + 21 + 32],
        faults: [
          'tile 0 is used before tiles are configured',
          'tile 3 has no rows by the configuration',
          'a product of tiles of 15 rows of 64 bytes and 16 of 64, sums 16 of 64',
          'a product of tiles of 16 rows of 32 bytes and 16 of 64, sums 16 of 64',
          'tiles 0, 1 and 1 of a product are not three',
          'rows of 64 bytes lie 32 apart',
          'tile 0 of 17 rows of 64 bytes',
          'tile 0 of 16 rows of 0 bytes',
          'palette 2 of tiles, expected 1',
        ].map((text) => expect.stringContaining(text) as string),
        products: 5 * 6 * 4,
        configured: 0,
      });
    });

    it('pass the specs of products with packed matrices', { timeout: 600_000 }, () => {
      const files = ['nf4', 'ggml-matrix', 'int8'].map(
        (name) => `libs/kernels/src/ops/${name}.spec.ts`,
      );
      const args = ['vitest', 'run', '--project', 'unit', ...files, '-t', 'on amx'];
      const text = execFileSync('npx', [...args, '--reporter=json'], {
        encoding: 'utf8',
        cwd: ROOT,
        env: Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('VITEST'))),
        maxBuffer: 1 << 26,
      });
      const { numPassedTests, numFailedTests, success } = JSON.parse(
        text.slice(text.indexOf('{')),
      ) as { numPassedTests: number; numFailedTests: number; success: boolean };
      expect({ numFailedTests, success }).toEqual({ numFailedTests: 0, success: true });
      expect(numPassedTests).toBeGreaterThanOrEqual(74);
    });
  },
);
