// Uploads continue when the page that started them is left. The browser emulates a slow connection.
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FileObject, ProjectObject, UploadObject } from '@graft/contracts';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  answer,
  buildDashboard,
  findBrowser,
  screenshot,
  startBrowser,
  Tabs,
  signOut,
} from './browser.js';
import { Installation, until } from './installation.js';
import { overlapping, tooWide, unreadable, violations } from './looks.js';

const program = findBrowser();
const PART_BYTES = 4 * 1024 * 1024;

let dir: string;
let graft: Installation;
let browser: Browser;
let tabs: Tabs;

const sha256 = (bytes: Buffer | string): string => createHash('sha256').update(bytes).digest('hex');

/** Writes a file of distinct texts of about one kilobyte each. */
function written(name: string, lines: number): { path: string; sha256: string; bytes: number } {
  const words = 'It is a truth universally acknowledged, and not only here. '.repeat(17);
  const text = Array.from({ length: lines }, (_, n) => `${JSON.stringify({ text: `${name} ${n}: ${words}` })}\n`).join(''); // prettier-ignore
  const path = join(dir, name);
  writeFileSync(path, text);
  return { path, sha256: sha256(text), bytes: Buffer.byteLength(text) };
}

/** Limits the upload rate of the tab, in bytes per second. */
async function slowDown(page: Page, bytesPerSecond: number): Promise<void> {
  const devTools = await page.context().newCDPSession(page);
  await devTools.send('Network.emulateNetworkConditions', {
    offline: false,
    latency: 0,
    downloadThroughput: -1,
    uploadThroughput: bytesPerSecond,
  });
}

const tray = (page: Page) => page.getByRole('region', { name: 'Uploads' });
const bar = (page: Page) => tray(page).getByRole('progressbar');
/** Returns the number of sent bytes, from the progress bar. */
const sent = (page: Page): Promise<number> =>
  bar(page).evaluate((element) => (element as HTMLProgressElement).value);
const choose = (page: Page, ...paths: string[]): Promise<void> =>
  page.getByLabel('Files to upload').setInputFiles(paths);
const goTo = async (page: Page, name: string): Promise<void> => {
  await page.getByRole('navigation').getByRole('link', { name, exact: true }).click();
  await page.getByRole('heading', { name, exact: true, level: 1 }).waitFor();
};

async function filesNamed(name: string): Promise<FileObject[]> {
  const { data } = await graft.openai.files.list({ limit: 100 });
  return (data as FileObject[]).filter(({ filename }) => filename === name);
}

async function hashOf(name: string): Promise<string> {
  const [file] = await filesNamed(name);
  const content = await graft.openai.files.content(file!.id);
  return sha256(Buffer.from(await content.arrayBuffer()));
}

/** Collects the ids of uploads that a page starts. */
function begun(page: Page): string[] {
  const ids: string[] = [];
  page.on('response', (response) => {
    if (response.url().endsWith('/v1/uploads'))
      void response.json().then(({ id }: UploadObject) => ids.push(id));
  });
  return ids;
}

/** Limits the storage of the project that the tests upload to. */
async function limitStorage(storage_bytes: number | null): Promise<void> {
  const { data } = (await graft.openai.get('/organization/projects')) as { data: ProjectObject[] };
  const body = { graft: { limits: { storage_bytes } } };
  await graft.openai.post(`/organization/projects/${data[0]!.id}`, { body });
}

