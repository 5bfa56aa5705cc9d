// A real Chromium for specs of the dashboard: found on PATH, watched for everything a user would not see.
import { accessSync, constants, mkdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome'];

/** The browser's program, or null where none is installed. */
export function findBrowser(): string | null {
  const places = (process.env['PATH'] ?? '')
    .split(delimiter)
    .flatMap((dir) => NAMES.map((name) => join(dir, name)));
  return places.find(isProgram) ?? null;
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

// No sandbox, because tests run as root in containers; the rest keeps the browser from calling home.
const ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export const startBrowser = (executablePath: string): Promise<Browser> =>
  chromium.launch({ executablePath, args: ARGS, headless: true });

/** A tab and what went wrong in it: console errors, uncaught errors, violations of the content security policy. */
export interface Watched {
  readonly page: Page;
  readonly problems: string[];
}

export async function openTab(
  browser: Browser,
  options: BrowserContextOptions = {},
): Promise<Watched> {
  const context = await browser.newContext({
    viewport: { width: 1280, height: 900 },
    acceptDownloads: true,
    ...options,
  });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  return { page, problems: await watch(page) };
}

export async function watch(page: Page): Promise<string[]> {
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

/** GRAFT_SCREENSHOTS=DIR keeps pictures of every screen there. */
const PICTURES = process.env['GRAFT_SCREENSHOTS'];

export async function picture(page: Page, name: string): Promise<void> {
  if (!PICTURES) return;
  mkdirSync(PICTURES, { recursive: true });
  await page.screenshot({ path: join(PICTURES, `${name}.png`), fullPage: true });
}

// Parts of the dashboard's pages.
export const text = (page: Page, words: string | RegExp) => page.getByText(words).first().waitFor();
export const pill = (page: Page, state: string) =>
  page.locator('.sticky .pill', { hasText: state });
export const rows = (page: Page) => page.locator('tbody tr');
export const jobId = (page: Page): string => /\/jobs\/([^/?#]+)/.exec(page.url())?.[1] ?? '';
