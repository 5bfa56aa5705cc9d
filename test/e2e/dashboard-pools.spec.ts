// The cluster: pools as lanes with their queues, workers and slots, the timeline of a queue, and the actions of
// an admin, which show their consequences first.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ApiKeyObject, JobObject, PoolObject } from '@graft/contracts';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  importBase,
  startTestApi,
  until,
  uploadChats,
  type TestApi,
} from '../../apps/api/test/fixture.js';
import { ScriptedWorker, started, step } from '../../apps/api/test/scripted-worker.js';
import {
  answer,
  buildDashboard,
  findBrowser,
  screenshot,
  startBrowser,
  Tabs,
  text,
} from './browser.js';

const program = findBrowser();
let dir: string;
let api: TestApi;
let browser: Browser;
let tabs: Tabs;
const workers: ScriptedWorker[] = [];
const jobs = new Map<string, JobObject>();

/** Connects a worker with one slot, which trains the next job. */
async function occupied(name: string): Promise<ScriptedWorker> {
  const worker = await new ScriptedWorker(api, { name, pool: 'gpu', slots: 1 }).connect();
  workers.push(worker);
  const lease = await worker.nextAssignment();
  worker.keep(lease);
  await worker.report(lease, started(0, 400), ...[1, 2, 3, 4].map((n) => step(n)));
  return worker;
}

const pictures = async (page: Page, name: string) => {
  for (const [width, colorScheme] of [
    [390, 'dark'],
    [768, 'light'],
    [1024, 'dark'],
    [1440, 'light'],
    [1920, 'dark'],
  ] as const) {
    if (!process.env['GRAFT_SCREENSHOTS']) return;
    await page.setViewportSize({ width, height: 900 });
    await page.emulateMedia({ colorScheme });
    await screenshot(page, `${name}-${width}`);
  }
  await page.setViewportSize({ width: 1280, height: 900 });
};

const choose = async (page: Page, menu: string, item: string | RegExp) => {
  await page.getByRole('button', { name: `Actions for ${menu}`, exact: true }).click();
  await page.getByRole('menuitem', { name: item }).click();
};

