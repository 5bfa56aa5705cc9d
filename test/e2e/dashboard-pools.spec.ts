// Load of pools and their workers, and the actions of an admin: cordon, drain and remove.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ApiKeyObject, JobObject, PoolObject } from '@graft/contracts';
import type { Browser } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  importBase,
  startTestApi,
  uploadChats,
  type TestApi,
} from '../../apps/api/test/fixture.js';
import { ScriptedWorker, started } from '../../apps/api/test/scripted-worker.js';
import {
  answer,
  buildDashboard,
  findBrowser,
  screenshot,
  rows,
  startBrowser,
  Tabs,
  text,
} from './browser.js';

const program = findBrowser();
let dir: string;
let api: TestApi;
let browser: Browser;
let tabs: Tabs;
let worker: ScriptedWorker;

describe.skipIf(!program)('pools in the dashboard', () => {
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'graft-dashboard-pools-'));
    buildDashboard(join(dir, 'built'));
    api = await startTestApi({ dashboardDir: join(dir, 'built'), leaseMs: 60_000 });
    await importBase(api);
    worker = await new ScriptedWorker(api, { name: 'box', pool: 'gpu', slots: 1 }).connect();
    const training_file = await uploadChats(api);
    for (let n = 0; n < 3; n++)
      await api.post<JobObject>('/fine_tuning/jobs', {
        model: 'tiny',
        training_file,
        graft: { pool: 'gpu' },
      });
    const lease = await worker.nextAssignment();
    worker.keep(lease);
    await worker.report(lease, started());
    await api.query(
      `INSERT INTO pool_sample (pool, at, queued, running, slots, free_slots)
       SELECT 'gpu', date_trunc('minute', clock_timestamp()) - n * interval '1 minute', n % 7, 1, 1, 0
       FROM generate_series(1, 50) n ON CONFLICT DO NOTHING`,
    );
    browser = await startBrowser();
    tabs = new Tabs(browser, api);
  });
  afterAll(async () => {
    worker?.vanish();
    await browser?.close();
    await api?.close();
    if (dir) rmSync(dir, { recursive: true, force: true });
  });
  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail') await tabs.screenshots('failed-pools');
    await tabs.close();
  });

  it('show what is queued and running, and offer no changes to a viewer', async () => {
    const { secret } = await api.post<ApiKeyObject>('/keys', {
      name: 'looks',
      scopes: ['jobs:read'],
    });
    const page = await tabs.open('/pools', { key: secret! });
    const gpu = rows(page).filter({ hasText: 'gpu' });
    await gpu.getByText('1 online').waitFor();
    expect(await gpu.getByRole('cell').allTextContents()).toEqual([
      'gpu',
      '2',
      expect.stringMatching(/ s$|min/),
      '1',
      '0/1',
      '1 online',
      'all projects',
    ]);
    await screenshot(page, 'pools');
    await gpu.getByRole('link', { name: 'gpu' }).click();
    await page.getByRole('img', { name: /^Queued over the last hour: peak 6/ }).waitFor();
    await rows(page).filter({ hasText: 'box' }).waitFor();
    const buttons = page.locator('main').getByRole('button');
    expect(await buttons.allTextContents()).toEqual([]);
    await screenshot(page, 'pool-viewer');
    expect(tabs.problems()).toEqual([]);
  });

  it('are cordoned and uncordoned, and their workers drained and removed, after confirmation', async () => {
    const page = await tabs.open('/pools/gpu');
    // Exact, because "Uncordon pool" contains "cordon pool".
    const button = (name: string) => page.getByRole('button', { name, exact: true });
    const isCordoned = async () => (await api.get<PoolObject>('/pools/gpu')).cordoned;
    await button('Cordon pool').click();
    expect(await answer(page, false)).toMatch(/Cordon gpu\? No jobs or chats start/);
    expect(await isCordoned()).toBe(false);
    await button('Cordon pool').click();
    await answer(page);
    await text(page, 'cordoned: no jobs or chats start');
    expect(await isCordoned()).toBe(true);
    const [waiting] = await api.query<{ id: string }>(`SELECT id FROM job WHERE state = 'queued'`);
    const job = await tabs.open(`/jobs/${waiting!.id}`);
    await text(job, 'Pool gpu is cordoned: no jobs start');
    await button('Uncordon pool').click();
    await button('Cordon pool').waitFor();
    expect(await isCordoned()).toBe(false);

    await button('Cordon box').click();
    await rows(page).filter({ hasText: 'box' }).getByText('cordoned').waitFor();
    await button('Uncordon box').click();
    await button('Cordon box').waitFor();
    await button('Drain box').click();
    expect(await answer(page)).toMatch(/Drain box\?.*Then its process exits/);
    await rows(page).filter({ hasText: 'box' }).getByText('draining').waitFor();
    expect(await button('Drain box').count()).toBe(0);
    await screenshot(page, 'pool-draining');

    // Only an offline worker can be removed.
    await api.query(`UPDATE job SET state = 'cancelled' WHERE state IN ('running', 'queued')`);
    worker.vanish();
    await button('Remove box').click();
    expect(await answer(page)).toMatch(/Remove box from the list\?/);
    await text(page, 'No workers: queued jobs wait until one joins.');
    expect(tabs.problems()).toEqual([]);
  });
});
