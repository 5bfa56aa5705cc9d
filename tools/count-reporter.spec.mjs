import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
let folder;

// real vitest on real files in a folder of their own
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'graft-count-'));
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
});
afterAll(() => rmSync(folder, { recursive: true }));

function runVitest(...files) {
  const args = [
    'run',
    '--root',
    folder,
    '--reporter',
    'default',
    '--reporter',
    join(ROOT, 'tools/count-reporter.mjs'),
    ...files,
  ];
  const env = { ...process.env };
  for (const name of Object.keys(env)) if (name.startsWith('VITEST')) delete env[name];
  const done = spawnSync(
    process.execPath,
    [join(ROOT, 'node_modules/vitest/vitest.mjs'), ...args],
    { encoding: 'utf8', env },
  );
  return { code: done.status, last: done.stdout.trimEnd().split('\n').at(-1) };
}

describe('the last line', () => {
  it('counts passed, failed and skipped tests', () => {
    writeFileSync(
      join(folder, 'mixed.spec.mjs'),
      `import { expect, it } from 'vitest';
       it('a', () => {}); it('b', () => {}); it.skip('c', () => {}); it.todo('d');
       it('e', () => expect(1).toBe(2)); it('f', (t) => t.skip('no browser'));`,
    );
    expect(runVitest('mixed.spec.mjs')).toEqual({ code: 1, last: '2 passed, 1 failed, 3 skipped' });
  });

  it('counts a file that cannot be loaded as a failure', () => {
    writeFileSync(join(folder, 'fine.spec.mjs'), `import { it } from 'vitest'; it('a', () => {});`);
    writeFileSync(join(folder, 'broken.spec.mjs'), `import './nowhere.mjs';`);
    expect(runVitest('fine.spec.mjs', 'broken.spec.mjs')).toEqual({
      code: 1,
      last: '1 passed, 1 failed, 0 skipped',
    });
  });
});
