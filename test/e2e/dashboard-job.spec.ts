// The job page and the list, of runs whose every step the test decides: a real API and Chromium, a scripted worker.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JobObject } from '@graft/contracts';
import type { Assignment } from '@graft/contracts/grpc';
import type { Browser } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { importBase, startTestApi, until, uploadChats, type TestApi } from './api-fixture.js';
import { saved, ScriptedWorker, started, step } from './api-worker.js';
import { buildDashboard, findBrowser, picture, pill, rows, startBrowser, Tabs } from './browser.js';

const program = findBrowser();
let dir: string;
let api: TestApi;
let browser: Browser;
let tabs: Tabs;
let file: string;
let worker: ScriptedWorker;

const evaluated = (at: number, loss: number) =>
  ({
    $case: 'evaluated',
    value: { step: at, loss, accuracy: 0, tokens: 1, full: true },
  }) as const;

const create = (suffix: string | null, more: object = {}) =>
  api.post<JobObject>('/fine_tuning/jobs', {
    model: 'tiny',
    training_file: file,
    ...(suffix && { suffix }),
    ...more,
  });

/** A job that runs on the scripted worker, having begun. */
async function running(suffix: string | null, steps = 40): Promise<[JobObject, Assignment]> {
  const job = await create(suffix, { validation_file: file });
  const lease = await worker.assigned();
  await worker.tell(lease, started(0, steps));
  return [job, lease];
}

/** As a real trainer's: the state to go on from, and the adapter to use. */
async function save(lease: Assignment, at: number): Promise<void> {
  const state = await worker.put(lease, 'trainer_state.json', `{"step":${at}}`);
  const adapter = [
    await worker.put(lease, 'adapter_config.json', '{"peft_type":"LORA"}'),
    await worker.put(lease, 'adapter_model.safetensors', `weights at ${at}`),
  ];
  await worker.tell(lease, saved(at, [state], adapter));
}