describe.skipIf(!program)('uploads in the dashboard', () => {
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'graft-dashboard-uploads-'));
    buildDashboard(join(dir, 'built'));
    graft = await Installation.start({ dashboardDir: join(dir, 'built') });
    await graft.importTinyBase();
    browser = await startBrowser();
    tabs = new Tabs(browser, graft.where);
  });
  afterAll(async () => {
    await browser?.close();
    await graft?.stop();
    if (dir) rmSync(dir, { recursive: true, force: true });
  });
  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail') {
      console.error(tabs.problems().join('\n'), graft.tails());
      await tabs.screenshots(`failed-${task.name.replaceAll(/\W+/g, '-')}`);
    }
    await tabs.close();
  });

  it('continue while other pages are open, and arrive complete', async () => {
    const file = written('novel.jsonl', 6000);
    const page = await tabs.open('/files');
    await slowDown(page, 1_500_000);
    await choose(page, file.path);
    await tray(page)
      .getByText(/^[\d.]+ [kM]B of 6\.\d MB, \d+ %/)
      .waitFor();
    await goTo(page, 'Models');
    const before = await sent(page);
    await until('more to be sent', async () => (await sent(page)) > before);
    await tray(page)
      .getByText(/ MB\/s, \d+ s left$/)
      .waitFor();
    await screenshot(page, 'upload-elsewhere');
    await goTo(page, 'Jobs');
    await tray(page).getByText('✓ uploaded').waitFor();
    expect(await filesNamed('novel.jsonl')).toMatchObject([
      { bytes: file.bytes, status: 'processed' },
    ]);
    expect(await hashOf('novel.jsonl')).toBe(file.sha256);
    await tray(page).getByRole('link', { name: 'Use in a new job' }).click();
    await page.getByRole('region', { name: 'Data' }).getByText('novel.jsonl').first().waitFor();
    await tray(page).getByRole('link', { name: 'Show the file' }).click();
    await page.getByRole('heading', { name: 'novel.jsonl' }).waitFor();
    await tray(page).getByRole('button', { name: 'Close novel.jsonl' }).click();
    await tray(page).waitFor({ state: 'detached' });
    expect(tabs.problems()).toEqual([]);
  });

  it('are canceled on the server as well', async () => {
    const page = await tabs.open('/files');
    const ids = begun(page);
    await slowDown(page, 500_000);
    await choose(page, written('first.jsonl', 6000).path, written('second.jsonl', 3).path);
    await until('some to be sent', async () => (await bar(page).count()) === 1 && (await sent(page)) > 0); // prettier-ignore
    await tray(page).getByText('waiting for the previous upload').waitFor();
    await goTo(page, 'Models');
    await tray(page).getByRole('button', { name: 'Cancel the upload of first.jsonl' }).click();
    await tray(page).getByText('✓ uploaded').waitFor();
    expect(await tray(page).getByText('first.jsonl').count()).toBe(0);
    await until('the server to know', async () => {
      const upload = (await graft.openai.get(`/uploads/${ids[0]}`)) as UploadObject;
      return upload.status === 'cancelled';
    });
    expect(await filesNamed('first.jsonl')).toEqual([]);
    expect(await filesNamed('second.jsonl')).toHaveLength(1);
    expect(tabs.problems()).toEqual([]);
  });

  it('resume when a killed server is back', async () => {
    const file = written('interrupted.jsonl', 9000);
    const page = await tabs.open('/files');
    const parts: number[] = [];
    page.on('response', (response) => {
      if (response.url().endsWith('/parts')) parts.push(response.status());
    });
    await slowDown(page, 2_000_000);
    await choose(page, file.path);
    await goTo(page, 'Models');
    await until('the first part', () => parts.length > 0);
    await graft.crashApi(2000);
    await tray(page).getByText('✓ uploaded').waitFor();
    expect(await hashOf('interrupted.jsonl')).toBe(file.sha256);
    // Parts that had arrived were not sent again.
    expect(parts).toEqual(Array(Math.ceil(file.bytes / PART_BYTES)).fill(200));
    expect(tabs.problems(/net::ERR_|status of 50/)).toEqual([]);
  });

  it('of the form are selected by it, even if another page is open', async () => {
    const page = await tabs.open('/new');
    const chosen = page.getByRole('region', { name: 'Data' }).locator('.form-section-line b');
    const suffix = page.getByRole('textbox', { name: 'Name', exact: true });
    await suffix.fill('kept');
    await slowDown(page, 500_000);
    await page.locator('#upload').setInputFiles(written('form.jsonl', 1500).path);
    await page.getByText('form.jsonl is being uploaded').waitFor();
    await goTo(page, 'Models');
    await page.goBack();
    await page.getByText('form.jsonl is being uploaded').waitFor();
    await screenshot(page, 'upload-in-form');
    await chosen.filter({ hasText: 'form.jsonl' }).waitFor();
    expect(await suffix.inputValue()).toBe('kept');

    await page.getByRole('button', { name: 'Change: Data' }).click();
    await page.locator('#upload').setInputFiles(written('away.jsonl', 300).path);
    await goTo(page, 'Cluster');
    await tray(page).getByRole('link', { name: 'Back to the new job' }).click();
    await chosen.filter({ hasText: 'away.jsonl' }).waitFor();
    expect(await suffix.inputValue()).toBe('kept');
    expect(tabs.problems()).toEqual([]);
  });

  it('of tables ask for columns on any page, and are not sent again', async () => {
    const path = join(dir, 'fragen.csv');
    const lines = Array.from({ length: 12 }, (_, n) => `${n},Was ist ${n} + 1?,${n + 1}\n`);
    writeFileSync(path, `nr,frage,antwort\n${lines.join('')}`);
    const page = await tabs.open('/files');
    let parts = 0;
    page.on('request', (request) => void (request.url().endsWith('/parts') && parts++));
    await choose(page, path);
    await goTo(page, 'Models');
    await tray(page).getByRole('link', { name: 'Choose columns' }).click();
    const form = page.getByRole('region', { name: 'Columns of fragen.csv' });
    await form.getByLabel('prompt', { exact: true }).selectOption('frage');
    await form.getByLabel('completion', { exact: true }).selectOption('antwort');
    await form.getByRole('button', { name: /^Use (this|these) column/ }).click();
    await tray(page).getByText('✓ uploaded').waitFor();
    expect(await filesNamed('fragen.csv')).toMatchObject([{ graft: { records: 12 } }]);
    expect(parts).toBe(1);
    expect(tabs.problems(/status of 400/)).toEqual([]);
  });

  it('show the API’s error when they fail, and can be retried', async () => {
    const page = await tabs.open('/files');
    await limitStorage(1);
    await choose(page, written('refused.jsonl', 3).path);
    await tray(page)
      .getByText(/not uploaded: .*storage/)
      .waitFor();
    await screenshot(page, 'upload-failed');
    await limitStorage(null);
    await goTo(page, 'Models');
    await tray(page).getByRole('button', { name: 'Try again' }).click();
    await tray(page).getByText('✓ uploaded').waitFor();
    expect(await filesNamed('refused.jsonl')).toHaveLength(1);
    expect(tabs.problems(/status of 429/)).toEqual([]);
  });

  it('ask for confirmation before the dashboard is left, and end with the session', async () => {
    const page = await tabs.open('/files');
    const ids = begun(page);
    await slowDown(page, 200_000);
    await page.getByRole('heading', { name: 'Files', exact: true }).click(); // Browsers show no confirmation before the first user interaction.
    await choose(page, written('left.jsonl', 4000).path);
    await until('some to be sent', async () => (await bar(page).count()) === 1 && (await sent(page)) > 0); // prettier-ignore
    const asked = page.waitForEvent('dialog');
    await page.evaluate(() => void setTimeout(() => location.reload()));
    const dialog = await asked;
    expect(dialog.type()).toBe('beforeunload');
    await dialog.dismiss();
    const before = await sent(page);
    await until('it to continue', async () => (await sent(page)) > before);
    await signOut(page);
    expect(await answer(page, false)).toBe(
      'Sign out? One upload is under way and will be cancelled.',
    );
    await signOut(page);
    await answer(page);
    await page.getByRole('button', { name: 'Sign in' }).waitFor();
    await until('the server to know', async () => {
      const upload = (await graft.openai.get(`/uploads/${ids[0]}`)) as UploadObject;
      return upload.status === 'cancelled';
    });
    expect(tabs.problems()).toEqual([]);
  });

  it('fit every width, light and dark', { timeout: 120_000 }, async () => {
    const bad = join(dir, 'a-name-that-goes-on-and-on-without-end-as-names-of-data-do.jsonl');
    writeFileSync(bad, '{"text":1}\n');
    const page = await tabs.open('/models');
    await page.goto(`${graft.where.url}/files`);
    await slowDown(page, 20_000);
    const slow = [written('slow.jsonl', 2000).path, written('next.jsonl', 3).path];
    await choose(page, bad, written('good.jsonl', 3).path, ...slow);
    await tray(page).getByText('slow.jsonl').waitFor();
    await tray(page).getByText('✓ uploaded').waitFor();
    await until('some to be sent', async () => (await bar(page).count()) === 1 && (await sent(page)) > 0); // prettier-ignore
    await goTo(page, 'Models');
    for (const width of [320, 390, 1024, 1440])
      for (const colorScheme of ['light', 'dark'] as const) {
        await page.setViewportSize({ width, height: 900 });
        await page.emulateMedia({ colorScheme });
        await screenshot(page, `uploads-${width}-${colorScheme}`);
        expect([
          ...(await tooWide(page)),
          ...(await overlapping(page)),
          ...(await unreadable(page)),
          ...(await violations(page)),
        ]).toEqual([]);
      }
    // Percentages are hidden from screen readers.
    const status = await page.getByRole('status').filter({ hasText: 'slow.jsonl' }).textContent();
    expect(status).toContain('slow.jsonl: uploading');
    expect(status).not.toMatch(/\d %/);
    expect(tabs.problems()).toEqual([]);
  });
});
