// CONTRIBUTING.md and the decisions in docs/adr name files of the repository, which must exist. They name no commits:
// rewriting the history removed all those that an earlier version named.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
const NOT_OURS = new Set(['node_modules', 'dist', 'bundle', 'build', '.git', '.cache', '.nx']);
const FROM_THE_ROOT = /^(apps|libs|test|docs|tools|deploy|examples)\//;
const SOURCE_FILE = /[^/.]\.(tsx?|[cm]js|cpp|cu|inc|h|proto|py|md)$/;
const COMMIT = /^[0-9a-f]{7,40}$|^(feat|fix|perf|refactor|docs|test|build|chore)(\([^)]*\))?: /;

const adrs = readdirSync(join(ROOT, 'docs/adr')).filter((name) => /^\d{4}-/.test(name));
const pages = ['CONTRIBUTING.md', 'docs/adr/README.md', ...adrs.map((name) => `docs/adr/${name}`)];

/** Files and folders below a folder, each with a slash before its path. */
function below(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true })
    .filter(({ name }) => !NOT_OURS.has(name))
    .flatMap((entry) => {
      const path = `${folder}/${entry.name}`;
      return entry.isDirectory() ? [path, ...below(path)] : [path];
    });
}
const existing = below('');

/** Returns the code spans of a page. */
function quoted(page: string): string[] {
  const text = readFileSync(join(ROOT, page), 'utf8').replace(/^```.*?^```/gms, '');
  return [...text.matchAll(/`([^`\n]+)`/g)].map(([, code = '']) => code);
}

/**
 * Whether a code span is a path from the root, or the end of a source file's path, such as `nn/stack.ts`. Patterns are
 * not paths.
 */
const isPath = (code: string): boolean =>
  !/[<*\s]/.test(code) && (FROM_THE_ROOT.test(code) || SOURCE_FILE.test(code));

function exists(path: string): boolean {
  const end = `/${path.replace(/\/$/, '')}`;
  return FROM_THE_ROOT.test(path)
    ? existing.includes(end)
    : existing.some((file) => file.endsWith(end));
}

describe.each(pages)('%s', (page) => {
  it('names files that exist', () => {
    const missing = quoted(page).filter((code) => isPath(code) && !exists(code));
    expect(missing).toEqual([]);
  });

  it('names no commits', () => {
    expect(quoted(page).filter((code) => COMMIT.test(code))).toEqual([]);
  });
});

it('docs/adr explains each unused number', () => {
  const numbers = adrs.map((name) => name.slice(0, 4));
  expect(new Set(numbers).size).toBe(numbers.length);
  const readme = readFileSync(join(ROOT, 'docs/adr/README.md'), 'utf8');
  const highest = Number(numbers.sort().at(-1));
  const unused = Array.from({ length: highest }, (_, i) => String(i + 1).padStart(4, '0')).filter(
    (number) => !numbers.includes(number),
  );
  expect(unused.filter((number) => !readme.includes(number))).toEqual([]);
});
