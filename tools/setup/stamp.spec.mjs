import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hashPaths, stamps } from './stamp.mjs';

let root;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'graft-stamp-'));
  mkdirSync(join(root, 'src/deep'), { recursive: true });
  writeFileSync(join(root, 'src/a.ts'), 'a');
  writeFileSync(join(root, 'src/deep/b.ts'), 'b');
});
afterEach(() => rmSync(root, { recursive: true }));

describe('hashPaths', () => {
  const hash = () => hashPaths(root, ['src', 'absent']);

  it('changes with a content, a name and a new file, and not with what a build makes', () => {
    const first = hash();
    mkdirSync(join(root, 'src/dist'));
    writeFileSync(join(root, 'src/dist/a.js'), 'made');
    expect(hash()).toBe(first);
    writeFileSync(join(root, 'src/deep/b.ts'), 'B');
    const second = hash();
    expect(second).not.toBe(first);
    writeFileSync(join(root, 'src/c.ts'), '');
    expect(hash()).not.toBe(second);
  });

  it('tells a file moved between names from the same bytes in one', () => {
    writeFileSync(join(root, 'src/a.ts'), '');
    writeFileSync(join(root, 'src/deep/b.ts'), 'ab');
    const one = hash();
    writeFileSync(join(root, 'src/a.ts'), 'ab');
    writeFileSync(join(root, 'src/deep/b.ts'), '');
    expect(hash()).not.toBe(one);
  });
});

describe('stamps', () => {
  it('matches the same hash while the outputs exist, across readers', () => {
    const file = join(root, '.cache/setup.json');
    const output = join(root, 'src/a.ts');
    expect(stamps(file).matches('x', 'h1', [output])).toBe(false);
    stamps(file).write('x', 'h1');
    stamps(file).write('y', 'h2');
    expect(stamps(file).matches('x', 'h1', [output])).toBe(true);
    expect(stamps(file).matches('x', 'h2', [output])).toBe(false);
    expect(stamps(file).matches('x', 'h1', [join(root, 'gone')])).toBe(false);
  });

  it('takes a file cut off by a crash for no stamp', () => {
    const file = join(root, 'setup.json');
    writeFileSync(file, '{"x":"h1"');
    expect(stamps(file).matches('x', 'h1', [])).toBe(false);
    stamps(file).write('x', 'h1');
    expect(stamps(file).matches('x', 'h1', [])).toBe(true);
  });
});
