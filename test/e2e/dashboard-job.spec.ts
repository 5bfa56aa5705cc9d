// The job page, with a real API, Chromium and a scripted worker, so that the test
// controls every step.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JobObject } from '@graft/contracts';
import type { Assignment } from '@graft/contracts/grpc';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  importBase,
  startTestApi,
  until,
  uploadChats,
  type TestApi,
} from '../../apps/api/test/fixture.js';
import {
  evaluated as evaluation,
  saved,
  ScriptedWorker,
  started,
  step,
} from '../../apps/api/test/scripted-worker.js';
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

const program = findBrowser();
let dir: string;
let api: TestApi;
let browser: Browser;
let tabs: Tabs;
let file: string;
let worker: ScriptedWorker;

const evaluated = (at: number, loss: number) => evaluation(at, loss, true, 0);

const create = (suffix: string | null, more: object = {}) =>
  api.post<JobObject>('/fine_tuning/jobs', {
    model: 'tiny',
    training_file: file,
    ...(suffix && { suffix }),
    ...more,
  });

/** Opens the list of shortcuts from the account menu. */
async function shortcuts(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Account and settings' }).click();
  await page.getByRole('menuitem', { name: 'Keyboard shortcuts' }).click();
}

/** Creates a job that runs on the scripted worker. */
async function running(suffix: string | null, steps = 40): Promise<[JobObject, Assignment]> {
  const job = await create(suffix, { validation_file: file });
  const lease = await worker.nextAssignment();
  await worker.report(lease, started(0, steps));
  return [job, lease];
}

/** Saves a checkpoint like a real trainer: the state for resuming, and the adapter. */
async function save(lease: Assignment, at: number): Promise<void> {
  const state = await worker.put(lease, 'trainer_state.json', `{"step":${at}}`);
  const adapter = [
    await worker.put(lease, 'adapter_config.json', '{"peft_type":"LORA"}'),
    await worker.put(lease, 'adapter_model.safetensors', `weights at ${at}`),
  ];
  await worker.report(lease, saved(at, [state], adapter));
}

