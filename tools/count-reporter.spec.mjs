import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parts, slowest } from './count-reporter.mjs';
import { readLedger } from './flaky.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
let folder;

// Runs vitest on real files in a temporary folder.
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'graft-count-'));
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
});
afterAll(() => rmSync(folder, { recursive: true }));

function run(args) {
  const env = { ...process.env };
  for (const name of Object.keys(env)) if (name.startsWith('VITEST')) delete env[name];
  const done = spawnSync(process.execPath, args, { encoding: 'utf8', env, cwd: folder });
  const lines = done.stdout.trimEnd().split('\n');
  return { code: done.status, last: lines.at(-1), before: lines.at(-2) };
}

const runVitest = (...files) =>
  run([
    join(ROOT, 'node_modules/vitest/vitest.mjs'),
    'run',
    '--root',
    folder,
    '--reporter',
    'default',
    '--reporter',
    join(ROOT, 'tools/count-reporter.mjs'),
    ...files,
  ]);

describe('the last line', () => {
  it('counts passed, failed and skipped tests, and comes after the failed ones', () => {
    writeFileSync(
      join(folder, 'mixed.spec.mjs'),
      `import { expect, it } from 'vitest';
       it('a', () => {}); it('b', () => {}); it.skip('c', () => {}); it.todo('d');
       it('e', () => expect(1).toBe(2)); it('f', (t) => t.skip('no browser'));`,
    );
    expect(runVitest('mixed.spec.mjs')).toEqual({
      code: 1,
      before: 'failed: mixed.spec.mjs > e: expected 1 to be 2 // Object.is equality',
      last: '2 passed, 1 failed, 3 skipped',
    });
  });

  it('comes after the slowest files and the time of each project', () => {
    const file = (name, seconds) => ({
      relativeModuleId: name,
      project: { name: name[0] === 'u' ? 'unit' : 'servers' },
      diagnostic: () => ({ duration: seconds * 1000 - 300, collectDuration: 300 }),
    });
    const files = Array.from({ length: 10 }, (_, i) => file(`${i < 7 ? 'u' : 's'}${i}`, i));
    expect(slowest(files, 2)).toBe('slowest files: s9 9 s, s8 8 s');
    const spans = new Map([
      ['unit', { from: 0, to: 21_000 }],
      ['servers', { from: 21_000, to: 45_400 }],
    ]);
    expect(parts(files, spans)).toBe('time per part: unit 21 s (7 files), servers 24 s (3 files)');
    expect([slowest(files.slice(1)), parts(files.slice(1), spans)]).toEqual([null, null]);
  });

  it('counts a file that cannot be loaded as a failure', () => {
    writeFileSync(join(folder, 'fine.spec.mjs'), `import { it } from 'vitest'; it('a', () => {});`);
    writeFileSync(join(folder, 'broken.spec.mjs'), `import './nowhere.mjs';`);
    expect(runVitest('fine.spec.mjs', 'broken.spec.mjs')).toMatchObject({
      code: 1,
      last: '1 passed, 1 failed, 0 skipped',
    });
  });

  it(
    'comes after tests that passed at the second attempt, which the ledger records',
    { timeout: 120_000 },
    () => {
      // Each attempt is a separate process, so a file on disk marks the first one.
      const first = (name) =>
        `import { existsSync, writeFileSync } from 'node:fs';
       import { beforeAll, describe, expect, it } from 'vitest';
       const before = existsSync('${name}.ran'); writeFileSync('${name}.ran', '');\n`;
      const late = (name) =>
        `${first(name)} it('is late', () => expect(before).toBe(true)); it('is there', () => {});`;
      const hook = `${first('hook')}
       describe('a suite', () => { beforeAll(() => expect(before).toBe(true)); it('is there', () => {}); });`;
      const never = `import { expect, it } from 'vitest'; it('never', () => expect(1).toBe(2));`;
      writeFileSync(
        join(folder, 'vitest.config.mjs'),
        `export default { test: { reporters: ['default', ${JSON.stringify(join(ROOT, 'tools/count-reporter.mjs'))}],
         projects: ['numbers', 'servers'].map((name) => ({ test: { name, include: [name + '*.spec.mjs'] } })) } };`,
      );
      const runFiles = (files) => {
        for (const [name, text] of Object.entries(files))
          writeFileSync(join(folder, `${name}.spec.mjs`), text);
        return run([join(ROOT, 'tools/run-tests.mjs'), '--root', folder, ...Object.keys(files)]);
      };
      const ledger = () =>
        readLedger(join(folder, 'test/flaky.json')).map(({ file, test }) => `${file}: ${test}`);

      expect(runFiles({ 'servers-late': late('late'), 'servers-hook': hook })).toMatchObject({
        code: 0,
        before: expect.stringMatching(/^passed at the second try alone: servers-/),
        last: '3 passed, 0 failed, 0 skipped',
      });
      expect(ledger().sort()).toEqual([
        'servers-hook.spec.mjs: a suite',
        'servers-late.spec.mjs: is late',
      ]);
      expect(runFiles({ 'servers-never': never, 'servers-second': late('second') })).toMatchObject({
        code: 1,
        last: '2 passed, 1 failed, 0 skipped',
      });
      expect(ledger()).toContain('servers-second.spec.mjs: is late');

      // No second attempt for more than two files, or for files that only compute.
      const three = ['x', 'y', 'z'].map((name) => [`servers-${name}-of-three`, late(name)]);
      expect(runFiles(Object.fromEntries(three))).toMatchObject({
        code: 1,
        last: '3 passed, 3 failed, 0 skipped',
      });
      expect(runFiles({ 'numbers-late': late('numbers') })).toMatchObject({
        code: 1,
        last: '1 passed, 1 failed, 0 skipped',
      });
      expect(ledger()).toHaveLength(3);
    },
  );
});
