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
  it('counts passed, failed and skipped tests, and follows those that failed', () => {
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

  it('follows the longest files of many', () => {
    const names = Array.from({ length: 10 }, (_, i) => `many-${i}.spec.mjs`);
    for (const [i, name] of names.entries()) {
      const wait = i === 7 ? 'await new Promise((done) => setTimeout(done, 1200));' : '';
      const text = `import { it } from 'vitest'; it('a', async () => { ${wait} });`;
      writeFileSync(join(folder, name), text);
    }
    const { last, before } = runVitest(...names);
    expect(last).toBe('10 passed, 0 failed, 0 skipped');
    expect(before).toMatch(/^slowest files: many-7\.spec\.mjs 1 s, many-\d+\.spec\.mjs 0 s, /);
  });

  it('counts a file that cannot be loaded as a failure', () => {
    writeFileSync(join(folder, 'fine.spec.mjs'), `import { it } from 'vitest'; it('a', () => {});`);
    writeFileSync(join(folder, 'broken.spec.mjs'), `import './nowhere.mjs';`);
    expect(runVitest('fine.spec.mjs', 'broken.spec.mjs')).toMatchObject({
      code: 1,
      last: '1 passed, 1 failed, 0 skipped',
    });
  });

  it('follows those that passed when their file ran again, which those of the code alone do not', () => {
    // as many groups as here; each try is a process of its own, so a file has to remember
    const once = (name) =>
      `import { existsSync, writeFileSync } from 'node:fs';
       import { expect, it } from 'vitest';
       const before = existsSync('${name}.ran'); writeFileSync('${name}.ran', '');
       it('is late', () => expect(before).toBe(true)); it('is there', () => {});`;
    writeFileSync(
      join(folder, 'vitest.config.mjs'),
      `export default { test: { reporters: ['default', ${JSON.stringify(join(ROOT, 'tools/count-reporter.mjs'))}],
         projects: ['unit', 'whole'].map((name) => ({ test: { name, include: [name + '*.spec.mjs'] } })) } };`,
    );
    writeFileSync(join(folder, 'whole-late.spec.mjs'), once('late'));
    const args = (name) => [join(ROOT, 'tools/run-tests.mjs'), '--root', folder, name];
    expect(run(args('whole-late'))).toEqual({
      code: 0,
      before:
        'passed at the second try alone: whole-late.spec.mjs > is late: expected false to be true // Object.is equality',
      last: '2 passed, 0 failed, 0 skipped',
    });
    writeFileSync(join(folder, 'whole-second.spec.mjs'), once('second'));
    writeFileSync(join(folder, 'whole-third.spec.mjs'), once('third'));
    expect(run([...args('whole-second'), 'whole-third'])).toMatchObject({
      code: 0,
      last: '4 passed, 0 failed, 0 skipped',
    });
    writeFileSync(
      join(folder, 'whole-never.spec.mjs'),
      `import { expect, it } from 'vitest'; it('never', () => expect(1).toBe(2));`,
    );
    expect(run(args('whole-never'))).toMatchObject({
      code: 1,
      last: '0 passed, 1 failed, 0 skipped',
    });
    writeFileSync(join(folder, 'whole-fourth.spec.mjs'), once('fourth'));
    expect(run([...args('whole-never'), 'whole-fourth'])).toMatchObject({
      code: 1,
      last: '2 passed, 1 failed, 0 skipped',
    });
    writeFileSync(join(folder, 'unit-late.spec.mjs'), once('unit'));
    expect(run(args('unit-late'))).toMatchObject({
      code: 1,
      last: '1 passed, 1 failed, 0 skipped',
    });
  });
});
