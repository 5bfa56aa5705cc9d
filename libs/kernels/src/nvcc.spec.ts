/** Fetching nvcc (scripts/nvcc.mjs). cuda.all.spec.ts tests that it compiles the kernels. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, expect, it } from 'vitest';

const folder = mkdtempSync(join(tmpdir(), 'graft-nvcc-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it('if two processes fetch nvcc, the second one uses the copy of the first', async () => {
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
  // the folder contains no nvcc
  rmSync(join(place, 'nvidia'), { recursive: true });
  keepFetched(fetched('third'), place);
  expect(readdirSync(place)).toEqual(['nvidia']);
});
