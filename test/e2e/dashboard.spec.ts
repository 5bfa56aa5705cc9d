// The dashboard in a real Chromium: the built page, served by a real API under its own content
// security policy, and a real worker that trains a tiny base model.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Catalog } from '@graft/contracts';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { isAllTier } from '../tier.js';
import { writeChats, writeTinyBase } from '../tiny-base.js';
import {
  answer,
  buildDashboard,
  choose,
  downloaded,
  findBrowser,
  pick,
  startBrowser,
  Tabs,
  toggle,
} from './browser.js';
import { jobId, screenshot, pill, rows, signOut, text } from './browser.js';
import { inked, luminance, marked, tooWide, unreadable } from './looks.js';
import { Installation, until } from './installation.js';

const program = findBrowser();
if (!program) console.warn('skipped the dashboard in a browser: no Chromium or Chrome on PATH');

const EXTREMES = [['light', 1240], ['dark', 390]] as const; // prettier-ignore
const REST = [['dark', 1240], ['light', 390]] as const; // prettier-ignore
const SCRIPT = '<img src=x onerror=window.hacked=1>';

let dir: string;
let graft: Installation;
let browser: Browser;
let tabs: Tabs;

const open = (...where: Parameters<Tabs['open']>): Promise<Page> => tabs.open(...where);
const problems = (expected: RegExp | null = null): string[] => tabs.problems(expected);

/** Creates a job on the data of the previous one, for tests that start with a job. */
async function another(hyperparameters: object, options = {}, more = {}): Promise<string> {
  const { training_file } = (await graft.openai.fineTuning.jobs.list()).data[0]!;
  const body = { model: 'tiny', training_file, hyperparameters, graft: options };
  return (await graft.createJob({ ...body, peft: { peft_type: 'LORA', r: 4, ...more } })).id;
}

