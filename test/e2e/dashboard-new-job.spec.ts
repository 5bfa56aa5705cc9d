// The new-job form in a real Chromium: it shows the values of "auto" and errors before Submit.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JobPreviewObject, SweepObject } from '@graft/contracts';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { buildDashboard, findBrowser, jobId, screenshot, startBrowser, Tabs } from './browser.js';
import { marked, overlapping, tooWide, unreadable } from './looks.js';
import { labelled } from '../tiny-base.js';
import { Installation, until } from './installation.js';

const program = findBrowser();
if (!program) console.warn('skipped the new-job form in a browser: no Chromium or Chrome on PATH');

let dir: string;
let graft: Installation;
let browser: Browser;
let tabs: Tabs;
let file: string;

const plan = (page: Page) => page.getByRole('region', { name: 'What this job will do' });
const tasksOf = (page: Page) => page.getByRole('radiogroup', { name: 'Task' });
const line = (page: Page) => plan(page).getByRole('status');

describe.skipIf(!program)('the new-job form', () => {
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'graft-new-job-'));
    const outDir = join(dir, 'built');
    buildDashboard(outDir);
    graft = await Installation.start({ dashboardDir: outDir });
    browser = await startBrowser();
    tabs = new Tabs(browser, graft.where);
    await graft.importTinyBase();
    file = await graft.uploadChats(12);
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

  it('previews the job, and creates exactly that job', async () => {
    const page = await tabs.open('/new');
    await plan(page).getByText('Choose a base and training data').waitFor();
    await page.getByLabel('Training file', { exact: true }).selectOption(file);
    await line(page).getByText('12 examples').waitFor();

    const body = { model: 'tiny', training_file: file, peft: { peft_type: 'LORA' } };
    const told = await graft.openai.post<JobPreviewObject>('/fine_tuning/jobs/preview', { body });
    const said = await line(page).textContent();
    expect(said).toContain(`${told.steps} steps`);
    expect(said).toContain(`${told.hyperparameters.n_epochs} epochs`);
    expect(await page.locator('#n_epochs').getAttribute('placeholder')).toBe(
      `auto: ${told.hyperparameters.n_epochs}`,
    );
    expect(await page.locator('#batch_size').getAttribute('placeholder')).toBe(
      `auto: ${told.hyperparameters.batch_size}`,
    );

    // Another number changes the plan.
    await page.locator('#n_epochs').fill('2');
    await line(page).getByText('2 epochs').waitFor();
    const steps = Math.ceil(12 / told.hyperparameters.batch_size) * 2;
    expect(await line(page).textContent()).toContain(`${steps} steps`);
    await screenshot(page, 'new-job-plan');

    // Some examples are held out, and the plan counts both kinds.
    await page.getByLabel('Validation split').fill('0.25');
    await line(page).getByText('9 examples').waitFor();
    await plan(page).getByText('3not trained on').waitFor();

    await page.getByRole('button', { name: 'Submit' }).click();
    await page.waitForURL(/\/jobs\/ftjob-/);
    const job = await graft.job(jobId(page));
    expect(job.graft).toMatchObject({ validation_split: 0.25 });
    expect(job.hyperparameters).toMatchObject({
      n_epochs: 2,
      batch_size: told.hyperparameters.batch_size,
    });
    // Empty fields get the API's defaults.
    const bare = await graft.createJob({ model: 'tiny', training_file: file });
    expect(job.peft).toEqual(bare.peft);
    expect(tabs.problems()).toEqual([]);
  });

  it('marks an invalid field while it is typed, until it is fixed', async () => {
    const page = await tabs.open(`/new?training_file=${file}`);
    await line(page).getByText('12 examples').waitFor();
    await page.locator('[id="peft.r"]').fill('0');
    await until('the field to be marked', async () => (await marked(page))[0] === 'peft.r');
    // Typing continues in the same field, which keeps the focus.
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('peft.r');
    await page.locator('[id="peft.r"]').fill('4');
    await until('the mark to go', async () => (await marked(page)).length === 0);
    await line(page).getByText('12 examples').waitFor();
    // A folded field is shown if it is invalid. The response arrives after it was folded.
    let answer = (): void => undefined;
    const folded = new Promise<void>((resolve) => (answer = resolve));
    await page.route('**/v1/fine_tuning/jobs/preview', (route) =>
      folded.then(() => route.continue()),
    );
    await page.getByText('More options of').click();
    await page.locator('[id="peft.layers_pattern"]').fill('(');
    await page.getByText('More options of').click();
    answer();
    await until('the fold to open', () => page.locator('[id="peft.layers_pattern"]').isVisible());
    // It stays visible after it is fixed.
    await page.locator('[id="peft.layers_pattern"]').fill('');
    await until('the mark to go', async () => (await marked(page)).length === 0);
    await line(page).getByText('12 examples').waitFor();
    expect(await page.locator('[id="peft.layers_pattern"]').isVisible()).toBe(true);
    expect(tabs.problems(/status of 400/)).toEqual([]);
  });

  it('uploads a file, reports it, and selects the file', async () => {
    const page = await tabs.open('/new');
    const name = 'sums.jsonl';
    const record = (n: number) =>
      JSON.stringify({ prompt: `${n} + 1 = `, completion: String(n + 1) });
    const buffer = Buffer.from(Array.from({ length: 30 }, (_, n) => record(n)).join('\n'));
    await page.locator('#upload').setInputFiles({ name, mimeType: 'application/jsonl', buffer });
    await page.getByText(`✓ ${name} uploaded`).waitFor();
    await line(page).getByText('30 examples').waitFor();
    expect(await page.locator('#training_file option:checked').textContent()).toContain(name);
  });

  it('offers an encoder the tasks that it supports, with the labels of the data', async () => {
    await graft.importTinyBase('tiny-bert', 'bert');
    const records = new File([labelled(20)], 'labelled.jsonl');
    const { id } = await graft.openai.files.create({ file: records, purpose: 'fine-tune' });
    const page = await tabs.open(`/new?training_file=${id}`);
    await page.locator('#model').selectOption('tiny-bert');
    await line(page).getByText('20 examples').waitFor();
    expect(await tasksOf(page).innerText()).toContain('Text classification');
    expect(await tasksOf(page).innerText()).not.toContain('Text generation (SFT)');
    await page.getByText(/more do not fit this file or base$/).click();
    const misfits = await page.locator('.misfits li').allInnerTexts();
    expect(misfits.join()).toMatch(
      /Text generation \(SFT\)\s+needs a decoder, but this base is an encoder/,
    );
    expect(misfits.join()).toMatch(/Question answering\s+line 1: /);
    await screenshot(page, 'new-job-misfits');
    await page.getByRole('button', { name: 'Submit' }).click();
    await page.waitForURL(/\/jobs\/ftjob-/);
    const job = await graft.job(jobId(page));
    expect(job.graft).toMatchObject({ task: 'seq_cls', task_options: { labels: ['even', 'odd'] } });
    expect(tabs.problems()).toEqual([]);
  });

  it('creates a sweep over methods, or over values and ranges of options', async () => {
    const page = await tabs.open(`/new?training_file=${file}`);
    await line(page).getByText('12 examples').waitFor();
    await page.getByText('Several jobs: a sweep').click();
    const start = page.getByRole('button', { name: 'Start sweep' });
    expect(await start.isDisabled()).toBe(true);
    const vary = async (path: string, values: string) => {
      await page.getByLabel('Parameter', { exact: true }).selectOption(path);
      await page.getByLabel(path, { exact: true }).fill(values);
    };
    await vary('peft.r', '8, 0');
    await vary('graft.learning_rate', '1e-5..1e-3:log');
    await vary('method.supervised.hyperparameters.n_epochs', '1, 2');
    // Both are removed before the form renders again.
    await vary('peft.lora_alpha', '8, 16');
    await vary('peft.lora_dropout', '0, 0.1');
    const leftOut = page.getByRole('button', { name: /^Remove peft\.lora_/ });
    await leftOut.evaluateAll((buttons) => {
      for (const button of buttons) (button as HTMLElement).click();
    });
    await leftOut.first().waitFor({ state: 'detached' });
    expect(await leftOut.count()).toBe(0);
    await page.getByLabel('Strategy', { exact: true }).selectOption('random');
    await page.getByLabel('Max trials', { exact: true }).fill('3');
    await start.click();
    await page.getByRole('alert').getByText('peft.r').first().waitFor();
    await page.getByLabel('peft.r', { exact: true }).fill('8');
    for (const width of [390, 1440]) {
      await page.setViewportSize({ width, height: 900 });
      // The layout is ready a moment later.
      await until('all to have its place', async () => {
        const wrong = [...(await tooWide(page)), ...(await overlapping(page))];
        return wrong.length === 0;
      });
      await screenshot(page, `sweep-form-${width}`);
    }
    await start.click();
    const made = async () => {
      await page.waitForURL(/\/sweeps\/sweep-/);
      const id = page.url().split('/').at(-1);
      const sweep = (await graft.openai.get(`/sweeps/${id}`)) as SweepObject;
      await graft.openai.post(`/sweeps/${id}/cancel`);
      return sweep;
    };
    const { search, trials } = await made();
    expect(search).toMatchObject({
      algorithm: 'random',
      parameters: {
        'peft.r': [8],
        'graft.learning_rate': { min: 1e-5, max: 1e-3, log: true },
        'method.supervised.hyperparameters.n_epochs': [1, 2],
      },
    });
    expect(trials).toHaveLength(3);

    await page.goto(`${graft.where.url}/new?training_file=${file}`);
    await line(page).getByText('12 examples').waitFor();
    await page.getByText('Several jobs: a sweep').click();
    for (const method of ['LORA', 'DoRA', 'IA3'])
      await page.getByLabel('Methods', { exact: true }).selectOption(method);
    // Options of one method do not apply to others.
    expect(await page.locator('#sweep-field option', { hasText: 'peft.' }).count()).toBe(0);
    await page.getByLabel('Strategy', { exact: true }).selectOption('grid');
    await start.click();
    const types = (await made()).trials?.map(({ options }) => options['peft']);
    expect(types).toEqual([
      { peft_type: 'LORA' },
      { peft_type: 'LORA', use_dora: true },
      { peft_type: 'IA3' },
    ]);
    // The sweep's page names the options of each trial.
    await page.getByText('DoRA', { exact: true }).waitFor();
    expect(tabs.problems(/status of 400/)).toEqual([]);
  });

  it('warns of a pool without workers, and so does the job', async () => {
    const before = await graft.createJob({
      model: 'tiny',
      training_file: file,
      graft: { pool: 'gone' },
    });
    const page = await tabs.open(`/new?from=${before.id}`);
    const said = 'No worker has ever joined pool gone';
    await plan(page).getByText(said).waitFor();
    await page.getByRole('button', { name: 'Submit' }).click();
    await page.waitForURL(/\/jobs\/ftjob-/);
    await page.getByRole('list', { name: 'Warnings' }).getByText(said).waitFor();
    expect(await page.getByText('No worker of pool').count()).toBe(0);
    expect(tabs.problems()).toEqual([]);
  });

  it('keeps its contents over reload and navigation, until the job is submitted', async () => {
    const page = await tabs.open('/new');
    const suffix = page.getByLabel('Suffix', { exact: true });
    const passes = page.locator('#n_epochs');
    const typed = async () => [await suffix.inputValue(), await passes.inputValue()];
    await page.getByLabel('Training file', { exact: true }).selectOption(file);
    await suffix.fill('kept');
    await passes.fill('3');
    await page.getByText('Several jobs: a sweep').click();
    await page.getByLabel('Methods', { exact: true }).selectOption('DoRA');
    await page.reload();
    await line(page).getByText('3 epochs').waitFor();
    expect(await typed()).toEqual(['kept', '3']);
    await page.getByRole('button', { name: 'Remove DoRA' }).waitFor();
    await page.getByRole('link', { name: 'Models' }).click();
    await page.waitForURL(/\/models/);
    await page.goBack();
    await line(page).getByText('3 epochs').waitFor();
    expect(await typed()).toEqual(['kept', '3']);
    await screenshot(page, 'new-job-kept');

    // A link prefills the form. Changes to it are kept as well.
    await page.goto(`${graft.where.url}/new?training_file=${file}`);
    await line(page).getByText('12 examples').waitFor();
    expect(await typed()).toEqual(['', '']);
    await suffix.fill('linked');
    await page.reload();
    await line(page).getByText('12 examples').waitFor();
    expect(await typed()).toEqual(['linked', '']);
    await page.goto(`${graft.where.url}/files/${file}`);
    await page.locator('a[href^="/new?training_file="]').click();
    await line(page).getByText('12 examples').waitFor();
    expect(await typed()).toEqual(['', '']);

    await page.goto(`${graft.where.url}/new`);
    await line(page).getByText('12 examples').waitFor();
    expect(await typed()).toEqual(['linked', '']);
    await page.getByRole('button', { name: 'Start over' }).click();
    await plan(page).getByText('Choose a base and training data').waitFor();
    expect(await typed()).toEqual(['', '']);

    await page.getByLabel('Training file', { exact: true }).selectOption(file);
    await suffix.fill('sent');
    await page.getByRole('button', { name: 'Submit' }).click();
    await page.waitForURL(/\/jobs\/ftjob-/);
    await page.goBack();
    await plan(page).getByText('Choose a base and training data').waitFor();
    expect(await typed()).toEqual(['', '']);
    expect(tabs.problems()).toEqual([]);
  });

  it('reports that the job to copy does not exist, and can still be filled in', async () => {
    const page = await tabs.open('/new?from=ftjob-nope');
    await page.getByRole('alert').getByText('ftjob-nope').waitFor();
    await page.getByLabel('Training file', { exact: true }).selectOption(file);
    await line(page).getByText('12 examples').waitFor();
    expect(tabs.problems(/status of 404/)).toEqual([]);
  });

  it('reports why it cannot load', async () => {
    const page = await tabs.open('/');
    await page.route('**/v1/models', (route) =>
      route.fulfill({ status: 503, json: { error: { message: 'the models are away' } } }),
    );
    await page.goto(`${graft.where.url}/new`);
    await page.getByRole('alert').getByText('the models are away').waitFor();
    expect(await page.getByText('Loading…').count()).toBe(0);
    expect(tabs.problems(/status of 503/)).toEqual([]);
  });

  it('fits a phone and a wide screen, light and dark', async () => {
    for (const [width, scheme] of [
      [390, 'light'],
      [390, 'dark'],
      [1024, 'light'],
      [1440, 'dark'],
    ] as const) {
      const page = await tabs.open(`/new?training_file=${file}`, {
        viewport: { width, height: 900 },
        colorScheme: scheme,
      });
      await line(page).getByText('12 examples').waitFor();
      expect(await tooWide(page), `${width}`).toEqual([]);
      expect(await unreadable(page), `${width} ${scheme}`).toEqual([]);
      await screenshot(page, `new-job-${width}-${scheme}`);
    }
  });
});
