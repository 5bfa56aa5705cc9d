// Measures the appearance of a page: drawn pixels of a canvas, contrast of texts (WCAG 2.2), and issues that
// axe-core finds.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { AxeResults, RunOptions } from 'axe-core';
import type { Page } from 'playwright-core';

/** Number of non-blank pixels of the first chart. */
export const inked = (page: Page): Promise<number> =>
  page
    .locator('.chart canvas')
    .first()
    .evaluate((element) => {
      const canvas = element as HTMLCanvasElement;
      const { data } = canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height);
      return data.filter((value, i) => i % 4 === 3 && value > 0).length;
    });

/** Relative luminance (WCAG 2.2) of "rgb(r, g, b)", or of "color(srgb r g b)", the format of mixed colors. */
export function luminance(color: string): number {
  const most = color.startsWith('color(srgb') ? 1 : 255;
  const [r = 0, g = 0, b = 0] = (color.match(/[\d.]+/g) ?? []).slice(0, 3).map((v) => {
    const c = Number(v) / most;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

/** Texts whose contrast with their background is below WCAG's 4.5:1. */
export async function unreadable(page: Page): Promise<string[]> {
  const texts = await page.evaluate(() => {
    const seen: { words: string; ink: string; ground: string }[] = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      const element = node.parentElement;
      const words = node.textContent?.trim() ?? '';
      if (
        !element ||
        words === '' ||
        // The narrow navigation replaces this number with a dot.
        element.closest('script,option,:disabled,.nav-count') ||
        element.getClientRects().length === 0
      )
        continue;
      let behind: Element | null = element;
      const clear = (e: Element) => /^rgba\(.*, 0\)$/.test(getComputedStyle(e).backgroundColor);
      while (behind && clear(behind)) behind = behind.parentElement;
      seen.push({
        words: words.slice(0, 40),
        ink: getComputedStyle(element).color,
        ground: behind ? getComputedStyle(behind).backgroundColor : 'rgb(255,255,255)',
      });
    }
    return seen;
  });
  return texts.flatMap(({ words, ink, ground }) => {
    const [light = 0, dim = 0] = [luminance(ink), luminance(ground)].sort((a, b) => b - a);
    const contrast = (light + 0.05) / (dim + 0.05);
    return contrast < 4.5 ? [`${words}: ${contrast.toFixed(1)} (${ink} on ${ground})`] : [];
  });
}

/** Ids of the fields that are marked as invalid. */
export const marked = (page: Page): Promise<string[]> =>
  page.locator('[aria-invalid="true"]').evaluateAll((fields) => fields.map((field) => field.id));

/** Elements wider than their box: the page itself, or a table that must be scrolled sideways. */
export const tooWide = (page: Page): Promise<string[]> =>
  page.evaluate(() =>
    [document.documentElement, ...document.querySelectorAll('.scroll')]
      .filter((box) => box.scrollWidth > box.clientWidth)
      .map((box) => `${box.tagName} ${box.scrollWidth} > ${box.clientWidth}`),
  );

/** Texts, fields and buttons that overlap. A bar that stays in sight may cover what scrolls behind it. */
export const overlapping = (page: Page, within = 'body'): Promise<string[]> =>
  page.evaluate((root) => {
    const boxes = [
      ...document
        .querySelector(root)!
        .querySelectorAll('td, button, .button, input, select, dt, dd, h1'),
    ]
      .filter((element) => element.checkVisibility()) // collapsed elements have a box, too
      .map((element) => ({ element, box: element.getBoundingClientRect() }))
      .filter(({ box }) => box.width > 0 && box.height > 0);
    const said = (element: Element) => `${element.tagName} "${element.textContent?.slice(0, 30)}"`;
    const found: string[] = [];
    const bar = (element: Element) => element.closest('.job-rail');
    for (const [i, a] of boxes.entries())
      for (const b of boxes.slice(i + 1)) {
        if (bar(a.element) !== bar(b.element)) continue;
        if (a.element.contains(b.element) || b.element.contains(a.element)) continue;
        const across = Math.min(a.box.right, b.box.right) - Math.max(a.box.left, b.box.left);
        const down = Math.min(a.box.bottom, b.box.bottom) - Math.max(a.box.top, b.box.top);
        if (across > 2 && down > 2) found.push(`${said(a.element)} over ${said(b.element)}`);
      }
    return found;
  }, within);

/** Select elements that are narrower than their selected text. */
export const cutChoices = (page: Page): Promise<string[]> =>
  page.evaluate(() => {
    const pen = document.createElement('canvas').getContext('2d')!;
    return [...document.querySelectorAll('select')]
      .filter((select) => select.checkVisibility())
      .flatMap((select) => {
        const style = getComputedStyle(select);
        const words = select.selectedOptions[0]?.textContent ?? '';
        pen.font = style.font;
        const needed = pen.measureText(words).width;
        const width =
          select.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
        return needed > width + 1
          ? [`"${words}" ${Math.round(needed)} > ${Math.round(width)}`]
          : [];
      });
  });

let axe: string | null = null;
const RULES: RunOptions = {
  runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
  // Only violations, because axe takes long to describe the rules that pass.
  resultTypes: ['violations'],
};

/** Violations found by axe-core. */
export async function violations(page: Page): Promise<string[]> {
  axe ??= readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
  if (!(await page.evaluate(() => 'axe' in window))) await page.evaluate(axe);
  return page.evaluate(async (options) => {
    const here = window as unknown as { axe: { run(o: RunOptions): Promise<AxeResults> } };
    const { violations: found } = await here.axe.run(options);
    return found.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' | ')}`);
  }, RULES);
}
