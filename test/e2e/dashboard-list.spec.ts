// The list of jobs, with a real API, Chromium and a scripted worker, so that the test controls every
// step.
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
  finished,
  ScriptedWorker,
  started,
  step,
} from '../../apps/api/test/scripted-worker.js';
import { tooWide } from './looks.js';
import { buildDashboard, findBrowser, screenshot, rows, startBrowser, Tabs } from './browser.js';

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

/** Confirms the open question and returns its text. */
async function confirmed(page: Page): Promise<string> {
  const question = page.getByRole('alertdialog');
  const words = await question.locator('h2, p').allInnerTexts();
  await question.getByRole('button', { name: /^(Delete|Cancel (job|\d))/ }).click();
  await question.waitFor({ state: 'detached' });
  return words.join(' ');
}

describe.skipIf(!program)('the list of jobs', () => {
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'graft-dashboard-list-'));
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

  it('starts with two ways to a first job', async () => {
    const page = await tabs.open('/');
    await page.getByRole('heading', { name: 'No jobs yet' }).waitFor();
    await page.getByRole('button', { name: 'Use sample data' }).click();
    await page.waitForURL(/\/new\?training_file=file-/);
    expect((await api.client.files.list()).data.map(({ filename }) => filename)).toContain(
      'sample-sums.jsonl',
    );
    expect(tabs.problems()).toEqual([]);
  });

  it('says in words how each job is doing, and lists exports beneath their job', async () => {
    const [done, lease] = await running('well-done');
    await worker.report(lease, step(40, 1.5), evaluated(40, 1.25));
    await worker.finish(lease, 40);
    const { fine_tuned_model: model } = await api.get<JobObject>(`/fine_tuning/jobs/${done.id}`);
    const body = { type: 'export', format: 'gguf', quantization: 'Q4_K_M', model };
    await api.post<JobObject>('/adapters/operations', body);
    const exporting = await worker.nextAssignment();
    const gguf = await worker.put(exporting, 'model.gguf', 'GGUF');
    await worker.report(exporting, started(0, 0), finished(0, [gguf]));
    const [, live] = await running('half-way');
    for (let n = 1; n <= 20; n++) await worker.report(live, step(n, 4 / n));
    const [, broken] = await running('too-hot');
    await worker.report(broken, {
      kind: 'failed',
      payload: {
        code: 'nonfinite',
        message: 'step 3: loss NaN; lower the learning rate',
        param: null,
        retryable: false,
      },
    });
    await create('alone', { graft: { pool: 'h100' } });
    await create('with-dora', { peft: { peft_type: 'LORA', r: 4, use_dora: true }, graft: { pool: 'h100' } }); // prettier-ignore
    const page = await tabs.open('/', { viewport: { width: 1440, height: 900 } });
    const row = (name: string) => rows(page).filter({ hasText: name });
    await row('too-hot').getByText('step 3: loss NaN', { exact: true }).waitFor();
    await row('alone').getByText('No worker in pool h100').waitFor();
    await row('with-dora').getByText('DoRA r 4').waitFor();
    await row('half-way').getByText('50 %').waitFor();
    expect(await row('well-done').textContent()).toMatch(/succeeded.*1\.250 val loss/);
    const links = rows(page).locator('td[data-label=Job] a');
    const order = await links.allTextContents();
    expect(order.slice(order.indexOf('well-done'))).toEqual(['well-done', 'GGUF Q4_K_M']);
    expect(order.indexOf('half-way')).toBeLessThan(order.indexOf('well-done'));
    // At a desk nothing is cut.
    expect(await page.locator('.job-table td, .job-table td *').evaluateAll((all) => all.filter(({ scrollWidth, clientWidth, className }) => className !== 'unseen' && clientWidth > 0 && scrollWidth > clientWidth + 1).map(({ textContent }) => textContent))).toEqual([]); // prettier-ignore
    await screenshot(page, 'jobs-in-words');
    // Space shows the selected job in a drawer.
    await page.keyboard.press('j');
    await page.keyboard.press(' ');
    const peek = page.getByRole('dialog', { name: 'alone' });
    await peek.getByText('No worker in pool h100').waitFor();
    await page.keyboard.press('Escape');
    await peek.waitFor({ state: 'detached' });
    await page.getByRole('button', { name: 'Actions for half-way' }).click();
    await page.getByRole('menuitem', { name: 'Cancel job…' }).click();
    await confirmed(page);
    await row('half-way').getByText('cancelled').waitFor();
    expect(tabs.problems()).toEqual([]);
  });

  it('groups jobs by sweep, tag and base', async () => {
    const sweep = await api.post<{ id: string }>('/sweeps', {
      model: 'tiny',
      training_file: file,
      validation_file: file,
      suffix: 'ranks',
      graft: { pool: 'nobody' },
      search: { algorithm: 'grid', parameters: { 'peft.r': [2, 4, 8] } },
    });
    const page = await tabs.open('/');
    await rows(page).filter({ hasText: 'ranks · r 8' }).waitFor();
    await page.getByRole('button', { name: 'Group' }).click();
    await page.getByLabel('Sweep', { exact: true }).check();
    await page.keyboard.press('Escape');
    const group = page.getByRole('button', { name: 'ranks', exact: true });
    await rows(page).filter({ has: group }).getByText('3 jobs').waitFor();
    expect(page.url()).toContain('group=sweep');
    expect(await page.getByText('ranks · r 8').count()).toBe(0);
    await group.click();
    await page.getByText('ranks · r 8').waitFor();
    await screenshot(page, 'jobs-grouped');
    await page.goto(`${api.url}/?group=model`);
    await page.getByRole('button', { name: 'tiny', exact: true }).waitFor();
    await page.goto(`${api.url}/?group=tag`);
    await page.getByRole('button', { name: 'No tag', exact: true }).waitFor();
    await api.post(`/sweeps/${sweep.id}/cancel`);
    expect(tabs.problems()).toEqual([]);
  });

  it('moves changed jobs to their position by time in a long list', async () => {
    const ids: string[] = [];
    for (let n = 0; n < 70; n++)
      ids.push((await create(`turns-${n}`, { graft: { pool: 'nobody' } })).id);
    await api.query(
      `UPDATE job SET created_at = now() + (substring(suffix from 7)::int * interval '1 second')
       WHERE suffix LIKE 'turns-%'`,
    );
    const page = await tabs.open('/?q=turns-', { viewport: { width: 1280, height: 5000 } });
    const names = () => rows(page).locator('td[data-label=Job] a').allTextContents();
    const newest = (count: number, from = 69) =>
      Array.from({ length: count }, (_, n) => `turns-${from - n}`);
    await until(async () => (await names()).length === 70);
    // Old and visible ones, in random order.
    for (const n of [3, 60, 0, 15, 25]) await api.post(`/fine_tuning/jobs/${ids[n]}/cancel`);
    await page.getByRole('row', { name: /cancelled.*turns-25/ }).waitFor();
    expect(await names()).toEqual(newest(70));
    await api.post(`/fine_tuning/jobs/${ids[2]}/cancel`);
    await page.getByRole('row', { name: /cancelled.*turns-2 / }).waitFor();
    expect(await names()).toEqual(newest(70));
    expect(tabs.problems()).toEqual([]);
  });

  it('renders only visible rows, loads further pages on scrolling, and supports keys', async () => {
    await api.query(
      `INSERT INTO job (id, project_id, state, base_id, model, request, spec, pool, priority, phase_code, phase_message, suffix, created_at)
       SELECT 'ftjob-' || lpad(n::text, 22, 'm'), project_id, 'cancelled', base_id, model, request, spec, 'many', priority, phase_code,
         phase_message, 'many-' || n, now() - n * interval '1 minute'
       FROM (SELECT * FROM job WHERE suffix = 'turns-1') AS one, generate_series(1, 350) AS n`,
    );
    const page = await tabs.open('/?q=many-');
    const seen = () => rows(page).locator('td[data-label=Job] a').allTextContents();
    await page.getByText(/^(1|2|3)\d\d\+? found$/).waitFor();
    expect((await seen()).slice(0, 3)).toEqual(['many-1', 'many-2', 'many-3']);
    const last = page.getByRole('link', { name: 'many-350', exact: true });
    await until(async () => {
      await page.mouse.wheel(0, 4000);
      return (await last.count()) === 1;
    });
    await page.getByText('350 found').waitFor();
    expect((await seen()).length).toBeLessThan(80);
    // Filters and headings stay in sight.
    for (const part of [page.getByLabel('Search jobs'), page.getByRole('columnheader').first()])
      expect((await part.boundingBox())?.y).toBeGreaterThanOrEqual(0);
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
    await page.getByRole('button', { name: 'Columns' }).click();
    await page.getByLabel('Training loss', { exact: true }).check();
    await page.getByLabel('Note', { exact: true }).check();
    await page.getByLabel('Base', { exact: true }).uncheck();
    await page.keyboard.press('Escape');
    // A column without any content is hidden.
    expect(await page.getByRole('columnheader', { name: 'Note' }).count()).toBe(0);
    expect(await page.getByRole('columnheader', { name: 'Base' }).count()).toBe(0);
    const loss = page.getByRole('columnheader').getByRole('button', { name: 'Training loss' });
    await loss.click();
    await shown('green', 'red', 'blue');
    expect(await page.locator('th[aria-sort=ascending]').textContent()).toContain('Training loss');
    await loss.click();
    await shown('blue', 'red', 'green');
    await loss.click();
    await shown('green', 'red', 'blue');
    const heights = await rows(page).evaluateAll((all) =>
      all.map((row) => Math.round(row.getBoundingClientRect().height)),
    );
    expect(Math.max(...heights)).toBeLessThan(44); // One line per job.

    await page.getByRole('button', { name: 'Filter' }).click();
    await page.getByLabel('Filter by tag').selectOption('red');
    await shown('red');
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: 'Views' }).click();
    await page.getByLabel('View name').fill('only red');
    await page.getByRole('button', { name: 'Save view' }).click();
    await screenshot(page, 'jobs-view');
    await page.goto(`${api.url}/`);
    await page.getByRole('button', { name: 'Columns' }).click();
    await page.getByRole('button', { name: 'Reset columns' }).click();
    await page.keyboard.press('Escape');
    await page.getByRole('columnheader', { name: 'Base' }).waitFor();
    await page.getByRole('button', { name: 'Views' }).click();
    await page.getByRole('button', { name: 'only red', exact: true }).click();
    await shown('red');
    await page.getByRole('columnheader', { name: 'Training loss' }).waitFor();
    expect(new URL(page.url()).search).toBe('?q=kept-&sort=train_loss&order=asc&tag=red');
    // Each active filter is a chip that removes it.
    await page.getByRole('button', { name: 'Remove the filter for tag red' }).click();
    await shown('green', 'red', 'blue');
    // On a phone each job has two lines, with its menu at the right.
    await page.setViewportSize({ width: 390, height: 900 });
    const menu = page.getByRole('button', { name: 'Actions for kept-red' });
    await until(async () => ((await menu.boundingBox())?.x ?? 0) > 320);
    expect(await tooWide(page)).toEqual([]);
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
    const act = async (name: string, action: string) => {
      await page.getByRole('button', { name: `Actions for ${name}` }).click();
      await page.getByRole('menuitem', { name: action }).click();
    };
    await act('put-1', 'Rename…');
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
    await page.getByRole('button', { name: 'Tag', exact: true }).click();
    await page.getByLabel('Tags to add').fill('both');
    await page.getByRole('button', { name: 'Add tags' }).click();
    await until(async () => (await graft(ids[2]!)).tags.join() === 'both');
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: 'Archive', exact: true }).click();
    await page.getByRole('dialog').getByText('Archived 2 jobs.').waitFor();
    await until(async () => (await names()).length === 1);
    await page.getByRole('button', { name: 'Undo' }).click();
    await until(async () => (await names()).length === 3);
    expect((await graft(ids[1]!)).archived).toBe(false);

    // A queued job is not deleted.
    for (const name of ['put-2', 'put-3']) await page.getByLabel(`Select ${name}`).check();
    await page.getByRole('button', { name: 'Delete 1' }).click();
    expect(await confirmed(page)).toContain('Delete put-2?');
    await page.getByRole('dialog').getByText('Deleted put-2').waitFor();
    await until(async () => !(await names()).includes('put-2'));
    await page.getByRole('button', { name: 'Undo' }).click();
    await until(async () => (await names()).includes('put-2'));
    await act('put-2', 'Delete…');
    await confirmed(page);
    // A toast shows its close button while it has the pointer.
    const deleted = page.locator('.toast', { hasText: 'Deleted put-2' });
    await deleted.hover();
    await deleted.getByRole('button', { name: 'Close', exact: true }).click();
    // The earlier toast about tags does not come back.
    await until(async () => (await page.locator('.toast').count()) === 0);
    await page.getByRole('button', { name: 'Filter' }).click();
    await page.getByLabel('Jobs to show').selectOption('deleted');
    await page.keyboard.press('Escape');
    await until(async () => (await names()).join() === 'put-2');
    await act('put-2', 'Restore');
    await page.getByText('No matching jobs').waitFor();
    expect((await graft(ids[1]!)).restorable_until).toBeNull();
    // The question names the number of jobs.
    await page.getByRole('button', { name: 'Show all jobs' }).click();
    await page.getByLabel('Search jobs').fill('put-');
    for (const name of ['put-2', 'put-away, <b>soon</b>'])
      await page.getByLabel(`Select ${name}`).check();
    await page.getByRole('button', { name: 'Delete', exact: true }).click();
    expect(await confirmed(page)).toContain('Delete 2 jobs?');
    await page.getByRole('dialog').getByText('Deleted 2 jobs').waitFor();
    expect(tabs.problems()).toEqual([]);
  });
});
