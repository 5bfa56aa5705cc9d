// The replay of a training on the job page: a slider over steps changes the answer. With a whole installation and
// Chromium.
import { createReadStream, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { buildDashboard, findBrowser, screenshot, startBrowser, Tabs } from './browser.js';
import { Installation, type Program } from './installation.js';

const program = findBrowser();
/** Question of the first record of the validation data. */
const QUESTION = 'what is 0 plus 0?';
const STEPS = 12;

let dir: string;
let here: Installation;
let browser: Browser;
let tabs: Tabs;
let worker: Program;

const slider = (page: Page) => page.getByRole('slider', { name: 'Training step' });
const answer = (page: Page) => page.getByRole('status', { name: 'Answer' });
const ask = (page: Page) => page.getByRole('button', { name: 'Ask', exact: true });

/** Position of the end of the page's section below its slider, in pixels. It changes if the answer moves anything. */
async function distance(page: Page): Promise<number> {
  const from = await slider(page).boundingBox();
  const to = await page.getByText(/^\d+ stops\./).boundingBox();
  return (to?.y ?? NaN) - (from?.y ?? NaN);
}

/** Names of the models at the stops, in their order. */
async function models(job: string, base: readonly string[]): Promise<readonly string[]> {
  const { data } = await here.openai.fineTuning.jobs.checkpoints.list(job, { limit: 100 });
  return [...base, ...data.toReversed().map((one) => one.fine_tuned_model_checkpoint)];
}

/** Returns what the page shows for the answer of a model. */
async function said(model: string, content: string): Promise<string> {
  const asked = { messages: [{ role: 'user' as const, content }], temperature: 0, max_tokens: 64 };
  const { choices } = await here.openai.chat.completions.create({ model, ...asked });
  const text = choices[0]?.message.content ?? '';
  return `${text === '' ? '–' : text}${choices[0]?.finish_reason === 'length' ? '…' : ''}`.trim();
}

describe.skipIf(!program)('the replay of a training', () => {
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'graft-scrub-'));
    buildDashboard(join(dir, 'built'));
    here = await Installation.start({ dashboardDir: join(dir, 'built') });
    await here.importTinyBase();
    await here.importTinyBase('tiny-bert', 'bert');
    browser = await startBrowser();
    tabs = new Tabs(browser, here.where);
  }, 150_000);
  afterAll(async () => {
    await browser?.close();
    await here?.stop();
    if (dir) rmSync(dir, { recursive: true, force: true });
  });
  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail') {
      console.error(here.tails());
      await tabs.screenshots(`failed-${task.name.replaceAll(/\W+/g, '-')}`);
    }
    await tabs.close();
  });

  it('changes the answer with the step, from the keyboard, and asks each step once', async () => {
    const { id } = await here.createJob({
      model: 'tiny',
      training_file: await here.uploadChats(24),
      hyperparameters: { batch_size: 4, n_epochs: 2 },
      graft: { save_steps: 4, learning_rate: 0.03, base_dtype: 'f32' },
    });
    const page = await tabs.open(`/jobs/${id}?tab=replay`);
    await page.getByText('No checkpoints yet').waitFor();
    worker = here.startWorker('one');
    // The slider appears without a reload, and is at the newest checkpoint.
    await slider(page).waitFor();
    await here.succeeded(id);
    await page.getByText(`Step ${STEPS}`, { exact: true }).waitFor();
    expect(await page.getByLabel('Prompt', { exact: true }).inputValue()).toBe(QUESTION);
    await answer(page).getByText('Ask to see the answer').waitFor();

    const stops = await models(id, ['tiny']);
    const requests: string[] = [];
    page.on('request', (request) => {
      if (request.url().endsWith('/v1/chat/completions'))
        requests.push((request.postDataJSON() as { model: string }).model);
    });
    await expect.poll(async () => slider(page).getAttribute('max')).toBe(`${stops.length - 1}`);
    const place = await distance(page);
    await ask(page).click();
    const shown = new Map<string, string>();
    const isShown = async (model: string) => {
      const text = await said(model, QUESTION);
      await expect
        .poll(async () => (await answer(page).innerText()).trim(), { timeout: 20_000 })
        .toBe(text);
      shown.set(model, text);
      expect(await distance(page)).toEqual(place);
    };
    await isShown(stops.at(-1)!);
    await slider(page).focus();
    for (const model of stops.slice(0, -1).toReversed()) {
      await page.keyboard.press('ArrowLeft');
      await isShown(model);
    }
    expect(await slider(page).getAttribute('aria-valuetext')).toBe('Base model');
    expect(new Set(shown.values()).size).toBeGreaterThan(1);
    await screenshot(page, 'replay-light');
    await page.keyboard.press('End');
    await isShown(stops.at(-1)!);
    // Every answer came from one request.
    expect(requests.toSorted()).toEqual([...stops].toSorted());

    // It plays from the first stop to the last, and then stops.
    await page.getByRole('button', { name: 'Play' }).click();
    await page.getByText('Base model', { exact: true }).waitFor();
    await page.getByRole('button', { name: 'Pause' }).waitFor();
    await page.getByRole('button', { name: 'Play' }).waitFor();
    await isShown(stops.at(-1)!);
    expect(requests.length).toBe(stops.length);
    expect(tabs.problems()).toEqual([]);

    // Without a worker it shows the error of the API, and asks again on request.
    worker.child.kill('SIGTERM');
    await worker.exited;
    await page.getByLabel('Prompt', { exact: true }).fill('and 4 plus 4?');
    await ask(page).click();
    await page.getByText(/no connected worker that this project may use/).waitFor();
    await page.getByRole('link', { name: 'Open cluster' }).waitFor();
    expect(await distance(page)).toEqual(place);
    worker = here.startWorker('two');
    const text = await said(await poolReady(stops.at(-1)!), 'and 4 plus 4?');
    await page.getByRole('button', { name: 'Try again' }).click();
    await expect
      .poll(async () => (await answer(page).innerText()).trim(), { timeout: 20_000 })
      .toBe(text);
  }, 150_000);

  it('shows the probabilities at each step of a classifier', async () => {
    const path = join(dir, 'labels.jsonl');
    const lines = Array.from({ length: 24 }, (_, n) =>
      JSON.stringify({ text: `${n}`, label: n % 2 === 0 ? 'even' : 'odd' }),
    );
    writeFileSync(path, `${lines.join('\n')}\n`);
    const file = createReadStream(path);
    const { id: training } = await here.openai.files.create({ file, purpose: 'fine-tune' });
    const { id } = await here.createJob({
      model: 'tiny-bert',
      training_file: training,
      hyperparameters: { batch_size: 4, n_epochs: 2 },
      graft: { save_steps: 4, learning_rate: 0.01, base_dtype: 'f32' },
    });
    await here.succeeded(id);
    const page = await tabs.open(`/jobs/${id}?tab=replay`, { colorScheme: 'dark' });
    // The text of the first record appears when that record has been loaded.
    await expect
      .poll(() => page.getByLabel('Text', { exact: true }).inputValue(), { timeout: 20_000 })
      .toBe('0');
    await ask(page).click();
    const bars = answer(page).getByRole('list', { name: 'Probabilities' });
    await bars.waitFor();
    const newest = await bars.innerText();
    expect(newest).toMatch(/even/);
    await slider(page).focus();
    await page.keyboard.press('Home');
    await page.getByText('Step 4', { exact: true }).waitFor();
    await bars.waitFor();
    expect(await bars.innerText()).not.toBe(newest);
    expect(await bars.innerText()).toMatch(/odd/);
    await screenshot(page, 'replay-dark');
    expect(tabs.problems()).toEqual([]);
  }, 90_000);
});

/** Waits until a worker can answer for a model, which it returns. */
async function poolReady(model: string): Promise<string> {
  await expect
    .poll(
      () =>
        said(model, 'hi').then(
          () => true,
          () => false,
        ),
      { timeout: 30_000 },
    )
    .toBe(true);
  return model;
}
