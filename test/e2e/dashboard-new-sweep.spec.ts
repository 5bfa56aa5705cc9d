// Sweeps in a real Chromium: from the new-job form, and from the page that finds a method.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SweepObject } from '@graft/contracts';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  buildDashboard,
  findBrowser,
  pick,
  screenshot,
  startBrowser,
  Tabs,
  toggle,
} from './browser.js';
import { marked, overlapping, tooWide } from './looks.js';
import { labelled } from '../tiny-base.js';
import { Installation, until } from './installation.js';

const program = findBrowser();
if (!program) console.warn('skipped sweeps in a browser: no Chromium or Chrome on PATH');

let dir: string;
let graft: Installation;
let browser: Browser;
let tabs: Tabs;
let file: string;

const plan = (page: Page) => page.getByRole('region', { name: 'What this job will do' });
const section = (page: Page, name: string) => page.getByRole('region', { name, exact: true });
const toFix = (page: Page) => page.getByRole('alert').filter({ has: page.locator('button.text') });
const line = (page: Page) => plan(page).getByRole('status');

describe.skipIf(!program)('sweeps that are started in the dashboard', () => {
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'graft-new-sweep-'));
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

  it('creates a sweep over methods, or over values and ranges of options', async () => {
    const page = await tabs.open(`/new?training_file=${file}`);
    await line(page).getByText('12 examples').waitFor();
    await toggle(page, 'Try values of…: Sweep');
    const start = page.getByRole('button', { name: 'Start sweep' });
    expect(await start.isDisabled()).toBe(true);
    const vary = async (label: string, values: string) => {
      await pick(page, 'Parameter', new RegExp(`^${label}`));
      await page.getByLabel(`${label}: values`, { exact: true }).fill(values);
    };
    await vary('Rank', '8, 0');
    await vary('Learning rate', '1e-5..1e-3:log');
    await vary('Epochs', '1, 2');
    // Both are removed before the form renders again.
    await vary('LoRA alpha', '8, 16');
    await vary('LoRA dropout', '0, 0.1');
    const leftOut = page.getByRole('button', { name: /^Remove LoRA / });
    await leftOut.evaluateAll((buttons) => {
      for (const button of buttons) (button as HTMLElement).click();
    });
    await leftOut.first().waitFor({ state: 'detached' });
    expect(await leftOut.count()).toBe(0);
    await page.getByLabel('Strategy', { exact: true }).selectOption('random');
    await page.getByLabel('Max trials', { exact: true }).fill('3');
    await start.click();
    await toFix(page)
      .getByRole('button', { name: /^Rank: / })
      .waitFor();
    expect(await marked(page)).toEqual(['search.parameters.peft.r']);
    await page.getByLabel('Rank: values', { exact: true }).fill('8');
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
    await toggle(page, 'Try values of…: Sweep');
    for (const method of [/^LoRA/, /^DoRA/, /^\(IA\)³/]) await pick(page, 'Methods', method);
    // Options of one method do not apply to others.
    await page.getByLabel('Parameter', { exact: true }).click();
    await page
      .getByRole('option', { name: /^Learning rate/ })
      .first()
      .waitFor();
    expect(await page.getByRole('option', { name: 'peft.' }).count()).toBe(0);
    await page.keyboard.press('Escape');
    await page.getByLabel('Strategy', { exact: true }).selectOption('grid');
    await start.click();
    const types = (await made()).trials?.map(({ options }) => options['peft']);
    expect(types).toEqual([
      { peft_type: 'LORA' },
      { peft_type: 'LORA', use_dora: true },
      { peft_type: 'IA3' },
    ]);
    // The sweep's page names the options of each trial.
    await page
      .getByText(/\bDoRA\b/)
      .first()
      .waitFor();
    expect(tabs.problems(/status of 400/)).toEqual([]);
  });

  it('starts a sweep over methods from a file and a time budget', async () => {
    const page = await tabs.open('/');
    await page.getByRole('navigation').getByRole('link', { name: 'Find a method' }).click();
    await page.getByRole('heading', { name: 'Find a method' }).waitFor();
    await page.locator('#upload').setInputFiles({
      name: 'numbers.jsonl',
      mimeType: 'application/jsonl',
      buffer: Buffer.from(labelled(60)),
    });
    await section(page, 'Data').getByText('60 labeled texts').waitFor();
    await section(page, 'Goal').getByText('Text classification').waitFor();
    await page.getByText(/54 examples · 6 held out · up to 7 methods/).waitFor();
    await page.getByRole('radio', { name: '2 min' }).click();
    await screenshot(page, 'find');
    await page.getByRole('button', { name: 'Find the best method' }).click();
    await page.waitForURL(/\/sweeps\/sweep-/);
    const id = page.url().split('/').at(-1);
    const { search, trials = [] } = (await graft.openai.get(`/sweeps/${id}`)) as SweepObject;
    await graft.openai.post(`/sweeps/${id}/cancel`);
    expect(search).toMatchObject({ preset: 'methods', algorithm: 'asha' });
    expect(trials.length).toBeGreaterThan(3);
    expect(tabs.problems()).toEqual([]);
  });
});
