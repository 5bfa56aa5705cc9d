/**
 * The kernels for CUDA devices, compiled for the cards themselves; no card is needed. What they compute is seen without
 * one, too: `onEachBody` (test/own-kernel.ts). That they run on a card is not.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
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
  // attention's sums stay in registers; 12 bytes are the most that was seen
  for (const { spilled, kernel } of kernels) expect(spilled, kernel).toBeLessThan(64);
});

it('of two that fetch nvcc at once the first one keeps its own, and the second one takes that', async () => {
  const { keepFetched } = (await import('../scripts/nvcc.mjs' as string)) as {
    keepFetched(partial: string, folder: string): void;
  };
  const fetched = (name: string): string => {
    const nvcc = join(folder, name, 'nvidia/cu13/bin/nvcc');
    mkdirSync(dirname(nvcc), { recursive: true });
    writeFileSync(nvcc, name);
    return join(folder, name);
  };
  const place = join(folder, 'place');
  keepFetched(fetched('first'), place);
  expect(existsSync(join(folder, 'first'))).toBe(false);
  writeFileSync(join(place, 'in-use'), '');
  keepFetched(fetched('second'), place);
  expect(readdirSync(place).sort()).toEqual(['in-use', 'nvidia']);
  expect(existsSync(join(folder, 'second'))).toBe(true);
  // what is there is no nvcc
  rmSync(join(place, 'nvidia'), { recursive: true });
  keepFetched(fetched('third'), place);
  expect(readdirSync(place)).toEqual(['nvidia']);
});
