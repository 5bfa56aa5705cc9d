// The job page and the job list, with a real API, Chromium and a scripted worker, so that the test
// controls every step.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { lossText, type JobObject } from '@graft/contracts';
import type { Assignment } from '@graft/contracts/grpc';
import type { Browser } from 'playwright-core';
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
import { inked } from './looks.js';
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
      const [download] = await Promise.all([
        page.waitForEvent('download'),
        page.getByRole('button', { name: button!, exact: false }).first().click(),
      ]);
      expect(download.suggestedFilename()).toMatch(/^ft-tiny-default-overfits-\w{8}.*\.zip$/);
      expect((await downloaded(download)).includes(weights!)).toBe(true);
    }

    await page.getByRole('tab', { name: 'Charts' }).click();
    const label = await page.getByRole('img', { name: /^Loss over/ }).getAttribute('aria-label');
    expect(label).toBe('Loss over 40 steps, last 0.1250, lowest 2.230 at step 10');
    expect(await page.locator('.u-legend').first().textContent()).toContain('validation');
    await screenshot(page, 'job-overfitted');

    // The smoothing is fitted to the run unless it is set.
    const smoothing = page.getByLabel('Smoothing');
    expect(await smoothing.inputValue()).toBe('0.5');
    const legend = () => page.locator('.u-legend').first().textContent();
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
    await page.getByRole('tab', { name: 'Attempts' }).click();
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
    await page.getByRole('heading', { name: /^given-up · \w{8} · step 1$/ }).waitFor();
    await page.getByRole('heading', { name: 'tiny', exact: true }).waitFor();
    expect(await page.getByLabel('Compare with').inputValue()).toBe('tiny');
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
    await page.getByText('Dotted line: a saved checkpoint.').waitFor();
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
    await page.getByRole('button', { name: 'Keyboard shortcuts' }).click();
    await page.getByLabel('enable single-key shortcuts').uncheck();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await page.reload();
    await page.getByRole('heading', { name: 'Jobs', exact: true }).waitFor();
    for (const key of ['n', 'y', '?']) await page.keyboard.press(key);
    expect(await page.getByRole('heading', { level: 1 }).textContent()).toBe('Jobs');
    expect(await page.getByRole('dialog').count()).toBe(0);
    await page.getByRole('button', { name: 'Keyboard shortcuts' }).click();
    await page.getByLabel('enable single-key shortcuts').check();
    await page.keyboard.press('Escape');
    await page.keyboard.press('y');
    await page.getByRole('heading', { name: 'Keys', exact: true }).waitFor();
  });

  it('moves among its tabs with the arrow keys, as one tab stop', async () => {
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

  it('compares jobs: curves, results and differing options', async () => {
    const ids: string[] = [];
    for (const [suffix, r, lowest] of [
      ['narrow', 2, 2.5],
      ['wide', 64, 1.75],
    ] as const) {
      const peft = { peft_type: 'LORA', r };
      const job = await create(suffix, { peft, validation_file: file });
      const lease = await worker.nextAssignment();
      await worker.report(lease, started(0, 12));
      for (let n = 1; n <= 12; n++) await worker.report(lease, step(n, r / n));
      await worker.report(lease, evaluated(12, lowest));
      await save(lease, 12);
      await worker.finish(lease, 12);
      ids.push(job.id);
    }
    const page = await tabs.open('/');
    await page.getByRole('checkbox', { name: 'Select narrow' }).check();
    await page.getByText('Select one more job to compare').waitFor();
    // The newest job is the first of the list, and a key selects it.
    await page.locator('tr.selected').filter({ hasText: 'wide' }).waitFor();
    await page.keyboard.press('x');
    await page.getByRole('link', { name: 'Compare 2 jobs' }).click();
    await page.getByRole('heading', { name: '2 jobs compared' }).waitFor();
    expect(new URL(page.url()).searchParams.get('jobs')).toBe(ids.join());

    const came = page.getByRole('region', { name: 'Results' });
    const cells = (name: string) =>
      came.locator('tbody tr').filter({ hasText: name }).textContent();
    expect(await cells('1 narrow')).toMatch(/succeeded.*LoRA r 2.*2\.500 at step 12(?! lowest)/);
    expect(await cells('2 wide')).toMatch(/succeeded.*LoRA r 64.*1\.750 at step 12 lowest/);

    const loss = page.getByRole('img', { name: 'Training loss of 2 jobs' });
    await loss.locator('canvas').waitFor();
    for (const name of ['1 narrow', '2 wide']) await loss.getByText(name).waitFor();
    await page.getByRole('img', { name: 'Validation loss of 2 jobs' }).waitFor();
    for (const [axis, unit] of [
      ['tokens', 'tokens'],
      ['time', 's'],
      ['share', '%'],
    ] as const) {
      await page.getByLabel('X axis').selectOption(axis);
      await loss.getByText(unit, { exact: true }).first().waitFor();
    }

    const options = page.getByRole('region', { name: 'Options' });
    expect(await options.locator('tbody tr').allTextContents()).toEqual([
      'peft.r264',
      'peft.lora_alpha4128',
    ]);
    await options.getByLabel('show identical options').check();
    await options.getByText('peft.lora_dropout').waitFor();
    await screenshot(page, 'compare');

    await page.goto(`${api.url}/compare?jobs=${ids[0]},ftjob-none`);
    await page.getByRole('alert').filter({ hasText: 'ftjob-none' }).waitFor();
    await page.goto(`${api.url}/compare`);
    await page.getByText('Select two or more jobs in the list of jobs').waitFor();
    expect(tabs.problems(/status of 404/)).toEqual([]);
  });

  it('moves changed jobs to their position by time in a long list', async () => {
    const ids: string[] = [];
    for (let n = 0; n < 70; n++)
      ids.push((await create(`sweep-${n}`, { graft: { pool: 'nobody' } })).id);
    await api.query(
      `UPDATE job SET created_at = now() + (substring(suffix from 7)::int * interval '1 second')
       WHERE suffix LIKE 'sweep-%'`,
    );
    const page = await tabs.open('/?q=sweep-', { viewport: { width: 1280, height: 5000 } });
    const names = () => rows(page).locator('td[data-label=Job] a').allTextContents();
    const newest = (count: number, from = 69) =>
      Array.from({ length: count }, (_, n) => `sweep-${from - n}`);
    await until(async () => (await names()).length === 70);
    // Old and visible ones, in random order.
    for (const n of [3, 60, 0, 15, 25]) await api.post(`/fine_tuning/jobs/${ids[n]}/cancel`);
    await page.getByRole('row', { name: /cancelled.*sweep-25/ }).waitFor();
    expect(await names()).toEqual(newest(70));
    await api.post(`/fine_tuning/jobs/${ids[2]}/cancel`);
    await page.getByRole('row', { name: /cancelled.*sweep-2 / }).waitFor();
    expect(await names()).toEqual(newest(70));
    expect(tabs.problems()).toEqual([]);
  });

  it('renders only visible rows, loads further pages on scrolling, and supports keys', async () => {
    await api.query(
      `INSERT INTO job (id, project_id, state, base_id, model, request, spec, pool, priority, phase_code, phase_message, suffix, created_at)
       SELECT 'ftjob-' || lpad(n::text, 22, 'm'), project_id, 'cancelled', base_id, model, request, spec, 'many', priority, phase_code,
         phase_message, 'many-' || n, now() - n * interval '1 minute'
       FROM (SELECT * FROM job WHERE suffix = 'sweep-1') AS one, generate_series(1, 350) AS n`,
    );
    const page = await tabs.open('/?q=many-');
    const seen = () => rows(page).locator('td[data-label=Job] a').allTextContents();
    await page.getByText('100+ found').waitFor();
    expect((await seen()).slice(0, 3)).toEqual(['many-1', 'many-2', 'many-3']);
    const last = page.getByRole('link', { name: 'many-350', exact: true });
    await until(async () => {
      await page.mouse.wheel(0, 4000);
      return (await last.count()) === 1;
    });
    await page.getByText('350 found').waitFor();
    expect((await seen()).length).toBeLessThan(80);
    // The selection stayed at the top and scrolls into view again.
    await page.keyboard.press('j');
    await until(async () => (await seen())[0] === 'many-1');
    expect(await page.locator('tr.selected a').first().textContent()).toBe('many-2');
    expect(tabs.problems()).toEqual([]);
  });

  it('has a table with selectable columns, sorting, filters and saved views', async () => {
    const kept = ['red', 'green', 'blue'].map(async (color, n) => {
      const { id } = await create(`kept-${color}`, { graft: { pool: 'nobody' } });
      await api.post(`/fine_tuning/jobs/${id}`, { graft: { tags: [color, 'kept'] } });
      await api.query('UPDATE job SET train_loss = $2 WHERE id = $1', [id, [0.5, 0.25, 0.75][n]]);
    });
    await Promise.all(kept);
    const page = await tabs.open('/?q=kept-', { viewport: { width: 1440, height: 900 } });
    const names = () => rows(page).locator('td[data-label=Job] a').allTextContents();
    const shown = async (...wanted: string[]) =>
      until(async () => (await names()).join() === wanted.map((one) => `kept-${one}`).join());
    await rows(page).first().waitFor();
    await page.getByRole('button', { name: 'Loss', exact: true }).click();
    await shown('green', 'red', 'blue');
    expect(await page.locator('th[aria-sort=ascending]').textContent()).toContain('Loss');
    await page.getByRole('button', { name: 'Loss', exact: true }).click();
    await shown('blue', 'red', 'green');
    const heights = await rows(page).evaluateAll((all) =>
      all.map((row) => Math.round(row.getBoundingClientRect().height)),
    );
    expect(Math.max(...heights)).toBeLessThan(44); // One line per job.

    await page.getByText('Columns', { exact: true }).click();
    await page.getByLabel('Note', { exact: true }).check();
    await page.getByLabel('Pool', { exact: true }).uncheck();
    await page.keyboard.press('Escape');
    expect(await page.getByRole('columnheader', { name: 'Note' }).count()).toBe(1);
    await page.getByLabel('Filter by tag').selectOption('red');
    await shown('red');
    await page.getByText('Views', { exact: true }).click();
    await page.getByLabel('View name').fill('only red');
    await page.getByRole('button', { name: 'Save view' }).click();
    await screenshot(page, 'jobs-view');
    await page.goto(`${api.url}/`);
    await page.getByText('Columns', { exact: true }).click();
    await page.getByRole('button', { name: 'Reset columns' }).click();
    await page.getByRole('columnheader', { name: 'Pool' }).waitFor();
    await page.getByText('Views', { exact: true }).click();
    await page.getByRole('button', { name: 'only red', exact: true }).click();
    await shown('red');
    await page.getByRole('columnheader', { name: 'Note' }).waitFor();
    expect(new URL(page.url()).search).toBe('?q=kept-&sort=train_loss&tag=red');
    // On a phone each job is a card with its button on the right.
    await page.setViewportSize({ width: 390, height: 900 });
    const edit = rows(page).locator('td.act');
    await until(() => edit.evaluate((cell) => getComputedStyle(cell).display === 'block'));
    expect(await edit.evaluate((cell) => getComputedStyle(cell).textAlign)).toBe('right');
    expect(tabs.problems()).toEqual([]);
  });

  it('renames, tags, archives and deletes jobs, and undoes it', async () => {
    const ids: string[] = [];
    for (const suffix of ['put-1', 'put-2', 'put-3']) {
      const { id } = await create(suffix, { graft: { pool: 'nobody' } });
      ids.push(id);
    }
    await api.post(`/fine_tuning/jobs/${ids[0]}/cancel`);
    await api.post(`/fine_tuning/jobs/${ids[1]}/cancel`);
    const page = await tabs.open('/?q=put-');
    const names = () => rows(page).locator('td[data-label=Job] a').allTextContents();
    await rows(page).first().waitFor();
    await page.getByRole('button', { name: 'Edit put-1' }).click();
    const dialog = page.getByRole('dialog', { name: 'Edit put-1' });
    await dialog.getByLabel('Name').fill('put-away, <b>soon</b>');
    await dialog.getByLabel('Tags').fill('old, , small,old');
    await dialog.getByLabel('Note').fill('what it was for');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await dialog.waitFor({ state: 'detached' });
    await page.getByRole('row', { name: /put-away, <b>soon<\/b>.*old.*small/ }).waitFor();
    const graft = async (id: string) => (await api.get<JobObject>(`/fine_tuning/jobs/${id}`)).graft;
    expect(await graft(ids[0]!)).toMatchObject({ tags: ['old', 'small'], note: 'what it was for' });

    await page.getByLabel('Select put-2').check();
    await page.getByLabel('Select put-3').check();
    await page.getByLabel('Tags to add').fill('both');
    await page.getByRole('button', { name: 'Add tags' }).click();
    await until(async () => (await graft(ids[2]!)).tags.join() === 'both');
    await page.getByRole('button', { name: 'Archive', exact: true }).click();
    await page.getByRole('dialog').getByText('Archived 2 jobs.').waitFor();
    await until(async () => (await names()).length === 1);
    await page.getByRole('button', { name: 'Undo' }).click();
    await until(async () => (await names()).length === 3);
    expect((await graft(ids[1]!)).archived).toBe(false);

    // A queued job is not deleted.
    for (const name of ['put-2', 'put-3']) await page.getByLabel(`Select ${name}`).check();
    await page.getByRole('button', { name: 'Delete 1' }).click();
    await page.getByRole('dialog').getByText('Deleted put-2').waitFor();
    await until(async () => !(await names()).includes('put-2'));
    await page.getByRole('button', { name: 'Undo' }).click();
    await until(async () => (await names()).includes('put-2'));
    await page.getByRole('button', { name: 'Edit put-2' }).click();
    await page.getByRole('button', { name: 'Delete', exact: true }).click();
    // A toast shows its close button while it has the pointer.
    const deleted = page.locator('.toast', { hasText: 'Deleted put-2' });
    await deleted.hover();
    await deleted.getByRole('button', { name: 'Close', exact: true }).click();
    // The earlier toast about tags does not come back.
    await until(async () => (await page.locator('.toast').count()) === 0);
    await page.getByLabel('Jobs to show').selectOption('deleted');
    await until(async () => (await names()).join() === 'put-2');
    await page.getByRole('button', { name: 'Restore put-2' }).click();
    await page.getByText('No matching jobs').waitFor();
    expect((await graft(ids[1]!)).restorable_until).toBeNull();
    expect(tabs.problems()).toEqual([]);
  });

  it('tries several methods, plots their scores over their costs, and serves the best', async () => {
    const page = await tabs.open(`/new?training_file=${file}`);
    await page.getByRole('button', { name: 'Try several methods' }).click();
    await page.waitForURL(/\/sweeps\/sweep-/);
    await page.getByText('Trials appear here when they finish.').waitFor();
    const trials = page.getByRole('region', { name: 'Trials' }).locator('tbody tr');
    expect(await trials.count()).toBeGreaterThanOrEqual(5);
    for (const [n, loss] of [3, 1, 2].entries()) {
      const lease = await worker.nextAssignment();
      const begun = started(0, 40);
      begun.payload.run_bytes = 5e6 * (n + 1);
      await worker.report(lease, begun, step(40, loss), evaluated(40, loss));
      await worker.finish(lease, 40);
    }
    const best = page.getByRole('region', { name: 'Best so far' });
    await best.getByText('Best so far: trial 2').waitFor();
    const chart = page.locator('.chart');
    await until(async () => (await chart.getAttribute('data-points')) === '3');
    expect(await inked(page)).toBeGreaterThan(1000);
    await page.getByRole('combobox').selectOption('Memory');
    await until(
      async () =>
        (await chart.getAttribute('aria-label')) ===
        `Validation loss over memory of 3 trials; Pareto front: trial 1 (5.0 MB, ${lossText(3)}), trial 2 (10.0 MB, ${lossText(1)})`,
    );
    expect(await trials.first().getByRole('cell').first().textContent()).toBe('2 best');
    await screenshot(page, 'sweep');
    await best.getByRole('link', { name: 'Chat with it' }).click();
    await page.waitForURL(/\/chat\?model=ft/);
    await page.goBack();
    await page.getByRole('button', { name: 'Cancel' }).click();
    await answer(page);
    await page.locator('.bar.head .pill', { hasText: 'cancelled' }).waitFor();
    await page.getByRole('region', { name: 'Winner' }).getByText('Open job').click();
    await page.getByRole('link', { name: 'trial 2 of a sweep' }).click();
    await page.waitForURL(/\/sweeps\/sweep-/);
    await page.getByRole('navigation').getByRole('link', { name: 'Sweeps' }).click();
    await rows(page).first().waitFor();
    await screenshot(page, 'sweeps');
    expect(tabs.problems()).toEqual([]);
  });
});
