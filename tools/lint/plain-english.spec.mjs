// How we write (CONTRIBUTING.md). `npm run lint` checks TypeScript and JavaScript with the same rules.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { ESLint } from 'eslint';
import { describe, expect, it } from 'vitest';
import { measure } from './markdown.mjs';
import { dialectIn, fragmentIn } from './words.mjs';

const ROOT = join(import.meta.dirname, '../..');

const files = (...patterns) =>
  execFileSync('git', ['ls-files', ...patterns], { cwd: ROOT, encoding: 'utf8' })
    .split('\n')
    .filter((file) => file !== '' && existsSync(join(ROOT, file)));

const read = (file) => readFileSync(join(ROOT, file), 'utf8');

/** The glossary lists the words that the other pages must not use. */
const GLOSSARY = 'docs/internals/words.md';

const pages = files('*.md').filter((file) => file !== GLOSSARY);

describe.each(pages)('%s', (page) => {
  it('has short sentences and short table cells', () => {
    const { median, cell, longestCell } = measure(read(page));
    expect(median, 'words in the median sentence').toBeLessThanOrEqual(16);
    // The reference shows the descriptions of options, each of which is written once.
    const most = page.startsWith('docs/reference/') ? 41 : 25;
    expect(longestCell, `words in the table cell "${cell}"`).toBeLessThanOrEqual(most);
  });

  it('uses standard terms', () => {
    const { text } = measure(read(page));
    const found = text
      .split(/\n\s*\n/)
      .flatMap((part) => dialectIn(part).map((word) => `${word} in: ${part.trim()}`));
    expect(found).toEqual([]);
  });
});

const COMMENTS = [
  [
    ['*.cpp', '*.h', '*.cu', '*.cuh', '*.proto', '*.css'],
    /\/\*([\s\S]*?)\*\/|(?:^|\s)\/\/((?:.*\n\s*\/\/)*.*)/g,
  ],
  [['*.py'], /(?:^|\s)#((?:.*\n\s*#)*.*)|"""([\s\S]*?)"""/g],
  [
    ['*.sh', '*.yml', '*.yaml', '*.tpl', '*.service', '*.cfg', '*Dockerfile*', '.ci/run'],
    /(?:^|\s)#((?:.*\n\s*#)*.*)/gm,
  ],
];

it('uses standard terms in TypeScript and JavaScript', { timeout: 300_000 }, async () => {
  const eslint = new ESLint({
    cwd: ROOT,
    overrideConfigFile: join(ROOT, 'tools/lint/plain-english.config.js'),
  });
  const found = (await eslint.lintFiles('.')).flatMap(({ filePath, messages }) =>
    messages.map(({ line, message }) => `${relative(ROOT, filePath)}:${line} ${message}`),
  );
  expect(found).toEqual([]);
});

it('uses standard terms in comments of other languages', () => {
  const found = COMMENTS.flatMap(([patterns, comment]) =>
    files(...patterns).flatMap((file) =>
      [...read(file).matchAll(comment)].flatMap((match) => {
        const text = match[1] ?? match[2] ?? '';
        const fragment = text.startsWith('*') ? fragmentIn(text) : null;
        return [
          ...dialectIn(text),
          ...(fragment === null ? [] : [`starts with "${fragment}"`]),
        ].map((problem) => `${file}: ${problem} in: ${text.trim()}`);
      }),
    ),
  );
  expect(found).toEqual([]);
});

it('has commit subjects of at most 72 characters, and bodies that say why', (context) => {
  if (!existsSync(join(ROOT, '.git'))) return context.skip('no Git history here');
  const log = execFileSync(
    'git',
    ['log', '--no-merges', '--since=2026-12-02T03:00:00Z', '--format=%s%x00%b%x01'],
    {
      cwd: ROOT,
      encoding: 'utf8',
    },
  );
  const commits = log.split('\x01').map((commit) => commit.trim().split('\0'));
  const wrong = commits.filter(
    ([subject = '', body = '']) => subject !== '' && (subject.length > 72 || body.trim() === ''),
  );
  expect(wrong.map(([subject]) => subject)).toEqual([]);
});