describe.skipIf(!program)('the dashboard', () => {
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'graft-dashboard-'));
    const outDir = join(dir, 'built');
    buildDashboard(outDir);
    graft = await Installation.start({ dashboardDir: outDir });
    browser = await startBrowser();
    tabs = new Tabs(browser, graft.where);
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

  it('asks for a key, rejects a wrong one and reads one from the address', async () => {
    const page = await open('/', { key: null });
    await page.getByLabel('API key').fill('sk-graft-wrong');
    await screenshot(page, 'sign-in');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('alert').filter({ hasText: 'has been revoked' }).waitFor();

    const other = await open('/files', { key: 'sk-graft-wrong-too' });
    await other.getByRole('alert').filter({ hasText: 'has been revoked' }).waitFor();
    expect(other.url()).not.toContain('key');

    await page.goto(`${graft.where.url}/cluster#key=${graft.where.apiKey}`);
    await page.getByRole('heading', { name: 'Cluster', exact: true }).waitFor();
    await until('the key to leave the address', () => page.url() === `${graft.where.url}/cluster`);

    // A link opened in a new tab of the same browser is signed in, too, and signed out with the
    // first.
    const second = await page.context().newPage();
    await tabs.add(second);
    await second.goto(`${graft.where.url}/models`);
    await second.getByRole('heading', { name: 'Models', exact: true }).waitFor();
    await signOut(page);
    await page.getByLabel('API key').waitFor();
    await second.getByLabel('API key').waitFor();
    expect(problems(/status of 401/)).toEqual([]);
  });

  it('explains what to do while there is nothing', async () => {
    const page = await open('/');
    await text(page, 'No jobs yet');
    await text(page, 'graft submit');
    await screenshot(page, 'jobs-empty');
    await page.getByRole('navigation').getByRole('link', { name: 'Cluster' }).click();
    await text(page, 'No workers yet');
    await page.getByRole('link', { name: 'Files' }).click();
    await text(page, 'No files yet');
    await page.getByRole('link', { name: 'Models' }).click();
    await text(page, 'No models yet');
    await page.getByRole('link', { name: 'Try', exact: true }).click();
    await text(page, 'Nothing to try yet');
    await page.getByRole('link', { name: 'New job', exact: true }).first().click();
    await page.getByRole('region', { name: 'Model' }).getByText('Import a base model first').waitFor(); // prettier-ignore
    await page.goto(`${graft.where.url}/nowhere`);
    await text(page, 'Page not found');
    await page.goto(`${graft.where.url}/jobs/ftjob-none`);
    await page.getByRole('alert').waitFor();
    expect(problems(/status of 404/)).toEqual([]);
  });

  it('imports a base model', async () => {
    const page = await open('/models');
    const importFrom = async (source: string) => {
      await page.getByRole('button', { name: 'Import base model' }).first().click();
      await page.getByLabel('Source', { exact: true }).fill(source);
      await page.getByRole('button', { name: 'Import', exact: true }).click();
    };
    await importFrom('dir:/does/not/exist');
    await page.getByRole('alert').filter({ hasText: 'could not be imported' }).waitFor();

    await page.keyboard.press('Escape');
    await importFrom(`dir:${writeTinyBase(join(dir, 'tiny'))}`);
    const tiny = rows(page).filter({ hasText: 'llama' });
    await tiny.getByRole('link', { name: 'Chat' }).waitFor();
    expect(await tiny.textContent()).toMatch(/tiny.*llama.*[\d,]{5,}.*kB/);
    await page.getByRole('button', { name: 'Dismiss exist' }).click();
    await page.getByText('could not be imported').waitFor({ state: 'detached' });
    await screenshot(page, 'models');
    expect(problems()).toEqual([]);
  });

  it('accepts a valid file and reports the invalid lines of another', async () => {
    const good = writeChats(join(dir, 'chats.jsonl'), 40);
    const bad = join(dir, 'bad.jsonl');
    writeFileSync(bad, `${'{"messages": 1}\n'.repeat(24)}not json\n`);
    const odd = join(dir, `${SCRIPT}.jsonl`);
    writeFileSync(odd, readFileSync(good));
    const page = await open('/files');
    await text(page, 'No files yet');
    await page.getByLabel('Files to upload').setInputFiles([good, bad, odd]);
    const report = page.getByRole('alert').filter({ hasText: 'bad.jsonl cannot be used' });
    await report.waitFor();
    const lines = await report.getByRole('listitem').allTextContents();
    expect(lines).toEqual([
      'lines 1–24: "messages" must be an array',
      expect.stringMatching(/^line 25: not valid JSON/),
    ]);
    await until('three rows', async () => (await rows(page).count()) === 3);
    await rows(page).filter({ hasText: 'chats.jsonl' }).getByText('ready').waitFor();
    await rows(page).filter({ hasText: SCRIPT }).getByText('ready').waitFor();
    await screenshot(page, 'files');

    const [download] = await Promise.all([
      page.waitForEvent('download'),
      choose(page, 'Actions for chats.jsonl', 'Download'),
    ]);
    expect(await downloaded(download)).toEqual(readFileSync(good));
    await choose(page, 'Actions for bad.jsonl', 'Delete…');
    await answer(page);
    await until('two rows', async () => (await rows(page).count()) === 2);
    expect(await page.evaluate(() => 'hacked' in window)).toBe(false);
    expect(problems()).toEqual([]);
  });

  it('generates the new-job form from the catalog and marks a rejected field', async () => {
    const catalog = await graft.openai.get<Catalog>('/catalog');
    const page = await open('/');
    await text(page, 'No jobs yet');
    await page.keyboard.press('n');
    await page.getByRole('heading', { name: 'Method', exact: true }).waitFor();
    await toggle(page, 'Tune: Method');
    // A full fine-tuning has no options, and the tasks of the others differ.
    for (const method of catalog.methods) {
      const { peft_type: type, title } = method;
      if (type === 'FULL' || !method.tasks.includes('causal_lm')) continue;
      await page.getByLabel('All methods', { exact: true }).click();
      await page.getByPlaceholder('Search…').fill(title);
      await page.locator(`[role=option] .combobox-text > span:text-is(${JSON.stringify(title)})`).first().click(); // prettier-ignore
      const names = Object.entries(
        method.schema['properties'] as Record<string, { const?: unknown }>,
      ).filter(([, field]) => field.const === undefined);
      for (const [name] of names)
        expect(
          await (
            name === 'target_modules'
              ? page.getByRole('radiogroup', { name: 'Layers to adapt', includeHidden: true })
              : page.locator(`[id="peft.${name}"]`)
          ).count(),
          `${type} ${name}`,
        ).toBe(1);
    }
    await page.getByRole('radio', { name: /^LoRA, rank 16/ }).check();
    await pick(page, 'Training file', /./);
    await page.locator('[id="peft.r"]').fill('0');
    await page.getByRole('button', { name: 'Submit' }).click();
    await page.getByRole('alert').getByText('Rank: at least 1').waitFor();
    expect(await marked(page)).toEqual(['peft.r']);
    const said = await page.locator('[id="peft.r"]').getAttribute('aria-describedby');
    expect(await page.locator(`[id="${said!.split(' ')[0]}"]`).textContent()).toBe('at least 1');
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('peft.r');
    await screenshot(page, 'new-job-refused');

    await page.locator('[id="peft.r"]').fill('4');
    await until('the mark to go', async () => (await marked(page)).length === 0);
    await toggle(page, 'More options: Options');
    await page.locator('summary', { hasText: 'Advanced' }).click();
    await page.getByLabel('Seed', { exact: true }).fill('seven');
    await page.getByRole('button', { name: 'Submit' }).click();
    await page.getByRole('alert').getByText('Seed: a number').waitFor();
    expect(await marked(page)).toEqual(['seed']);
    // Sample data is one click away, and files of other purposes are not offered.
    await toggle(page, 'Change: Data');
    await page.getByRole('button', { name: 'Use sample data' }).click();
    // The name alone is that of the chosen file. A longer text reports the upload.
    await page.getByRole('region', { name: 'Data' }).getByText('sample-sums.jsonl', { exact: true }).waitFor(); // prettier-ignore
    await page.goto(`${graft.where.url}/files`);
    await rows(page).filter({ hasText: 'sample-sums.jsonl' }).getByText('ready').waitFor();
    await page.getByRole('radio', { name: 'Job results' }).click();
    await text(page, 'No finished jobs yet');
    expect(problems(/status of 400/)).toEqual([]);
  });

  it('follows a job live, from the form to the downloaded adapter', async () => {
    const page = await open('/new');
    await pick(page, 'Training file', /./);
    await toggle(page, 'Change: Data');
    await page.getByLabel('Validation file', { exact: true }).click();
    await page.getByRole('listbox').getByRole('option').nth(1).click();
    await page.getByRole('textbox', { name: 'Name', exact: true }).fill(SCRIPT);
    await toggle(page, 'Tune: Length');
    await toggle(page, 'Tune: Method');
    await page.getByLabel('Epochs', { exact: true }).fill('50');
    await page.getByLabel('Batch size', { exact: true }).fill('2');
    await page.locator('[id="peft.r"]').fill('4');
    await toggle(page, 'More options: Options');
    await page.locator('summary', { hasText: 'Advanced' }).click();
    const options = {
      max_steps: '600',
      eval_steps: '50',
      save_steps: '100',
      learning_rate: '0.01',
      base_dtype: 'f32',
    };
    for (const [name, value] of Object.entries(options)) {
      const field = page.locator(`[id="graft.${name}"]`);
      if ((await field.evaluate((element) => element.tagName)) === 'SELECT')
        await field.selectOption(value);
      else await field.fill(value);
    }
    await page.getByRole('button', { name: 'Submit' }).click();
    await page.waitForURL(/\/jobs\/ftjob-/);
    await pill(page, 'queued').waitFor();
    await page.getByRole('status').getByText('No worker in pool default: 1st of 1').waitFor();
    await page.getByRole('heading', { name: SCRIPT }).waitFor();

    graft.startWorker('first');
    await pill(page, 'running').waitFor();
    const bar = page.locator('.job-status progress');
    await bar.waitFor();
    const step = async () =>
      Number(await bar.evaluate((element) => (element as HTMLProgressElement).value));
    const points = async () =>
      Number(await page.locator('.chart').first().getAttribute('data-points'));
    await until(
      'the first points',
      async () => (await page.locator('figure.chart').count()) === 5 && (await points()) > 0,
    );
    const [early, earlyStep] = [await points(), await step()];
    await until(
      'more points and steps without a reload',
      async () => (await points()) > early && (await step()) > earlyStep,
    );
    await until('the title to show progress', async () => /^\d+ % /.test(await page.title()));
    expect(await inked(page)).toBeGreaterThan(200);
    await screenshot(page, 'job-running');

    await page.keyboard.press('f');
    const log = page.getByRole('log');
    await log
      .getByText(/^Step \d+\/600: training loss=[\d.]+$/)
      .first()
      .waitFor();
    const lines = async () => log.locator('div').count();
    const before = await lines();
    await until('more log lines', async () => (await lines()) > before);
    await page.getByRole('tab', { name: /Checkpoints/ }).click();
    // A checkpoint that waits for its upload is replaced by the next.
    await page
      .getByRole('link', { name: /^Chat with step/ })
      .first()
      .waitFor();

    await pill(page, 'succeeded').waitFor({ timeout: 90_000 });
    const id = jobId(page);
    const job = await graft.job(id);
    await page.getByRole('button', { name: 'Use it' }).click();
    const code = page.getByRole('region', { name: 'Code that uses the model' });
    await code.getByText(job.fine_tuned_model!).first().waitFor();
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: /adapter_model\.safetensors/ }).click(),
    ]);
    expect(download.suggestedFilename()).toBe('adapter_model.safetensors');
    expect(
      (await downloaded(download)).equals(
        (await graft.results(job)).get('adapter_model.safetensors')!,
      ),
    ).toBe(true);

    await page.keyboard.press('Escape');
    // Data shown live equals that of a fresh load.
    await page.getByRole('tab', { name: 'Log' }).click();
    const live = await log.locator('.pre').allTextContents();
    await page.reload();
    await page.getByRole('tab', { name: 'Log' }).click();
    await until('the log', async () => (await lines()) > 1);
    expect(await log.locator('.pre').allTextContents()).toEqual(live);
    for (let n = 1; n <= 600; n++)
      expect(
        live.some((line) => line.startsWith(`Step ${n}/600: training`)),
        `step ${n}`,
      ).toBe(true);
    await page.getByRole('tab', { name: 'Charts' }).click();
    expect(await points()).toBe(600);
    await screenshot(page, 'job-succeeded');
    expect(await page.evaluate(() => 'hacked' in window)).toBe(false);
    expect(problems()).toEqual([]);
  });

  it('cancels a job and clones it', async () => {
    const {
      data: [done],
    } = await graft.openai.fineTuning.jobs.list();
    const page = await open(`/jobs/${done!.id}`);
    await page.getByRole('link', { name: 'Clone' }).click();
    await page.getByRole('textbox', { name: 'Name', exact: true }).fill('long');
    await toggle(page, 'Tune: Method');
    expect(await page.locator('[id="peft.r"]').inputValue()).toBe('4');
    await toggle(page, 'More options: Options');
    await page.locator('summary', { hasText: 'Advanced' }).click();
    await page.locator('[id="graft.max_steps"]').fill('20000');
    await page.getByRole('button', { name: 'Submit' }).click();
    await pill(page, 'running').waitFor();
    await page.locator('.job-status progress').waitFor();
    await page.keyboard.press('c');
    await answer(page, false);
    expect(await pill(page, 'running').isVisible()).toBe(true);
    await page.keyboard.press('c');
    await answer(page);
    await pill(page, 'cancelled').waitFor();
    expect(await page.getByRole('button', { name: 'Cancel' }).count()).toBe(0);
    expect((await graft.job(jobId(page))).status).toBe('cancelled');
    await page.getByRole('tab', { name: 'Timeline' }).click();
    await rows(page).filter({ hasText: 'cancelled' }).waitFor();
    await page.getByRole('tab', { name: 'Settings' }).click();
    // The body shown in the Settings tab creates the same job again.
    const body = JSON.parse((await page.locator('.spec').textContent())!) as Record<
      string,
      unknown
    >;
    const again = await graft.createJob({
      ...body,
      suffix: 'again',
      graft: { ...(body['graft'] as object), max_steps: 5 },
    });
    expect((await graft.succeeded(again.id)).graft.progress.step).toBe(5);
    expect(problems()).toEqual([]);
  });

  it('pauses a job and resumes it from its last step', async () => {
    const page = await open(`/jobs/${await another({ n_epochs: 50, batch_size: 2 })}`);
    await page.locator('.job-status progress').waitFor();
    await page.getByRole('button', { name: 'Pause' }).click();
    await pill(page, 'paused').waitFor();
    const { step } = (await graft.job(jobId(page))).graft.progress;
    expect(step).toBeGreaterThan(0);
    await page.getByRole('button', { name: 'Resume' }).click();
    await page.getByRole('tab', { name: 'Log' }).click();
    await page.getByText(`Resumed from step ${step} on worker first`).waitFor();
    await page.getByRole('tab', { name: 'Timeline' }).click();
    await rows(page).filter({ hasText: 'Attempt 2' }).filter({ hasText: 'running' }).waitFor();
    await graft.openai.fineTuning.jobs.cancel(jobId(page));
    await pill(page, 'cancelled').waitFor();
    expect(problems()).toEqual([]);
  });

  it('shows the error of a failed job first: a q adapter cannot start an o adapter', async () => {
    const { data } = await graft.openai.fineTuning.jobs.list();
    const init_adapter = data.find((job) => job.status === 'succeeded')?.fine_tuned_model;
    const other = { target_modules: ['o_proj'] };
    const page = await open(`/jobs/${await another({ n_epochs: 1 }, { init_adapter }, other)}`);
    await pill(page, 'failed').waitFor();
    const { error } = await graft.job(jobId(page));
    expect(await page.getByRole('alert').textContent()).toContain(error!.message);
    expect(await page.getByRole('tab', { selected: true }).textContent()).toBe('Log');
    await page.getByRole('log').getByText(error!.message).first().waitFor();
    expect(problems()).toEqual([]);
  });

  it('chats with a finished model next to its base model', async () => {
    const page = await open('/models');
    const row = rows(page).filter({ hasText: /^again · / });
    await row.getByRole('link', { name: 'Chat' }).click();
    await page.getByRole('button', { name: /^Settings/ }).click();
    await page.getByLabel('as Markdown').uncheck();
    await page.getByLabel('Message').fill('what is 3 plus 3?');
    await page.getByRole('button', { name: 'Send' }).click();
    const answers = page.getByRole('article', { name: /^Answer of / });
    await until(
      'both answers',
      async () =>
        (await page.getByRole('button', { name: 'Send' }).count()) === 1 &&
        (await answers.locator('.answer-foot').count()) === 2,
    );
    const { data } = await graft.openai.models.list();
    const tuned = data.find(({ id }) => id.includes(':again:'))!.id;
    const labels = await answers.evaluateAll((all) => all.map((one) => one.getAttribute('aria-label'))); // prettier-ignore
    expect(labels).toEqual([`Answer of again · ${tuned.split(':').at(-1)}`, 'Answer of tiny']);
    for (const [i, model] of [tuned, 'tiny'].entries()) {
      const messages = [{ role: 'user' as const, content: 'what is 3 plus 3?' }];
      const asked = { model, messages, temperature: 0 };
      const { choices } = await graft.openai.chat.completions.create(asked);
      const shown = await answers.nth(i).locator('.plain').textContent();
      expect(shown).toBe(choices[0]!.message.content || '(empty response)');
    }
    await screenshot(page, 'chat');
    expect(problems()).toEqual([]);
  });

  it('shows workers', async () => {
    const page = await open('/cluster');
    const worker = page.getByRole('listitem', { name: 'first' });
    await worker.getByText('online').waitFor();
    await worker.getByText('tiny').waitFor();
    expect(await worker.textContent()).toMatch(/CPU.*of.*tiny/);
    await screenshot(page, 'workers');
    expect(problems()).toEqual([]);
  });

  it('works from the keyboard', async () => {
    const page = await open('/');
    await rows(page).first().waitFor();
    const selected = () => page.locator('tr.selected a').first().textContent();
    const names = await rows(page).locator('a').allTextContents();
    expect(await selected()).toBe(names[0]);
    await page.keyboard.press('j');
    expect(await selected()).toBe(names[1]);
    await page.keyboard.press('k');
    await page.keyboard.press('j');
    await page.keyboard.press('Enter');
    await page.waitForURL(/\/jobs\//);
    await page.goBack();
    await rows(page).first().waitFor();
    await page.keyboard.press('/');
    await page.keyboard.type('cancelled long');
    await until('one job', async () => (await rows(page).count()) === 1);
    expect(page.url()).toContain('q=cancelled%20long');
    await page.keyboard.press('Escape');
    await page.keyboard.press('?');
    await page.getByRole('dialog').waitFor();
    await screenshot(page, 'help');
    for (let n = 0; n < 4; n++) {
      await page.keyboard.press('Tab');
      expect(await page.evaluate(() => !document.activeElement?.closest('header, main'))).toBe(
        true,
      );
    }
    await page.keyboard.press('n'); // Ignored while the dialog is open.
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    // Enter on a focused link follows the link and does not open the selected job.
    await page.getByRole('navigation').getByRole('link', { name: 'Files' }).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Files', exact: true }).waitFor();
    for (const [key, heading] of [
      ['m', 'Models'],
      ['w', 'Cluster'],
      ['t', 'Try'],
      ['u', 'Files'],
      ['n', 'New job'],
      ['y', 'Installation'],
      ['g', 'Jobs'],
    ] as const) {
      await page.keyboard.press(key);
      await page.getByRole('heading', { name: heading, exact: true }).waitFor();
      if (key === 't') await page.getByLabel('Message').blur(); // It takes the focus when it is ready.
    }
    expect(problems()).toEqual([]);
  });

  // dashboard-looks.spec.ts checks every page.
  it.each([...EXTREMES, ...(isAllTier ? REST : [])])(
    'fits and is readable: %s, %i pixels wide',
    async (colorScheme, width) => {
      const page = await open('/', { colorScheme, viewport: { width, height: 844 } });
      const job = (await graft.openai.fineTuning.jobs.list()).data.find(
        (j) => j.status === 'succeeded',
      )!;
      const ground = await page.evaluate(
        () => getComputedStyle(document.documentElement).backgroundColor,
      );
      expect(luminance(ground) > 0.5).toBe(colorScheme === 'light');
      for (const [name, path, ready] of [
        ['jobs', '/', 'tbody tr'],
        ['job', `/jobs/${job.id}`, '.chart canvas'],
        ['new-job', '/new', '.radio-card'],
        ['files', '/files', 'tbody tr'],
        ['models', '/models', 'tbody tr'],
        ['cluster', '/cluster', '.worker'],
        ['chat', '/chat', '#content textarea'],
        ['keys', '/projects?tab=keys', 'tbody tr'],
      ] as const) {
        await page.goto(`${graft.where.url}${path}`);
        await page.locator(ready).first().waitFor();
        expect(await tooWide(page), name).toEqual([]);
        expect(await unreadable(page), name).toEqual([]);
        await screenshot(page, `${name}-${colorScheme}-${width}`);
      }
      expect(problems()).toEqual([]);
    },
  );
});
