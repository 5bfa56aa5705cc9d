// Links between the pages of the documentation: the file must exist, and so must the heading that a link names.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');

const pages = [
  'README.md',
  'CONTRIBUTING.md',
  ...readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];

const read = (page: string): string =>
  readFileSync(join(ROOT, page), 'utf8').replace(/^ *```.*?^ *```/gms, '');

/** Anchor that GitHub gives a heading. */
const anchorOf = (heading: string): string =>
  heading
    .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\- _]/gu, '')
    .replaceAll(' ', '-');

function problem(page: string, link: string): string | null {
  const [file = '', anchor = ''] = link.split('#');
  const target = file === '' ? page : normalize(join(dirname(page), file));
  if (!existsSync(join(ROOT, target))) return `${link}: no such file`;
  if (anchor === '' || !target.endsWith('.md')) return null;
  const headings = [...read(target).matchAll(/^#+ (.+)$/gm)].map(([, text = '']) => text);
  return headings.map(anchorOf).includes(anchor) ? null : `${link}: no such heading`;
}

it.each(pages)('%s links to pages and headings that exist', (page) => {
  const links = [...read(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = '']) => link);
  const local = links.filter((link) => !/^(\w+:|\/\/)/.test(link));
  expect(local.map((link) => problem(page, link)).filter(Boolean)).toEqual([]);
});
