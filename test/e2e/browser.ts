// A real Chromium for specs of the dashboard. Its tabs record errors that a user would not see.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  chromium,
  type Browser,
  type BrowserContextOptions,
  type Download,
  type Page,
} from 'playwright-core';
import { inject } from 'vitest';

export { BROWSER_ARGS, findBrowser } from './browser-program.js';

/**
 * Writes the dashboard's release build to a folder: a copy of the build of `npm test`, or a new
 * build. The mode "gallery" includes the gallery of components.
 */
export function buildDashboard(outDir: string, mode = 'production'): void {
  const built = process.env['GRAFT_TEST_DASHBOARD'];
  if (built !== undefined && mode === 'production')
    return cpSync(built, outDir, { recursive: true });
  const cwd = join(import.meta.dirname, '..', '..', 'apps', 'dashboard');
  const vite = fileURLToPath(new URL('../../node_modules/vite/bin/vite.js', import.meta.url));
  // A process of its own, because NODE_ENV is test here and would cause a development build.
  const env = { ...process.env, NODE_ENV: 'production' };
  const args = [vite, 'build', '--mode', mode, '--logLevel', 'warn', '--outDir', outDir];
  const { status, stderr } = spawnSync(process.execPath, args, { cwd, env, encoding: 'utf8' });
  if (status !== 0) throw new Error(`the dashboard does not build: ${stderr}`);
}

/**
 * Connects to the browser that browser-server.ts started for this run. Closing it closes only the
 * profiles opened here.
 */
export const startBrowser = (): Promise<Browser> => chromium.connect(inject('browserEndpoint'));

/** A tab with its errors: console errors, uncaught errors, and violations of the content security policy. */
interface Watched {
  readonly page: Page;
  readonly problems: string[];
}

/** Tabs of one test, all of one API. */
export class Tabs {
  private tabs: Watched[] = [];

  constructor(
    private readonly browser: Browser,
    private readonly where: { readonly url: string; readonly apiKey: string },
  ) {}

  /** Opens a page in its own profile, signed in. `key: null` omits the key from the address. */
  async open(
    path: string,
    options: BrowserContextOptions & { key?: string | null } = {},
  ): Promise<Page> {
    const { key = this.where.apiKey, ...context } = options;
    const profile = await this.browser.newContext({
      viewport: { width: 1280, height: 900 },
      // Without transitions, colors and sizes are final immediately.
      reducedMotion: 'reduce',
      ...context,
    });
    const page = await this.add(await profile.newPage());
    const fragment = key === null ? '' : `#key=${encodeURIComponent(key)}`;
    await page.goto(`${this.where.url}${path}${fragment}`);
    return page;
  }

  async add(page: Page): Promise<Page> {
    // Long enough for a busy machine. All waits are for events.
    page.setDefaultTimeout(Number(process.env['GRAFT_TEST_PATIENCE_MS'] ?? 60_000));
    this.tabs.push({ page, problems: await watch(page) });
    return page;
  }

  /**
   * Returns the recorded errors, except those that a test causes: the browser reports every
   * rejected request.
   */
  problems(expected: RegExp | null = null): string[] {
    return this.tabs.flatMap((tab) => tab.problems).filter((text) => !expected?.test(text));
  }

  async screenshots(name: string): Promise<void> {
    for (const [i, { page }] of this.tabs.entries()) await screenshot(page, `${name}-${i}`);
  }

  async close(): Promise<void> {
    for (const { page } of this.tabs.splice(0)) await page.context().close();
  }
}

async function watch(page: Page): Promise<string[]> {
  const problems: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error')
      problems.push(`console: ${message.text()} (${message.location().url})`);
  });
  page.on('pageerror', (error) => problems.push(`uncaught: ${error.message}`));
  await page.addInitScript(() => {
    addEventListener('securitypolicyviolation', (event) =>
      console.error(`policy: ${event.violatedDirective} refused ${event.blockedURI}`),
    );
  });
  return problems;
}

/** Folder for screenshots of every screen, from GRAFT_SCREENSHOTS. */
const SCREENSHOT_FOLDER = process.env['GRAFT_SCREENSHOTS'];

export async function screenshot(page: Page, name: string): Promise<void> {
  if (!SCREENSHOT_FOLDER) return;
  mkdirSync(SCREENSHOT_FOLDER, { recursive: true });
  await page.screenshot({ path: join(SCREENSHOT_FOLDER, `${name}.png`), fullPage: true });
}

/** Returns the bytes of a download. The browser keeps the file, which belongs to another process. */
export async function downloaded(download: Download): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of await download.createReadStream()) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** Confirms or dismisses the dialog, whose code is loaded when it opens, and returns its text. */
export async function answer(page: Page, yes = true): Promise<string> {
  const question = page.getByRole('alertdialog');
  await question.waitFor();
  const words = await question.locator('h2, p').allInnerTexts();
  const buttons = question.getByRole('button');
  await (yes ? buttons.last() : buttons.first()).click();
  await question.waitFor({ state: 'detached' });
  return words.join(' ');
}

/** Chooses an item of a menu, such as `Actions for tickets.csv`. */
export async function choose(page: Page, menu: string | RegExp, item: string): Promise<void> {
  await page.getByRole('button', { name: menu }).click();
  await page.getByRole('menuitem', { name: item }).click();
}

/** Signs out through the account menu. */
export async function signOut(page: Page): Promise<void> {
  await choose(page, 'Account and settings', 'Sign out');
}

// Locators for parts of the dashboard's pages.
export const text = (page: Page, words: string | RegExp) => page.getByText(words).first().waitFor();
export const pill = (page: Page, state: string) =>
  page.locator(':is(.page-header, .sticky) .pill', { hasText: state });
export const rows = (page: Page) => page.locator('tbody tr');
export const jobId = (page: Page): string => /\/jobs\/([^/?#]+)/.exec(page.url())?.[1] ?? '';

/** Chooses an option of a searchable list. */
export async function pick(page: Page, label: string, option: string | RegExp): Promise<void> {
  await page.getByLabel(label, { exact: true }).click();
  await page.getByRole('listbox').getByRole('option', { name: option }).first().click();
  await page.getByPlaceholder('Search…').waitFor({ state: 'detached' });
}

/** Opens or closes a section of a form: "Tune: Length". */
export const toggle = (page: Page, name: string): Promise<void> =>
  page.getByRole('button', { name, exact: true }).click();
