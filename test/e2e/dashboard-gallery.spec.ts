// Compares every component of the design system with its stored image, in both themes. After an
// intended change, `GRAFT_UPDATE_IMAGES=1 npx vitest run test/e2e/dashboard-gallery.spec.ts` stores new images.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import pixelmatch from 'pixelmatch';
import type { Browser, Page } from 'playwright-core';
import { PNG } from 'pngjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildDashboard, findBrowser, startBrowser } from './browser.js';
import { unreadable, violations } from './looks.js';

const program = findBrowser();
const IMAGES = join(import.meta.dirname, 'gallery');
const isUpdating = process.env['GRAFT_UPDATE_IMAGES'] !== undefined;
/**
 * Share of pixels that may differ. Versions of Chromium draw edges of letters differently; a changed
 * color, size or position differs in more.
 */
const MAX_DIFFERING = 0.01;
/** Color distance (0 to 1) below which two pixels count as equal. */
const THRESHOLD = 0.2;
/** Examples whose text is in the system's own fonts, which differ between machines. */
const OTHER_FONTS = ['code', 'chart'];

const TYPES: Readonly<Record<string, string>> = {
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.woff2': 'font/woff2',
};

let dir: string;
let server: Server;
let browser: Browser;
let url: string;

/** Serves a build: files, and its page at every other address. There is no API. */
function serve(folder: string): Server {
  return createServer((request, response) => {
    const path = new URL(request.url ?? '/', 'http://here').pathname;
    if (path.startsWith('/v1')) return void response.writeHead(404).end('{}');
    const file = join(folder, path);
    const isFile = extname(path) !== '' && existsSync(file);
    const type = isFile ? (TYPES[extname(path)] ?? 'application/octet-stream') : 'text/html';
    response.writeHead(200, { 'content-type': type });
    response.end(readFileSync(isFile ? file : join(folder, 'index.html')));
  });
}

async function open(colorScheme: 'light' | 'dark'): Promise<Page> {
  const profile = await browser.newContext({
    colorScheme,
    reducedMotion: 'reduce',
    viewport: { width: 1000, height: 900 },
    deviceScaleFactor: 1,
  });
  const page = await profile.newPage();
  await page.goto(`${url}/gallery#key=sk-none`);
  await page.getByRole('heading', { name: 'Gallery' }).waitFor();
  await page.evaluate(() => document.fonts.ready);
  return page;
}

/** Returns the share of pixels that differ from the stored image, and stores it if asked to. */
function compared(name: string, bytes: Buffer): number {
  const file = join(IMAGES, `${name}.png`);
  if (isUpdating) writeFileSync(file, bytes);
  const expected = PNG.sync.read(readFileSync(file));
  const actual = PNG.sync.read(bytes);
  const { width, height } = expected;
  if (actual.width !== width || actual.height !== height) return 1;
  const differing = pixelmatch(expected.data, actual.data, undefined, width, height, {
    threshold: THRESHOLD,
  });
  return differing / (width * height);
}

describe.skipIf(!program)('the gallery', () => {
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'graft-gallery-'));
    buildDashboard(join(dir, 'built'), 'gallery');
    server = serve(join(dir, 'built'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    browser = await startBrowser();
  });
  afterAll(async () => {
    await browser?.close();
    server?.close();
    if (dir) rmSync(dir, { recursive: true, force: true });
  });

  it.each(['light', 'dark'] as const)('looks like its stored images: %s', async (theme) => {
    const page = await open(theme);
    const changed: Record<string, number> = {};
    const examples = await page.locator('[data-example]').all();
    expect(examples.length).toBeGreaterThan(7);
    for (const example of examples) {
      const name = (await example.getAttribute('data-example'))!;
      if (OTHER_FONTS.includes(name)) continue;
      const share = compared(`${name}-${theme}`, await example.screenshot());
      if (share > MAX_DIFFERING) changed[name] = share;
    }
    expect(changed).toEqual({});
    expect(await unreadable(page)).toEqual([]);
    expect(await violations(page)).toEqual([]);
    await page.context().close();
  });
});
