// Contrasts of the color tokens (WCAG 2.2) in both themes.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const sheet = readFileSync(join(import.meta.dirname, '..', 'styles', 'tokens.css'), 'utf8');

/** Returns the light or the dark color of a token. */
function colorOf(token: string, theme: 'light' | 'dark'): string {
  const [, value = ''] = new RegExp(`${token}: ([^;]+);`).exec(sheet) ?? [];
  const colors = value.match(/#[0-9a-f]{6}/g) ?? [];
  const color = colors[theme === 'light' ? 0 : 1] ?? colors[0];
  if (!color) throw new Error(`no color in ${token}: ${value}`);
  return color;
}

function luminance(color: string): number {
  const [r = 0, g = 0, b = 0] = [1, 3, 5].map((at) => {
    const c = Number.parseInt(color.slice(at, at + 2), 16) / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(a: string, b: string): number {
  const [light = 0, dim = 0] = [luminance(a), luminance(b)].sort((x, y) => y - x);
  return (light + 0.05) / (dim + 0.05);
}

const GROUNDS = ['--bg', '--surface', '--raised', '--selected', '--hover'];
const SERIES = Array.from({ length: 10 }, (_, n) => `--series-${n + 1}`);

describe.each(['light', 'dark'] as const)('tokens of the %s theme', (theme) => {
  const between = (a: string, b: string) => contrast(colorOf(a, theme), colorOf(b, theme));

  it.each(['--ink-1', '--ink-2', '--ink-3', '--accent', '--danger', '--warn', '--info'])(
    '%s is readable on every ground (4.5:1)',
    (ink) => {
      for (const ground of GROUNDS)
        expect(between(ink, ground), ground).toBeGreaterThanOrEqual(4.5);
    },
  );

  it.each(['--danger', '--warn', '--info'])('%s is readable on its own ground', (ink) => {
    expect(between(ink, `${ink}-bg`)).toBeGreaterThanOrEqual(4.5);
    expect(between('--ink-1', `${ink}-bg`)).toBeGreaterThanOrEqual(4.5);
  });

  it('labels of filled buttons are readable', () => {
    expect(between('--on-accent', '--accent')).toBeGreaterThanOrEqual(4.5);
    expect(between('--on-accent', '--accent-strong')).toBeGreaterThanOrEqual(4.5);
    expect(between('--on-danger', '--danger-fill')).toBeGreaterThanOrEqual(4.5);
  });

  it.each(['--line-control', ...SERIES])('%s is visible (3:1)', (line) => {
    for (const ground of ['--bg', '--surface', '--raised'])
      expect(between(line, ground), ground).toBeGreaterThanOrEqual(3);
  });
});
