// Exports, merges and conversions are shown as operations that train nothing.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JobObject } from '@graft/contracts';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  importBase,
  startTestApi,
  uploadChats,
  type TestApi,
} from '../../apps/api/test/fixture.js';
import { finished, ScriptedWorker, started, step } from '../../apps/api/test/scripted-worker.js';
import {
  answer,
  buildDashboard,
  downloaded,
  findBrowser,
  screenshot,
  pill,
  rows,
  startBrowser,
  Tabs,
} from './browser.js';
import { until } from './installation.js';
import { tooWide } from './looks.js';

const program = findBrowser();
let dir: string;
let api: TestApi;
let browser: Browser;
let tabs: Tabs;
let worker: ScriptedWorker;
/** Model of a training run called "pirate". */
let model: string;

const names = (page: Page): Promise<string[]> =>
  rows(page)
    .locator('td a')
    .evaluateAll((links) => links.map((link) => link.getAttribute('aria-label') ?? ''));
const facts = (page: Page): Promise<string[]> =>
  page.getByLabel('Results', { exact: true }).locator('dt').allTextContents();
const operate = (body: object): Promise<JobObject> =>
  api.post<JobObject>('/adapters/operations', body);

describe.skipIf(!program)('operations on adapters in the dashboard', () => {
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'graft-dashboard-operations-'));
    buildDashboard(join(dir, 'built'));
    api = await startTestApi({ dashboardDir: join(dir, 'built') });
    await importBase(api);
    worker = await new ScriptedWorker(api).connect();
    const body = { model: 'tiny', training_file: await uploadChats(api), suffix: 'pirate' };
    const { id } = await api.post<JobObject>('/fine_tuning/jobs', body);
    const lease = await worker.nextAssignment();
    await worker.report(lease, started(0, 1), step(1));
    await worker.finish(lease, 1, {}, { 'adapter_config.json': '{"peft_type":"LORA"}' });
    model = (await api.get<JobObject>(`/fine_tuning/jobs/${id}`)).fine_tuned_model ?? '';
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
    if (task.result?.state === 'fail') {
      console.error(tabs.problems().join('\n'));
      await tabs.screenshots(`failed-${task.name.replaceAll(/\W+/g, '-')}`);
    }
    await tabs.close();
  });

  it('an export shows its source, its file and its use, and nothing about training', async () => {
    const made = await operate({ type: 'export', format: 'gguf', quantization: 'Q8_0', model });
    const lease = await worker.nextAssignment();
    const page = await tabs.open(`/jobs/${made.id}?tab=charts`);
    const title = 'pirate · GGUF Q8_0';
    await page.getByRole('heading', { level: 1, name: title }).waitFor();
    await pill(page, 'running').waitFor();
    expect(await page.getByRole('tab').allTextContents()).toEqual([
      'Timeline',
      'Log',
      'Settings',
      'Receipt',
    ]);
    expect(await page.getByRole('tab', { selected: true }).textContent()).toBe('Log');
    expect(await page.getByRole('button', { name: 'Pause' }).count()).toBe(0);
    await screenshot(page, 'export-running');

    const content = 'GGUF'.repeat(1000);
    const file = await worker.put(lease, 'model-Q8_0.gguf', content);
    await worker.report(lease, started(0, 0), finished(0, [file]));
    const result = page.getByRole('region', { name: 'Result' });
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      result.getByRole('button', { name: 'model-Q8_0.gguf' }).click(),
    ]);
    expect(String(await downloaded(download))).toBe(content);
    const shown = await facts(page);
    expect(shown).toEqual(['Result', 'From', 'Size', 'Duration']);
    await page.getByLabel('Results', { exact: true }).getByText('4.0 kB').waitFor();
    expect(await page.getByRole('progressbar').count()).toBe(0);
    expect(await page.getByRole('link', { name: 'Clone' }).count()).toBe(0);
    expect(await page.locator('main').innerText()).not.toMatch(/train|loss|curves|checkpoint/i);
    for (const width of [390, 1024, 1440])
      for (const colorScheme of ['light', 'dark'] as const) {
        await page.setViewportSize({ width, height: 900 });
        await page.emulateMedia({ colorScheme });
        expect(await tooWide(page)).toEqual([]);
        await screenshot(page, `export-done-${width}-${colorScheme}`);
      }

    // The body shown in the Settings tab creates the same job again.
    await page.getByRole('tab', { name: 'Settings' }).click();
    await page.getByText('POST /v1/adapters/operations').waitFor();
    const body = JSON.parse((await page.locator('.spec').textContent())!) as object;
    const again = await operate(body);
    expect(again.graft.operation).toEqual(made.graft.operation);
    await worker.nextAssignment();
    await api.post(`/fine_tuning/jobs/${again.id}/cancel`);

    // Its source is linked.
    await page
      .getByLabel('Results', { exact: true })
      .getByRole('link', { name: /^pirate/ })
      .click();
    await page.getByRole('heading', { level: 1, name: 'pirate' }).waitFor();
    await page.getByRole('tab', { name: 'Charts' }).waitFor();
    expect(tabs.problems()).toEqual([]);
  });

  it('the job table shows the kind of each job, and filters by it', async () => {
    await operate({ type: 'merge', model, suffix: 'whole' });
    const lease = await worker.nextAssignment();
    const other = await operate({ type: 'convert', model, rank: 2 });
    await worker.nextAssignment();
    const page = await tabs.open('/');
    const row = rows(page).filter({ has: page.getByRole('link', { name: 'whole', exact: true }) });
    await row.getByText('merge', { exact: true }).waitFor();
    await rows(page).getByTitle('Conversion to LoRA r 2').getByText('conversion').waitFor();
    await page.getByRole('button', { name: 'Filter' }).click();
    expect(await names(page)).toContain('pirate');
    await screenshot(page, 'jobs-of-all-kinds');
    const kind = page.getByLabel('Filter by kind');
    await kind.waitFor();
    expect(await kind.locator('option').allTextContents()).toEqual([
      'Any',
      'training run',
      'export',
      'merge',
      'combination',
      'conversion',
    ]);
    await kind.selectOption('merge');
    await until('the merge alone', async () => (await names(page)).join() === 'whole');
    expect(page.url()).toContain('?kind=merge');
    // Jobs that change meanwhile are filtered, too.
    const files = [await worker.put(lease, 'config.json', '{}')];
    await worker.report(lease, started(0, 0), finished(0, files));
    await row.getByText('succeeded').waitFor();
    await kind.selectOption('training');
    await until('the training alone', async () => (await names(page)).join() === 'pirate');
    await page.reload();
    await until('the training alone', async () => (await names(page)).join() === 'pirate');
    await page.getByRole('button', { name: 'Clear filters' }).click();
    await until('all', async () => (await names(page)).length > 3);

    await api.post(`/fine_tuning/jobs/${other.id}/cancel`);

    await page.goto(`${api.url}/models`);
    await rows(page)
      .filter({ hasText: 'whole' })
      .getByText(/^Merge of/)
      .waitFor();
    const exported = rows(page).filter({ hasText: 'Export to GGUF Q8_0' });
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      exported.getByRole('button', { name: 'Download' }).click(),
    ]);
    expect(download.suggestedFilename()).toMatch(/\.zip$/);
    await screenshot(page, 'models-of-all-kinds');
    expect(tabs.problems()).toEqual([]);
  });

  it('canceling a conversion warns that its output is lost', async () => {
    const { id } = await operate({ type: 'convert', model, rank: 4 });
    await worker.nextAssignment();
    const page = await tabs.open(`/jobs/${id}`);
    await pill(page, 'running').waitFor();
    await page.getByRole('button', { name: 'Cancel' }).click();
    expect(await answer(page)).toBe('Cancel this conversion? Its output so far is lost.');
    await pill(page, 'cancelled').waitFor();
    expect(tabs.problems()).toEqual([]);
  });
});
