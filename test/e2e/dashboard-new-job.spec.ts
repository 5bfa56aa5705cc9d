// The new-job form in a real Chromium: its sections answer themselves from the file, and it reports errors before Submit.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JobObject, JobPreviewObject } from '@graft/contracts';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  buildDashboard,
  findBrowser,
  jobId,
  pick,
  screenshot,
  startBrowser,
  Tabs,
  toggle,
} from './browser.js';
import { marked, overlapping, tooWide, unreadable, violations } from './looks.js';
import { CLI } from '../cli/graft.js';
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
const section = (page: Page, name: string) => page.getByRole('region', { name, exact: true });
const toFix = (page: Page) => page.getByRole('alert').filter({ has: page.locator('button.text') });
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
    await plan(page).getByText('Choose your data').waitFor();
    await pick(page, 'Training file', /12 examples/);
    await line(page).getByText('12 examples').waitFor();
    await section(page, 'Data').getByText('chats-12.jsonl').waitFor();

    const body = { model: 'tiny', training_file: file, peft: { peft_type: 'LORA' } };
    const told = await graft.openai.post<JobPreviewObject>('/fine_tuning/jobs/preview', { body });
    const said = await line(page).textContent();
    expect(said).toContain(`${told.steps} steps`);
    expect(said).toContain(`${told.hyperparameters.n_epochs} epochs`);
    await toggle(page, 'Tune: Length');
    const placeholder = (label: string) =>
      page.getByLabel(label, { exact: true }).getAttribute('placeholder');
    expect(await placeholder('Epochs')).toBe(`${told.hyperparameters.n_epochs} (automatic)`);
    expect(await placeholder('Batch size')).toBe(`${told.hyperparameters.batch_size} (automatic)`);

    // Another number changes the plan.
    await page.getByLabel('Epochs', { exact: true }).fill('2');
    await line(page).getByText('2 epochs').waitFor();
    const steps = Math.ceil(12 / told.hyperparameters.batch_size) * 2;
    expect(await line(page).textContent()).toContain(`${steps} steps`);
    await screenshot(page, 'new-job-plan');

    // Some examples are held out, and the plan counts both kinds.
    await page.getByLabel('Validation share', { exact: true }).fill('0.25');
    await line(page).getByText('9 examples').waitFor();
    await plan(page).getByText('Details').click();
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

  it('lists all problems with links to their fields, and the API’s sentence', async () => {
    const page = await tabs.open('/new');
    await page.getByRole('button', { name: 'Submit' }).click();
    await toFix(page).getByRole('button', { name: 'Data: choose a training file' }).waitFor();
    await pick(page, 'Training file', /12 examples/);
    await line(page).getByText('12 examples').waitFor();
    await toggle(page, 'Tune: Length');
    await page.getByLabel('Epochs', { exact: true }).fill('500');
    await page.getByLabel('Learning rate', { exact: true }).fill('1e-4 or so');
    await toggle(page, 'Close: Length');
    await toggle(page, 'Tune: Method');
    await page.getByLabel('Rank', { exact: true }).fill('0');
    await toggle(page, 'Close: Method');
    const links = toFix(page).getByRole('button');
    expect(await links.allInnerTexts()).toEqual([
      'Rank: at least 1',
      'Epochs: at most 50',
      'Learning rate: a number, not “1e-4 or so”',
    ]);
    await links.nth(1).click();
    await page.getByText('at most 50', { exact: true }).waitFor();
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('n_epochs');
    await page.keyboard.press('Control+a');
    await page.keyboard.type('2');
    // Submit leads to the first problem as well.
    await page.getByRole('button', { name: 'Submit' }).click();
    await until('the focus', async () => (await page.evaluate(() => document.activeElement?.id)) === 'peft.r'); // prettier-ignore
    await page.keyboard.press('Control+a');
    await page.keyboard.type('4');
    await page.getByLabel('Learning rate', { exact: true }).fill('');
    await line(page).getByText('2 epochs').waitFor();
    // Problems that only the API can find are shown in its words.
    await page.getByRole('radio', { name: 'Your list' }).click();
    await page.getByLabel('Layers to adapt', { exact: true }).last().fill('q_projj');
    const refused = toFix(page).getByRole('button', {
      name: /^Layers to adapt: no module matches/,
    });
    await refused.waitFor();
    await screenshot(page, 'new-job-problems');
    await page.getByText('Message of the API').click();
    await page
      .getByText(/^no module matches target_modules/)
      .last()
      .waitFor();
    // The model's layers are suggested.
    await page.getByLabel('Layers to adapt', { exact: true }).last().fill('');
    await page.getByRole('button', { name: 'Add v_proj' }).click();
    await refused.waitFor({ state: 'detached' });
    await line(page).getByText('12 examples').waitFor();
    await page.getByRole('button', { name: 'Submit' }).click();
    await page.waitForURL(/\/jobs\/ftjob-/);
    expect((await graft.job(jobId(page))).peft).toMatchObject({ r: 4, target_modules: ['v_proj'] });
    expect(tabs.problems(/status of 400/)).toEqual([]);
  });

  it('marks an invalid field while it is typed, until it is fixed', async () => {
    const page = await tabs.open(`/new?training_file=${file}`);
    await line(page).getByText('12 examples').waitFor();
    await toggle(page, 'Tune: Method');
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
    const more = section(page, 'Method').locator('summary', { hasText: 'More options' });
    await more.click();
    await page.locator('[id="peft.layers_pattern"]').fill('(');
    await more.click();
    answer();
    await until('the fold to open', () => page.locator('[id="peft.layers_pattern"]').isVisible());
    // It stays visible after it is fixed.
    await page.locator('[id="peft.layers_pattern"]').fill('');
    await until('the mark to go', async () => (await marked(page)).length === 0);
    await line(page).getByText('12 examples').waitFor();
    expect(await page.locator('[id="peft.layers_pattern"]').isVisible()).toBe(true);
    expect(tabs.problems(/status of 400/)).toEqual([]);
  });

  it('submits a sensible job for a labeled CSV in at most six clicks', async () => {
    await graft.importTinyBase('tiny-bert', 'bert');
    const page = await tabs.open('/', { viewport: { width: 1440, height: 900 } });
    await page.evaluate(() => {
      const counter = window as unknown as { clicks: number };
      counter.clicks = 0;
      addEventListener('click', (event) => void (event.isTrusted && counter.clicks++), true);
    });
    const begun = Date.now();
    await page.getByRole('link', { name: 'New job' }).first().click();
    const rowsOf = Array.from(
      { length: 60 },
      (_, n) => `ticket number ${n},${n % 2 ? 'odd' : 'even'}`,
    );
    const csv = `message,category\n${rowsOf.join('\n')}\n`;
    const chooser = page.waitForEvent('filechooser');
    await page.getByText('Choose a file…').click();
    const buffer = Buffer.from(csv);
    await (await chooser).setFiles({ name: 'tickets.csv', mimeType: 'text/csv', buffer });
    const columns = page.getByRole('region', { name: 'Columns of tickets.csv' });
    await columns.or(section(page, 'Data').getByText('60 labeled texts')).first().waitFor();
    if (await columns.isVisible())
      await columns.getByRole('button', { name: 'Use these columns' }).click();
    await section(page, 'Data').getByText('60 labeled texts').waitFor();
    await section(page, 'Goal').getByText('Text classification').waitFor();
    await line(page).getByText('54 examples').waitFor();
    await screenshot(page, 'new-job-newcomer');
    // Everything is visible without scrolling.
    const last = await section(page, 'Sweep').boundingBox();
    expect(last!.y + last!.height).toBeLessThanOrEqual(900);
    await page.getByRole('button', { name: 'Submit' }).click();
    await page.waitForURL(/\/jobs\/ftjob-/);
    const seconds = (Date.now() - begun) / 1000;
    const clicks = await page.evaluate(() => (window as unknown as { clicks: number }).clicks);
    console.log(`a labeled CSV to a submitted job: ${clicks} clicks, ${seconds.toFixed(1)} s`);
    expect(clicks).toBeLessThanOrEqual(6);
    const job = await graft.job(jobId(page));
    expect(job.graft).toMatchObject({
      task: 'seq_cls',
      validation_split: 0.1,
      stratify_by_column: 'label',
      task_options: { labels: ['even', 'odd'] },
    });
    expect(tabs.problems(/status of 400/)).toEqual([]);
  });

  it('shows the first rows of a file, with what the model learns to produce', async () => {
    const page = await tabs.open('/new');
    const name = 'sums.jsonl';
    const record = (n: number) =>
      JSON.stringify({ prompt: `${n} + 1 = `, completion: String(n + 1) });
    const buffer = Buffer.from(Array.from({ length: 30 }, (_, n) => record(n)).join('\n'));
    await page.locator('#upload').setInputFiles({ name, mimeType: 'application/jsonl', buffer });
    await line(page).getByText('30 examples').waitFor();
    await section(page, 'Data').getByText(name).waitFor();
    const first = page.getByRole('list', { name: 'First rows' }).locator('li').first();
    expect(await first.locator('.part').allTextContents()).toEqual([
      'prompt: 0 + 1 = ',
      'completion: 1',
    ]);
    expect(await first.locator('.target').allTextContents()).toEqual(['completion: 1']);
    // A file with problems is not selected; its lines are named.
    await toggle(page, 'Change: Data');
    const broken = { name: 'broken.jsonl', mimeType: 'application/jsonl', buffer: Buffer.from('{"prompt":1}\n') }; // prettier-ignore
    await page.locator('#upload').setInputFiles(broken);
    await page
      .getByRole('alert')
      .getByText(/line 1/)
      .first()
      .waitFor();
    await section(page, 'Data').getByText(name).first().waitFor();
    expect(tabs.problems()).toEqual([]);
  });

  it('offers an encoder the tasks that it supports, with the labels of the data', async () => {
    const records = new File([labelled(20)], 'labelled.jsonl');
    const { id } = await graft.openai.files.create({ file: records, purpose: 'fine-tune' });
    const page = await tabs.open(`/new?training_file=${id}`);
    await toggle(page, 'Change: Model');
    await pick(page, 'Base model', /^tiny-bert/);
    await line(page).getByText('20 examples').waitFor();
    await toggle(page, 'Change: Goal');
    expect(await tasksOf(page).innerText()).toContain('Text classification');
    expect(await tasksOf(page).innerText()).not.toContain('Text generation (SFT)');
    await page.getByText(/more do not fit this file or base model$/).click();
    const misfits = await page.locator('.misfits li').allInnerTexts();
    expect(misfits.join()).toMatch(
      /Text generation \(SFT\)\s+needs a decoder, but this base is an encoder/,
    );
    expect(misfits.join()).toMatch(/Question answering\s+line 1: /);
    expect(await page.getByLabel('Label type', { exact: true }).inputValue()).toBe('');
    await screenshot(page, 'new-job-misfits');
    await page.getByRole('button', { name: 'Submit' }).click();
    await page.waitForURL(/\/jobs\/ftjob-/);
    const job = await graft.job(jobId(page));
    expect(job.graft).toMatchObject({ task: 'seq_cls', task_options: { labels: ['even', 'odd'] } });
    expect(tabs.problems()).toEqual([]);
  });

  it('offers three methods and a searchable list of all, with LoRA’s variants', async () => {
    const page = await tabs.open(`/new?training_file=${file}`);
    await line(page).getByText('12 examples').waitFor();
    const cards = page.getByRole('radiogroup', { name: 'Method' });
    await cards.getByRole('radio', { name: /^DoRA, rank 32/ }).check();
    await section(page, 'Method').getByText('trainable parameters').waitFor();
    await page.getByLabel('All methods', { exact: true }).click();
    await page.getByRole('option').nth(55).waitFor();
    await page.getByPlaceholder('Search…').fill('rslora');
    await page.getByRole('option', { name: /^rsLoRA/ }).click();
    expect(await cards.getByRole('radio', { checked: true }).count()).toBe(0);
    await page.getByRole('radio', { name: /^Quick look/ }).check();
    await line(page).getByText('20 steps').waitFor();
    await page.getByRole('button', { name: 'Submit' }).click();
    await page.waitForURL(/\/jobs\/ftjob-/);
    const job = await graft.job(jobId(page));
    expect(job.peft).toMatchObject({ peft_type: 'LORA', use_rslora: true, use_dora: false, r: 16 });
    expect(job.graft).toMatchObject({ max_steps: 20 });
    expect(tabs.problems()).toEqual([]);
  });

  it('shows the request as code that works as it is', async () => {
    const page = await tabs.open(`/new?training_file=${file}`);
    await line(page).getByText('12 examples').waitFor();
    await page.getByRole('radio', { name: /^DoRA, rank 32/ }).check();
    await page.getByRole('textbox', { name: 'Name', exact: true }).fill("ann's");
    await toggle(page, 'Tune: Length');
    await page.getByLabel('Epochs', { exact: true }).fill('2');
    await page.getByLabel('Learning rate', { exact: true }).fill('3e-4');
    await line(page).getByText('2 epochs').waitFor();
    const said = await line(page).textContent();
    await page.getByRole('button', { name: 'View as code' }).click();
    const block = page.getByRole('region', { name: 'This job as code' });
    const code = async (title: string) => {
      await block.getByRole('button', { name: title, exact: true }).click();
      return (await block.locator('pre').textContent()) ?? '';
    };
    const env = { ...process.env, GRAFT_API_KEY: graft.where.apiKey, GRAFT_URL: graft.where.url };
    const curl = spawnSync('bash', ['-c', await code('curl')], { env, encoding: 'utf8' });
    const made = JSON.parse(curl.stdout) as JobObject;
    expect(made).toMatchObject({
      model: 'tiny',
      training_file: file,
      user_provided_suffix: "ann's",
      hyperparameters: { n_epochs: 2 },
      peft: { peft_type: 'LORA', use_dora: true, r: 32, lora_alpha: 64 },
      graft: { learning_rate: 3e-4 },
    });
    const cli = (await code('CLI')).replace(/^graft /, `node ${CLI} `);
    const dry = spawnSync('bash', ['-c', `${cli} --dry-run --json`], { env, encoding: 'utf8' });
    expect(dry.stderr).toBe('');
    const preview = JSON.parse(dry.stdout) as JobPreviewObject;
    expect(preview.peft).toEqual(made.peft);
    expect(preview.graft.learning_rate).toBe(3e-4);
    expect(said).toContain(`${preview.steps} steps`);
    expect(await code('Python')).toContain('extra_body={');
    expect(await code('TypeScript')).toContain("client.post<{ id: string }>('/fine_tuning/jobs'");
    await screenshot(page, 'new-job-code');
    expect(tabs.problems()).toEqual([]);
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
    await plan(page).getByText('This project may use pool default').waitFor();
    await page.getByRole('button', { name: 'Submit' }).click();
    await page.waitForURL(/\/jobs\/ftjob-/);
    await page.getByRole('status').getByText('No worker in pool gone').waitFor();
    // The status line replaces the warning.
    expect(await page.getByText(said).count()).toBe(0);
    expect(tabs.problems()).toEqual([]);
  });

  it('keeps its contents over reload and navigation, until the job is submitted', async () => {
    const page = await tabs.open('/new');
    const suffix = page.getByRole('textbox', { name: 'Name', exact: true });
    const passes = page.locator('#n_epochs');
    const tune = async () => {
      if (!(await passes.isVisible())) await toggle(page, 'Tune: Length');
    };
    const typed = async () => {
      await tune();
      return [await suffix.inputValue(), await passes.inputValue()];
    };
    await pick(page, 'Training file', /12 examples/);
    await suffix.fill('kept');
    await tune();
    await passes.fill('3');
    await toggle(page, 'Try values of…: Sweep');
    await pick(page, 'Methods', /^DoRA/);
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
    await plan(page).getByText('Choose your data').waitFor();
    expect(await typed()).toEqual(['', '']);

    await pick(page, 'Training file', /12 examples/);
    await suffix.fill('sent');
    await page.getByRole('button', { name: 'Submit' }).click();
    await page.waitForURL(/\/jobs\/ftjob-/);
    await page.getByRole('heading', { name: 'New job' }).waitFor({ state: 'detached' });
    await page.goBack();
    await plan(page).getByText('Choose your data').waitFor();
    expect(await typed()).toEqual(['', '']);
    expect(tabs.problems()).toEqual([]);
  });

  it('reports that the job to copy does not exist, and can still be filled in', async () => {
    const page = await tabs.open('/new?from=ftjob-nope');
    await page.getByRole('alert').getByText('ftjob-nope').waitFor();
    await pick(page, 'Training file', /12 examples/);
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
      [768, 'light'],
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
      expect(await overlapping(page), `${width}`).toEqual([]);
      await screenshot(page, `new-job-${width}-${scheme}`);
      // Submit is in sight at any scroll position.
      const submit = page.getByRole('button', { name: 'Submit' });
      for (const top of [0, 400, 10_000]) {
        await page.evaluate((y) => scrollTo(0, y), top);
        const box = await submit.boundingBox();
        expect(box!.y + box!.height, `${width} at ${top}`).toBeLessThanOrEqual(900);
      }
      if (width !== 390) continue;
      for (const name of [
        'Change: Data',
        'Change: Goal',
        'Change: Model',
        'Tune: Method',
        'Tune: Length',
        'More options: Options',
        'Try values of…: Sweep',
      ])
        // prettier-ignore
        await toggle(page, name);
      expect(await tooWide(page), `${width} open`).toEqual([]);
      expect(await violations(page), `${width} open`).toEqual([]);
      await screenshot(page, `new-job-open-${width}-${scheme}`);
    }
  });
});