describe.skipIf(!program)('a job in the dashboard', () => {
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'graft-dashboard-job-'));
    buildDashboard(join(dir, 'built'));
    api = await startTestApi({ dashboardDir: join(dir, 'built'), leaseMs: 120_000 });
    await importBase(api);
    file = await uploadChats(api);
    worker = await new ScriptedWorker(api, { name: 'tower' }).connect();
    browser = await startBrowser(program!);
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
      await tabs.pictures(`failed-${task.name.replaceAll(/\W+/g, '-')}`);
    }
    await tabs.close();
  });

  it('says where an overfitted run was best, and marks that checkpoint', async () => {
    const [job, lease] = await running('overfits');
    const page = await tabs.open(`/jobs/${job.id}?tab=checkpoints`);
    await page.getByText('None saved yet.').waitFor();
    await worker.tell(lease, evaluated(0, 5.12));
    for (let n = 1; n <= 40; n++) {
      await worker.tell(lease, step(n, 5 / n));
      const loss = { 10: 2.23, 20: 2.9, 40: 4.2724 }[n];
      if (loss !== undefined) await worker.tell(lease, evaluated(n, loss));
      if ([7, 10, 20, 40].includes(n)) await save(lease, n);
    }
    await worker.finish(lease, 40);
    await pill(page, 'succeeded').waitFor();
    const facts = page.locator('.facts').first();
    await facts.getByText('4.272, lowest 2.230 at step 10').waitFor();
    await facts.getByText('loss, last step').waitFor();

    const table = await rows(page).evaluateAll((all) =>
      all.map((row) =>
        [...row.querySelectorAll('td')]
          .filter((cell) => ['Step', 'Validation loss'].includes(cell.dataset['label'] ?? ''))
          .map((cell) => cell.textContent),
      ),
    );
    // That of step 7 was never measured, whatever the last one before it was.
    expect(table.filter(([at]) => at !== '7')).toEqual([
      ['40', '4.272'],
      ['20', '2.900'],
      ['10 ★ best', '2.230'],
    ]);
    for (const [at, loss] of table) if (at === '7') expect(loss).toBe('–');
    await picture(page, 'job-checkpoints');

    // The best one goes home as it is, and the result in one piece.
    for (const [button, weights] of [
      ['Download step 10', 'weights at 10'],
      ['Download .zip', `weights of ${job.id}`],
    ]) {
      const [download] = await Promise.all([
        page.waitForEvent('download'),
        page.getByRole('button', { name: button!, exact: false }).first().click(),
      ]);
      expect(download.suggestedFilename()).toMatch(/^ft-tiny-default-overfits-\w{8}.*\.zip$/);
      expect(readFileSync(await download.path()).includes(weights!)).toBe(true);
    }

    await page.getByRole('tab', { name: 'Charts' }).click();
    const label = await page.getByRole('img', { name: /^Loss over/ }).getAttribute('aria-label');
    expect(label).toBe('Loss over 40 steps, last 0.1250, lowest 2.230 at step 10');
    expect(await page.locator('.u-legend').first().textContent()).toContain('validation');
    await picture(page, 'job-overfitted');

    // The bold line may be set, and is fitted to the run until then.
    const smoothing = page.getByLabel('Smoothing');
    expect(await smoothing.inputValue()).toBe('0.5');
    const legend = () => page.locator('.u-legend').first().textContent();
    const fitted = await legend();
    await smoothing.fill('0.9');
    await until(async () => (await legend()) !== fitted);
    await page.getByRole('button', { name: 'Fit to the run' }).click();
    await until(async () => (await legend()) === fitted);
    await page.getByLabel('log scale').check();
    await picture(page, 'job-log-scale');
    expect(tabs.problems()).toEqual([]);
  });

  it('lets the checkpoint of a cancelled job be taken home, and says that to whoever cancels', async () => {
    const [job, lease] = await running('given-up');
    await worker.tell(lease, step(1, 3));
    await save(lease, 1);
    const page = await tabs.open(`/jobs/${job.id}?tab=checkpoints`);
    await rows(page).first().waitFor();
    let asked = '';
    page.once('dialog', (dialog) => {
      asked = dialog.message();
      void dialog.accept();
    });
    await page.getByRole('button', { name: 'Cancel' }).click();
    await pill(page, 'cancelled').waitFor();
    expect(asked).toContain('you can download them');
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: 'Download step 1' }).click(),
    ]);
    expect(readFileSync(await download.path()).includes('weights at 1')).toBe(true);
    await page.getByRole('link', { name: 'Chat with step 1' }).click();
    await page.getByRole('heading', { name: /^given-up · \w{8} · step 1$/ }).waitFor();
    await page.getByRole('heading', { name: 'tiny', exact: true }).waitFor();
    expect(await page.getByLabel('compare with its base').isChecked()).toBe(true);
    expect(tabs.problems()).toEqual([]);
  });

  it('keeps a zoom when a checkpoint is saved', async () => {
    const [job, lease] = await running('zoomed');
    for (let n = 1; n <= 20; n++) await worker.tell(lease, step(n, 5 / n));
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
    await page.getByText('Dotted line: a saved checkpoint.').waitFor();
    expect(await uplots.first().getAttribute('data-before')).toBe('yes');
    await api.post(`/fine_tuning/jobs/${job.id}/cancel`);
    await picture(page, 'job-zoomed');
  });

  it('is not paused by a single key', async () => {
    const [job, lease] = await running('steady');
    await worker.tell(lease, step(1, 3));
    const page = await tabs.open(`/jobs/${job.id}`);
    await pill(page, 'running').waitFor();
    await page.keyboard.press('p');
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect((await api.get<JobObject>(`/fine_tuning/jobs/${job.id}`)).graft.phase.code).not.toMatch(
      /paus/,
    );
    await page.keyboard.press('Shift+P');
    await until(async () =>
      /paus/.test((await api.get<JobObject>(`/fine_tuning/jobs/${job.id}`)).graft.phase.code),
    );
    await api.post(`/fine_tuning/jobs/${job.id}/cancel`);
  });

  it('leaves single keys alone once they are turned off', async () => {
    const page = await tabs.open('/');
    await page.getByRole('button', { name: 'Keyboard shortcuts' }).click();
    await page.getByLabel('single keys are shortcuts').uncheck();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await page.reload();
    await page.getByRole('heading', { name: 'Jobs' }).waitFor();
    for (const key of ['n', 'y', '?']) await page.keyboard.press(key);
    expect(await page.getByRole('heading', { level: 1 }).textContent()).toBe('Jobs');
    expect(await page.getByRole('dialog').count()).toBe(0);
    await page.getByRole('button', { name: 'Keyboard shortcuts' }).click();
    await page.getByLabel('single keys are shortcuts').check();
    await page.keyboard.press('Escape');
    await page.keyboard.press('y');
    await page.getByRole('heading', { name: 'Keys', exact: true }).waitFor();
  });

  it('moves among the parts of a job with the arrows, one tab stop for all', async () => {
    const { id } = await create('arrows', { graft: { pool: 'nobody' } });
    const page = await tabs.open(`/jobs/${id}`);
    const selected = () => page.getByRole('tab', { selected: true });
    await selected().focus();
    for (const [key, name] of [
      ['ArrowRight', 'Log'],
      ['ArrowRight', 'Checkpoints'],
      ['ArrowLeft', 'Log'],
      ['End', 'Spec'],
      ['ArrowRight', 'Charts'],
      ['ArrowLeft', 'Spec'],
      ['Home', 'Charts'],
    ] as const) {
      await page.keyboard.press(key);
      expect(await selected().textContent()).toBe(name);
      expect(await page.evaluate(() => document.activeElement?.textContent)).toBe(name);
    }
    await page.keyboard.press('Tab');
    expect(await page.evaluate(() => document.activeElement?.getAttribute('role'))).not.toBe('tab');
    await page.getByRole('tab', { name: 'Spec' }).click();
    await page.locator('pre.spec').focus();
    expect(await page.evaluate(() => document.activeElement?.className)).toBe('spec');
    expect(tabs.problems()).toEqual([]);
  });

  it('puts jobs that change where their time belongs, however many there are', async () => {
    const ids: string[] = [];
    for (let n = 0; n < 70; n++)
      ids.push((await create(`sweep-${n}`, { graft: { pool: 'nobody' } })).id);
    await api.query(
      `UPDATE job SET created_at = now() + (substring(suffix from 7)::int * interval '1 second')
       WHERE suffix LIKE 'sweep-%'`,
    );
    const page = await tabs.open('/?q=sweep-');
    const names = () => rows(page).locator('td[data-label=Job] a').allTextContents();
    const newest = (count: number, from = 69) =>
      Array.from({ length: count }, (_, n) => `sweep-${from - n}`);
    await until(async () => (await names()).length === 50);
    // Old ones and shown ones, in no order.
    for (const n of [3, 60, 0, 15, 25]) await api.post(`/fine_tuning/jobs/${ids[n]}/cancel`);
    await page.getByRole('row', { name: /cancelled.*sweep-25/ }).waitFor();
    expect(await names()).toEqual(newest(50));
    await page.getByRole('button', { name: 'Older jobs' }).click();
    await until(async () => (await names()).length === 70);
    expect(await names()).toEqual(newest(70));
    await api.post(`/fine_tuning/jobs/${ids[2]}/cancel`);
    await page.getByRole('row', { name: /cancelled.*sweep-2 / }).waitFor();
    expect(await names()).toEqual(newest(70));
    expect(tabs.problems()).toEqual([]);
  });
});
