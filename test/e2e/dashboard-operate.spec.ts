// Usage over time, and the page of current problems with its count in the navigation.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JobObject } from '@graft/contracts';
import type { Browser } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  importBase,
  startTestApi,
  uploadChats,
  type TestApi,
} from '../../apps/api/test/fixture.js';
import { ScriptedWorker, started, step } from '../../apps/api/test/scripted-worker.js';
import {
  buildDashboard,
  downloaded,
  findBrowser,
  rows,
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
let worker: ScriptedWorker;

describe.skipIf(!program)('usage and problems in the dashboard', () => {
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'graft-dashboard-operate-'));
    buildDashboard(join(dir, 'built'));
    api = await startTestApi({ dashboardDir: join(dir, 'built'), leaseMs: 60_000 });
    await importBase(api);
    worker = await new ScriptedWorker(api, { name: 'box' }).connect();
    await api.post<JobObject>('/fine_tuning/jobs', {
      model: 'tiny',
      training_file: await uploadChats(api),
      suffix: 'tickets',
    });
    const lease = await worker.nextAssignment();
    worker.keep(lease);
    await worker.report(lease, started(0, 40), ...[1, 2, 3, 4].map((n) => step(n)));
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
    if (task.result?.state === 'fail') await tabs.screenshots('failed-operate');
    await tabs.close();
  });

  it('shows what was used by project and by model, its limits, and saves it as CSV', async () => {
    const page = await tabs.open('/usage');
    const jobs = page.getByRole('img', { name: /^Jobs created over time: 1 in all/ });
    await jobs.waitFor();
    const row = rows(page).filter({ hasText: 'default' }).first();
    expect(await row.getByRole('cell').allTextContents()).toEqual(
      expect.arrayContaining(['default', '1']),
    );
    await rows(page).filter({ hasText: 'Running jobs' }).waitFor();
    await screenshot(page, 'usage');
    await page.getByRole('radio', { name: 'By model' }).click();
    await rows(page).filter({ hasText: 'tiny' }).waitFor();
    await page.getByRole('radio', { name: '24 hours' }).click();
    await page.waitForURL(/range=day/);
    await jobs.waitFor();
    const waiting = page.waitForEvent('download');
    await page.getByRole('button', { name: 'CSV' }).click();
    const file = await waiting;
    expect(file.suggestedFilename()).toBe('graft-usage-day.csv');
    const lines = (await downloaded(file)).toString().trim().split('\n');
    expect(lines[0]).toBe(
      'start,model,training_seconds,trained_tokens,jobs,model_tokens,jobs_failed,requests',
    );
    expect(lines[1]).toMatch(/^\d{4}-\d\d-\d\dT\d\d:00:00.000Z,tiny,/);
    expect(tabs.problems()).toEqual([]);
  });

  it('lists what is wrong with a button for it, and shows that all is well again', async () => {
    const page = await tabs.open('/problems');
    await text(page, 'No problems');
    const link = page.getByRole('navigation').getByRole('link', { name: /^Problems/ });
    expect(await link.textContent()).toBe('Problems');
    await screenshot(page, 'problems-none');

    await api.post('/pools/default/cordon');
    const { data } = await api.get<{ data: JobObject[] }>('/fine_tuning/jobs');
    const { training_file } = data[0]!;
    await api.post<JobObject>('/fine_tuning/jobs', { model: 'tiny', training_file });
    const problem = page.getByRole('listitem').filter({ hasText: 'cordoned' }).first();
    await problem.waitFor();
    await screenshot(page, 'problems');
    await page.reload();
    await page
      .getByRole('navigation')
      .getByRole('link', { name: /^Problems\W+\d+ problems?$/ })
      .waitFor();
    await problem.getByRole('button', { name: 'Uncordon default' }).click();
    await text(page, 'No problems');
    expect(tabs.problems()).toEqual([]);
  });
});
