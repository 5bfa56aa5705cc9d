// A server that does not respond because it is frozen or gone. Every page reports it until the
// server is back.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { buildDashboard, findBrowser, screenshot, startBrowser, Tabs } from './browser.js';
import { Installation, until } from './installation.js';

const program = findBrowser();
const PAGES = ['/', '/new', '/files', '/models', '/cluster', '/chat', '/projects?tab=keys'];
let dir: string;
let graft: Installation;
let browser: Browser;
let tabs: Tabs;
let job: string;

const banner = (page: Page) => page.locator('.banner', { hasText: 'Graft is not responding' });

describe.skipIf(!program)('without a response', () => {
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'graft-contact-'));
    buildDashboard(join(dir, 'built'));
    graft = await Installation.start({ dashboardDir: join(dir, 'built') });
    await graft.importTinyBase();
    const training_file = await graft.uploadChats(12);
    job = (await graft.createJob({ model: 'tiny', training_file, suffix: 'waits' })).id;
    browser = await startBrowser();
    tabs = new Tabs(browser, graft.where);
  });
  afterAll(async () => {
    graft?.signalApi('SIGCONT');
    await browser?.close();
    await graft?.stop();
    if (dir) rmSync(dir, { recursive: true, force: true });
  });
  afterEach(async ({ task }) => {
    graft.signalApi('SIGCONT');
    if (task.result?.state === 'fail') await tabs.screenshots('failed-contact');
    await tabs.close();
  });

  it('reports on every page that Graft is frozen, until it continues', async () => {
    const pages: Page[] = [];
    // Each in its own browser profile, so that none waits for the connections of another.
    for (const path of [...PAGES, `/jobs/${job}`]) {
      const page = await tabs.open(path);
      await page.locator('h1').waitFor();
      pages.push(page);
    }
    for (const page of pages) expect(await banner(page).count(), page.url()).toBe(0);
    graft.signalApi('SIGSTOP');
    for (const page of pages) await banner(page).waitFor();
    await until('the seconds to be counted', async () =>
      /for \d+ s/.test((await pages[0]!.locator('.banner').textContent()) ?? ''),
    );
    await screenshot(pages[4]!, 'frozen');
    graft.signalApi('SIGCONT');
    for (const page of pages) await banner(page).waitFor({ state: 'detached' });
    expect(tabs.problems(/ERR_ABORTED|net::ERR/)).toEqual([]);
  });

  it('reports that the API is down, and loads the page when it is back', async () => {
    const workers = await tabs.open('/cluster');
    const chat = await tabs.open('/chat?model=tiny');
    const keys = await tabs.open('/projects?tab=keys');
    for (const page of [workers, chat, keys]) await page.locator('h1').waitFor();
    await keys.locator('tbody tr').first().waitFor();
    await keys.getByRole('status', { name: 'Loading' }).first().waitFor({ state: 'detached' });
    await chat.getByLabel('Message').fill('hello');
    const down = graft.crashApi(15_000);
    for (const page of [workers, chat, keys]) await banner(page).waitFor();
    await chat.getByRole('button', { name: 'Send' }).click();
    await chat.getByRole('log').getByText('Graft is not responding.').waitFor();
    // A page that is opened meanwhile is empty at first, and loads later.
    await keys.getByRole('link', { name: 'Models' }).click();
    await keys.getByRole('status', { name: 'Loading' }).first().waitFor();
    for (const page of [workers, chat, keys])
      expect(await page.getByText('Failed to fetch').count()).toBe(0);
    await screenshot(workers, 'api-down');
    await down;
    for (const page of [workers, chat, keys]) await banner(page).waitFor({ state: 'detached' });
    await keys.locator('tbody tr').filter({ hasText: 'tiny' }).waitFor();
  });
});