describe.skipIf(!program)('the cluster in the dashboard', () => {
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'graft-dashboard-pools-'));
    buildDashboard(join(dir, 'built'));
    api = await startTestApi({ dashboardDir: join(dir, 'built'), leaseMs: 60_000 });
    await importBase(api);
    const training_file = await uploadChats(api);
    for (const suffix of ['tickets', 'pirates', 'recipes', 'haiku', 'letters'])
      jobs.set(
        suffix,
        await api.post<JobObject>('/fine_tuning/jobs', {
          model: 'tiny',
          training_file,
          suffix,
          graft: { pool: 'gpu' },
        }),
      );
    await occupied('box');
    await occupied('bench');
    await api.query(
      `INSERT INTO pool_sample (pool, at, queued, running, slots, free_slots)
       SELECT 'gpu', date_trunc('minute', clock_timestamp()) - n * interval '1 minute', n % 7, 1, 1, 0
       FROM generate_series(1, 50) n ON CONFLICT DO NOTHING`,
    );
    // A known speed, so that the queue has a forecast.
    await api.query(
      `UPDATE job SET tokens_per_second = 20, seconds_per_step = 1.5 WHERE state = 'running'`,
    );
    await api.query(`UPDATE job SET estimated_tokens = 6000 + 2000 * length(suffix)`);
    browser = await startBrowser();
    tabs = new Tabs(browser, api);
  });
  afterAll(async () => {
    for (const worker of workers) worker.vanish();
    await browser?.close();
    await api?.close();
    if (dir) rmSync(dir, { recursive: true, force: true });
  });
  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail') await tabs.screenshots('failed-pools');
    await tabs.close();
  });

  it('shows queues, workers and slots, and offers no changes to a viewer', async () => {
    const { secret } = await api.post<ApiKeyObject>('/keys', {
      name: 'looks',
      scopes: ['jobs:read'],
    });
    // The former addresses lead to the cluster.
    const page = await tabs.open('/pools', { key: secret! });
    await page.waitForURL(/\/cluster/);
    const lane = page.getByRole('region', { name: 'Pool gpu' });
    const queue = lane.getByRole('list', { name: 'Queue of gpu' });
    await queue.getByRole('listitem').nth(2).waitFor();
    const waiting = await queue.getByRole('listitem').allInnerTexts();
    expect(waiting).toHaveLength(3);
    expect(waiting[0]).toMatch(/^1\s+recipes\s+starts in about/);
    const box = lane.getByRole('listitem', { name: 'box' });
    await box.getByText('online').waitFor();
    await box.getByRole('link', { name: /tickets|pirates/ }).waitFor();
    await box.getByText(/4\/400 · \d+ min left/).waitFor();
    const buttons = page.locator('main').getByRole('button');
    expect(await buttons.allTextContents()).toEqual([]);
    await pictures(page, 'cluster-viewer');
    await lane.getByRole('link', { name: 'gpu', exact: true }).click();
    await page.getByRole('img', { name: /^Queued over the last hour: peak 6/ }).waitFor();
    await pictures(page, 'pool-viewer');
    await queue.getByRole('link', { name: 'recipes' }).click();
    await page.waitForURL(new RegExp(`/jobs/${jobs.get('recipes')!.id}`));
    expect(tabs.problems()).toEqual([]);
  });

  it('shows the queue as a timeline, and moves a job forward after showing whom it delays', async () => {
    const page = await tabs.open('/cluster');
    await page.getByRole('radio', { name: 'Timeline' }).click();
    await page.waitForURL(/view=timeline/);
    const timeline = page.getByRole('table', { name: 'Timeline of pool gpu' });
    const lines = timeline.getByRole('row');
    await lines.nth(5).waitFor();
    expect(await timeline.getByRole('rowheader').allInnerTexts()).toEqual([
      expect.stringMatching(/tickets|pirates/),
      expect.stringMatching(/tickets|pirates/),
      'recipes',
      'haiku',
      'letters',
    ]);
    await lines
      .nth(3)
      .getByText(/^starts in about \d+ min \(.* to .*\)$/)
      .waitFor();
    await pictures(page, 'timeline');
    await timeline.getByRole('button', { name: 'Move to front: letters' }).click();
    const dialog = page.getByRole('dialog', { name: 'Move letters to the front?' });
    await dialog.getByText('Delays 1 job.').waitFor();
    const effects = await dialog.getByRole('listitem').allInnerTexts();
    expect(effects[0]).toMatch(/^letters\s+starts \d+ min earlier/);
    expect(effects.slice(1).join()).toMatch(/haiku\s+starts \d+ min later/);
    await screenshot(page, 'cluster-front');
    await dialog.getByRole('button', { name: 'Cancel' }).click();
    const { graft } = await api.get<JobObject>(`/fine_tuning/jobs/${jobs.get('letters')!.id}`);
    expect(graft.priority).toBe(100);
    await timeline.getByRole('button', { name: 'Move to front: letters' }).press('Enter');
    await dialog.getByRole('button', { name: 'Move to front' }).click();
    await dialog.waitFor({ state: 'detached' });
    await until(
      async () => (await timeline.getByRole('rowheader').allInnerTexts())[2] === 'letters',
      30_000,
    );
    expect(tabs.problems()).toEqual([]);
  });

  it('cordons and uncordons a pool, and changes who may use it', async () => {
    const page = await tabs.open('/pools/gpu');
    const isCordoned = async () => (await api.get<PoolObject>('/pools/gpu')).cordoned;
    await choose(page, 'pool gpu', 'Cordon…');
    expect(await answer(page, false)).toMatch(
      /Cordon gpu\? No jobs or chats start.*3 jobs in the queue.*2 jobs running now will finish/,
    );
    expect(await isCordoned()).toBe(false);
    await choose(page, 'pool gpu', 'Cordon…');
    await answer(page);
    await text(page, 'cordoned: no jobs or chats start');
    expect(await isCordoned()).toBe(true);
    const job = await tabs.open(`/jobs/${jobs.get('haiku')!.id}`);
    await text(job, 'Pool gpu is cordoned: no jobs start');
    await choose(page, 'pool gpu', 'Uncordon');
    await page.getByText('cordoned: no jobs or chats start').waitFor({ state: 'detached' });
    expect(await isCordoned()).toBe(false);
    await page.goto(`${api.url}/cluster`);
    await choose(page, 'pool gpu', 'Access…');
    await page
      .getByRole('dialog', { name: 'Access to gpu' })
      .getByText('Every project may use this pool.')
      .waitFor();
    expect(tabs.problems()).toEqual([]);
  });

  it('drains a worker after showing which jobs move and wait, and removes it when offline', async () => {
    const page = await tabs.open('/cluster');
    const box = page.getByRole('listitem', { name: 'box' });
    await box.waitFor();
    await choose(page, 'box', 'Cordon…');
    const cordon = page.getByRole('dialog', { name: 'Cordon box?' });
    await cordon.getByText(/2 jobs in the queue wait longer/).waitFor();
    await cordon.getByRole('button', { name: 'Cordon' }).click();
    await box.getByText('cordoned').waitFor();
    await choose(page, 'box', 'Uncordon');
    await box.getByText('online').waitFor();

    await choose(page, 'box', 'Drain…');
    const drain = page.getByRole('dialog', { name: 'Drain box?' });
    await drain.getByText(/1 job moves to other workers/).waitFor();
    const effects = await drain.getByRole('listitem').allInnerTexts();
    expect(effects.join()).toMatch(/saves a checkpoint and resumes in about \d+ min/);
    await pictures(page, 'cluster-drain');
    await drain.getByRole('button', { name: 'Drain' }).click();
    await box.getByText('draining').waitFor();
    await page.getByRole('button', { name: 'Actions for box' }).click();
    expect(await page.getByRole('menuitem', { name: /Drain/ }).getAttribute('aria-disabled')).toBe(
      'true',
    );
    await page.keyboard.press('Escape');
    await screenshot(page, 'cluster-draining');

    // Only an offline worker can be removed.
    await api.query(`UPDATE job SET state = 'cancelled' WHERE state IN ('running', 'queued')`);
    for (const worker of workers) worker.vanish();
    await box.getByText(/offline for/).waitFor();
    await choose(page, 'box', 'Remove…');
    expect(await answer(page)).toMatch(/Remove box from the list\?/);
    await box.waitFor({ state: 'detached' });
    const bench = page.getByRole('listitem', { name: 'bench' });
    await bench.getByText(/offline for/).waitFor();
    await choose(page, 'bench', 'Remove…');
    await answer(page);
    await text(page, 'No workers yet');
    await page.getByRole('button', { name: 'Add a worker' }).last().click();
    const drawer = page.getByRole('dialog', { name: 'Add a worker' });
    expect(await drawer.getByLabel('Pool').inputValue()).toBe('default');
    expect(tabs.problems()).toEqual([]);
  });
});
