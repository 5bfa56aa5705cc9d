// What surrounds every page: navigation, command menu, theme, project switcher and cluster state.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type {
  JobObject,
  ProjectApiKeyObject,
  ProjectObject,
  ProjectUserObject,
} from '@graft/contracts';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  importBase,
  startTestApi,
  until,
  uploadChats,
  type TestApi,
} from '../../apps/api/test/fixture.js';
import { ScriptedWorker } from '../../apps/api/test/scripted-worker.js';
import {
  buildDashboard,
  choose,
  findBrowser,
  screenshot,
  startBrowser,
  Tabs,
  text,
} from './browser.js';
import { violations } from './looks.js';

const program = findBrowser();
let dir: string;
let api: TestApi;
let browser: Browser;
let tabs: Tabs;
let job: JobObject;

const ground = (page: Page): Promise<string> =>
  page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
const LIGHT = 'rgb(250, 250, 249)';
const DARK = 'rgb(11, 14, 12)';

describe.skipIf(!program)('the shell of the dashboard', () => {
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'graft-dashboard-shell-'));
    buildDashboard(join(dir, 'built'));
    api = await startTestApi({ dashboardDir: join(dir, 'built') });
    await importBase(api);
    job = await api.post<JobObject>('/fine_tuning/jobs', {
      model: 'tiny',
      training_file: await uploadChats(api),
      suffix: 'captain',
    });
    browser = await startBrowser();
    tabs = new Tabs(browser, api);
  });
  afterAll(async () => {
    await browser?.close();
    await api?.close();
    if (dir) rmSync(dir, { recursive: true, force: true });
  });
  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail') {
      console.error(tabs.problems().join('\n'));
      await tabs.screenshots('failed-shell');
    }
    await tabs.close();
  });

  it('finds jobs, models and pages with the keyboard', async () => {
    const page = await tabs.open('/files');
    await page.getByRole('heading', { name: 'Files', exact: true }).waitFor();
    await page.keyboard.press('Control+k');
    const menu = page.getByRole('dialog', { name: 'Search and commands' });
    await menu.getByRole('option', { name: /captain/ }).waitFor();
    expect(await violations(page)).toEqual([]);
    await screenshot(page, 'command-menu');
    await page.keyboard.type('capt');
    await menu.getByRole('option', { name: /^Jobs/ }).waitFor({ state: 'detached' });
    await menu.getByRole('option', { name: /captain/ }).waitFor();
    await page.keyboard.press('Enter');
    await page.waitForURL(new RegExp(`/jobs/${job.id}`));
    await menu.waitFor({ state: 'detached' });
    await page.keyboard.press('Control+k');
    await menu.getByRole('combobox', { name: 'Search' }).waitFor();
    await page.keyboard.type('evals');
    await menu.getByRole('option', { name: /^Evals/ }).waitFor();
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Evals', exact: true }).waitFor();
    await page.keyboard.press('Control+k');
    await menu.getByRole('combobox', { name: 'Search' }).waitFor();
    await page.keyboard.type('no page has this name');
    await menu.getByText('No matches').waitFor();
    await page.keyboard.press('Escape');
    await menu.waitFor({ state: 'detached' });
    expect(tabs.problems()).toEqual([]);
  });

  it('keeps the chosen theme, whatever the system prefers', async () => {
    const page = await tabs.open('/models', { colorScheme: 'light' });
    await page.getByRole('heading', { name: 'Models', exact: true }).waitFor();
    expect(await ground(page)).toBe(LIGHT);
    await choose(page, 'Account and settings', 'Theme: dark');
    expect(await ground(page)).toBe(DARK);
    await page.reload();
    await page.getByRole('heading', { name: 'Models', exact: true }).waitFor();
    expect(await ground(page)).toBe(DARK);
    await choose(page, 'Account and settings', 'Theme: system');
    expect(await ground(page)).toBe(LIGHT);
  });

  it('collapses to icons, with names for screen readers, and stays so', async () => {
    const page = await tabs.open('/models', { viewport: { width: 1440, height: 900 } });
    const side = page.locator('header.side');
    const width = async () => (await side.boundingBox())?.width;
    await page.getByRole('button', { name: 'Collapse navigation' }).click();
    expect(await width()).toBe(56);
    await page.reload();
    await page.getByRole('button', { name: 'Expand navigation' }).waitFor();
    expect(await width()).toBe(56);
    await page
      .getByRole('navigation', { name: 'Pages' })
      .getByRole('link', { name: 'Files' })
      .click();
    await page.getByRole('heading', { name: 'Files', exact: true }).waitFor();
    expect(await violations(page)).toEqual([]);
    await page.getByRole('button', { name: 'Expand navigation' }).click();
    expect(await width()).toBe(216);
  });

  it('shows the state of the cluster on every page', async () => {
    const page = await tabs.open('/files');
    await page.getByRole('link', { name: /^Cluster: No worker online · 1 queued/ }).waitFor();
    const worker = await new ScriptedWorker(api).connect();
    await worker.nextAssignment();
    await page.getByRole('link', { name: /^Cluster: 1\/\d+ slots busy/ }).waitFor();
    worker.vanish();
  });

  it('switches between the projects of the keys in this session', async () => {
    const { id } = await api.post<ProjectObject>('/organization/projects', { name: 'ads' });
    const path = `/organization/projects/${id}`;
    const member = await api.post<ProjectUserObject>(`${path}/users`, {
      name: 'ada',
      role: 'member',
    });
    const { value } = await api.post<ProjectApiKeyObject>(`${path}/api_keys`, {
      name: 'laptop',
      member_id: member.id,
    });
    const page = await tabs.open('/files');
    await choose(page, 'Project default', 'Use another API key…');
    await page.getByLabel('API key', { exact: true }).fill(value!);
    await page.getByRole('button', { name: 'Switch' }).click();
    await page.getByRole('button', { name: 'Project ads' }).waitFor();
    await choose(page, 'Project ads', 'default');
    await page.getByRole('button', { name: 'Project default' }).waitFor();
    await text(page, 'chats');
    expect(tabs.problems()).toEqual([]);
  });

  it('enforces a content security policy', async () => {
    const policy = (await fetch(api.url)).headers.get('content-security-policy');
    expect(policy).toMatch(/^(?!.*unsafe)default-src 'self'/);
    const page = await tabs.open('/');
    await page.getByRole('heading', { name: 'Jobs', exact: true }).waitFor();
    const hacked = await page.evaluate(() => {
      const script = document.createElement('script');
      script.textContent = 'window.hacked = 1';
      document.body.append(script);
      return 'hacked' in window;
    });
    expect(hacked).toBe(false);
    await until(() => tabs.problems().some((p) => p.startsWith('console: policy: script-src')));
  });
});
