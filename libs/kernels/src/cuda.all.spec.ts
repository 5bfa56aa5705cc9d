/**
 * Compiles the CUDA kernels for GPUs, without needing one. `onEachBody` (test/own-kernel.ts) tests their results
 * without a GPU. Nothing shows that they run on one.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, it } from 'vitest';

interface Compiled {
  readonly version: string;
  readonly architectures: readonly number[];
  readonly kernels: readonly {
    readonly file: string;
    readonly kernel: string;
    readonly architecture: number;
    readonly registers: number;
    readonly spilled: number;
  }[];
}

const folder = mkdtempSync(join(tmpdir(), 'graft-nvcc-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it('nvcc compiles every kernel for every architecture', { timeout: 1_800_000 }, (context) => {
  const script = fileURLToPath(new URL('../scripts/nvcc.mjs', import.meta.url));
  const text = execFileSync(process.execPath, [script, folder], { encoding: 'utf8' });
  const found = JSON.parse(text) as Compiled | null;
  if (!found)
    return context.skip('there is no nvcc: GRAFT_FETCH_NVCC=1 fetches one from PyPI, 250 MB');
  const { architectures, kernels } = found;
  expect(architectures).toEqual(expect.arrayContaining([80, 90]));
  const named = (architecture: number): string[] =>
    kernels.filter((each) => each.architecture === architecture).map(({ kernel }) => kernel);
  const first = named(80).sort();
  for (const each of architectures) expect(named(each).sort()).toEqual(first);
  const sources = readdirSync(fileURLToPath(new URL('../native/cuda/', import.meta.url)));
  const files = sources.filter((name) => name.endsWith('.cu')).sort();
  expect([...new Set(kernels.map(({ file }) => file))].sort()).toEqual(files);
  // attention's sums stay in registers; the largest spill measured is 12 bytes
  for (const { spilled, kernel } of kernels) expect(spilled, kernel).toBeLessThan(64);
});