describe.skipIf(!program)('a job in the dashboard', () => {
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'graft-dashboard-job-'));
    buildDashboard(join(dir, 'built'));
    api = await startTestApi({ dashboardDir: join(dir, 'built'), leaseMs: 120_000 });
    await importBase(api);
    file = await uploadChats(api);
    worker = await new ScriptedWorker(api, { name: 'tower' }).connect();
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

  it('reports the best step of an overfitted run, and marks its checkpoint', async () => {
    const [job, lease] = await running('overfits');
    const page = await tabs.open(`/jobs/${job.id}?tab=checkpoints`);
    await page.getByText('No checkpoints yet.').waitFor();
    await worker.report(lease, evaluated(0, 5.12));
    for (let n = 1; n <= 40; n++) {
      await worker.report(lease, step(n, 5 / n));
      const loss = { 10: 2.23, 20: 2.9, 40: 4.2724 }[n];
      if (loss !== undefined) await worker.report(lease, evaluated(n, loss));
      if ([7, 10, 20, 40].includes(n)) await save(lease, n);
    }
    await worker.finish(lease, 40);
    await pill(page, 'succeeded').waitFor();
    const results = page.getByLabel('Results');
    await results.getByText('Validation loss').waitFor();
    await page.getByText(/^Validation loss 5\.120 → 2\.230 .*best at step 10 of 40/).waitFor();

    const table = await rows(page).evaluateAll((all) =>
      all.map((row) =>
        [...row.querySelectorAll('td')]
          .filter((cell) => ['Step', 'Validation loss'].includes(cell.dataset['label'] ?? ''))
          .map((cell) => cell.textContent),
      ),
    );
    // The loss of step 7 was never measured, whatever the previous evaluation was.
    expect(table.filter(([at]) => at !== '7')).toEqual([
      ['40', '4.272'],
      ['20', '2.900'],
      ['10 ★ best', '2.230'],
    ]);
    for (const [at, loss] of table) if (at === '7') expect(loss).toBe('–');
    await screenshot(page, 'job-checkpoints');

    // The best checkpoint and the result can be downloaded as one file.
    for (const [button, weights] of [
      ['Download step 10', 'weights at 10'],
      ['Download .zip', `weights of ${job.id}`],
    ]) {
      if (button === 'Download .zip') await page.getByRole('button', { name: 'Use it' }).click();
      const [download] = await Promise.all([
        page.waitForEvent('download'),
        page.getByRole('button', { name: button!, exact: false }).first().click(),
      ]);
      expect(download.suggestedFilename()).toMatch(/^ft-tiny-default-overfits-\w{8}.*\.zip$/);
      expect((await downloaded(download)).includes(weights!)).toBe(true);
    }

    await page.keyboard.press('Escape');
    await page.getByRole('tab', { name: 'Charts' }).click();
    const loss = page.getByRole('figure', { name: /^Loss over/ });
    expect(await loss.getAttribute('aria-label')).toBe(
      'Loss over 40 steps, last 0.1250, lowest 2.230 at step 10',
    );
    await loss.getByText('validation', { exact: true }).waitFor();
    await screenshot(page, 'job-overfitted');

    // The smoothing is fitted to the run unless it is set.
    const smoothing = page.getByLabel('Smoothing');
    expect(await smoothing.inputValue()).toBe('0.5');
    const legend = () => loss.locator('figcaption').innerText();
    const fitted = await legend();
    await smoothing.fill('0.9');
    await until(async () => (await legend()) !== fitted);
    await page.getByRole('button', { name: 'Automatic' }).click();
    await until(async () => (await legend()) === fitted);
    await page.getByLabel('log scale').check();
    await screenshot(page, 'job-log-scale');
    expect(tabs.problems()).toEqual([]);
  });

  it('keeps the checkpoint of a cancelled job for download, and mentions it before canceling', async () => {
    const [job, lease] = await running('given-up');
    await worker.report(lease, step(1, 3));
    await save(lease, 1);
    const page = await tabs.open(`/jobs/${job.id}?tab=checkpoints`);
    await rows(page).first().waitFor();
    await page.getByRole('button', { name: 'Cancel' }).click();
    const asked = await answer(page);
    await pill(page, 'cancelled').waitFor();
    expect(asked).toContain('you can download and use them');
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: 'Download step 1' }).click(),
    ]);
    expect((await downloaded(download)).includes('weights at 1')).toBe(true);
    await page.getByRole('tab', { name: 'Timeline' }).click();
    const [traced] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: 'Download trace' }).click(),
    ]);
    expect(traced.suggestedFilename()).toBe(`${job.id}.trace.json`);
    expect(JSON.parse((await downloaded(traced)).toString())).toEqual(
      await api.get(`/fine_tuning/jobs/${job.id}/trace`),
    );
    await page.getByRole('tab', { name: 'Checkpoints' }).click();
    await page.getByRole('link', { name: 'Chat with step 1' }).click();
    const model = page.getByRole('combobox', { name: 'Model', exact: true });
    await model.waitFor();
    expect(await model.innerText()).toMatch(/given-up · \w{8} · step 1/);
    await page.getByRole('combobox', { name: 'Compare with' }).getByText('tiny').waitFor();
    expect(tabs.problems()).toEqual([]);
  });

  it('keeps a zoom when a checkpoint is saved', async () => {
    const [job, lease] = await running('zoomed');
    for (let n = 1; n <= 20; n++) await worker.report(lease, step(n, 5 / n));
    const page = await tabs.open(`/jobs/${job.id}`);
    const plot = page.locator('.chart .u-over').first();
    await plot.waitFor();
    const box = (await plot.boundingBox())!;
    const y = box.y + box.height / 2;
    await page.mouse.move(box.x + 0.5 * box.width, y);
    await page.mouse.down();
    await page.mouse.move(box.x + 0.8 * box.width, y, { steps: 5 });
    await page.mouse.up();
    const uplots = page.locator('.chart .uplot');
    await uplots.first().evaluate((element) => (element.dataset['before'] = 'yes'));
    await save(lease, 20);
    await page.getByRole('tab', { name: 'Checkpoints 1' }).waitFor();
    expect(await uplots.first().getAttribute('data-before')).toBe('yes');
    await api.post(`/fine_tuning/jobs/${job.id}/cancel`);
    await screenshot(page, 'job-zoomed');
  });

  it('is not paused by a single key', async () => {
    const [job, lease] = await running('steady');
    await worker.report(lease, step(1, 3));
    const page = await tabs.open(`/jobs/${job.id}`);
    await pill(page, 'running').waitFor();
    // A page handles keys in order: a request caused by `p` would arrive before that of Shift+P.
    const asked: string[] = [];
    page.on('request', (request) => {
      if (request.method() === 'POST') asked.push(new URL(request.url()).pathname);
    });
    await page.keyboard.press('p');
    await page.keyboard.press('Shift+P');
    await until(async () =>
      /paus/.test((await api.get<JobObject>(`/fine_tuning/jobs/${job.id}`)).graft.phase.code),
    );
    expect(asked).toEqual([`/v1/fine_tuning/jobs/${job.id}/pause`]);
    await api.post(`/fine_tuning/jobs/${job.id}/cancel`);
  });

  it('ignores single keys once they are turned off', async () => {
    const page = await tabs.open('/');
    await shortcuts(page);
    await page.getByLabel('enable single-key shortcuts').uncheck();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await page.reload();
    await page.getByRole('heading', { name: 'Jobs', exact: true }).waitFor();
    for (const key of ['n', 'y', '?']) await page.keyboard.press(key);
    expect(await page.getByRole('heading', { level: 1 }).textContent()).toBe('Jobs');
    expect(await page.getByRole('dialog').count()).toBe(0);
    await shortcuts(page);
    await page.getByLabel('enable single-key shortcuts').check();
    await page.keyboard.press('Escape');
    await page.keyboard.press('y');
    await page.getByRole('heading', { name: 'Installation', exact: true }).waitFor();
  });

  it('moves among its tabs with the arrow keys, as one tab stop', async () => {
    const { id } = await create('arrows', { graft: { pool: 'nobody' } });
    const page = await tabs.open(`/jobs/${id}`);
    const selected = () => page.getByRole('tab', { selected: true });
    await selected().focus();
    for (const [key, name] of [
      ['ArrowRight', 'Replay'],
      ['ArrowRight', 'Checkpoints'],
      ['ArrowRight', 'Timeline'],
      ['ArrowLeft', 'Checkpoints'],
      ['End', 'Receipt'],
      ['ArrowRight', 'Charts'],
      ['ArrowLeft', 'Receipt'],
      ['Home', 'Charts'],
    ] as const) {
      await page.keyboard.press(key);
      expect(await selected().textContent()).toBe(name);
      expect(await page.evaluate(() => document.activeElement?.textContent)).toBe(name);
    }
    await page.keyboard.press('Tab');
    expect(await page.evaluate(() => document.activeElement?.getAttribute('role'))).not.toBe('tab');
    await page.getByRole('tab', { name: 'Settings' }).click();
    await page.locator('pre.spec').focus();
    expect(await page.evaluate(() => document.activeElement?.className)).toBe('spec');
    expect(tabs.problems()).toEqual([]);
  });
});
