// Pulls the plug on a real trainer in the browser: the page shows the interruption and the resumed run, and that the
// result has the same bytes as that of an undisturbed job.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { JobReceiptObject } from '@graft/contracts';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it, onTestFailed } from 'vitest';
import {
  buildDashboard,
  findBrowser,
  pill,
  screenshot,
  startBrowser,
  Tabs,
  text,
} from './browser.js';
import { Installation, until } from './installation.js';

const program = findBrowser();
const PACED_WORKER = fileURLToPath(new URL('../chaos/poison-worker.mjs', import.meta.url));
const JOB = {
  model: 'tiny',
  seed: 11,
  hyperparameters: { batch_size: 8, n_epochs: 50 },
  peft: { peft_type: 'LORA', r: 4 },
  graft: { max_steps: 40, save_steps: 10, eval_steps: 10, learning_rate: 0.01, base_dtype: 'f32' },
};

let dir: string;
let graft: Installation;
let browser: Browser;
let tabs: Tabs;
let training_file: string;
let undisturbed: string;

/** Sets the minimum duration of each piece of a trainer's work in milliseconds. */
const pace = (ms: number): void => writeFileSync(join(graft.dir, 'pace'), `${ms}`);

describe.skipIf(!program)('pulling the plug in the dashboard', () => {
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'graft-plug-'));
    buildDashboard(join(dir, 'built'));
    graft = await Installation.start({ dashboardDir: join(dir, 'built') });
    graft.startWorkerOf(PACED_WORKER, 'a', { GRAFT_TEST_DIR: graft.dir });
    await graft.importTinyBase();
    training_file = await graft.uploadChats(40);
    ({ id: undisturbed } = await graft.createJob({ ...JOB, training_file, suffix: 'undisturbed' }));
    await graft.succeeded(undisturbed);
    browser = await startBrowser();
    tabs = new Tabs(browser, graft.where);
  }, 240_000);
  afterAll(async () => {
    await tabs?.close();
    await browser?.close();
    await graft?.stop();
    if (dir) rmSync(dir, { recursive: true, force: true });
  });

  it('the job resumes from its checkpoint and ends with the same bytes', async () => {
    onTestFailed(async () => {
      console.error(graft.tails());
      await tabs.screenshots('failed-plug');
    });
    pace(400);
    const { id } = await graft.createJob({ ...JOB, training_file, suffix: 'plugged' });
    const page = await tabs.open(`/jobs/${id}`);
    await pill(page, 'running').waitFor();
    await until('a checkpoint', async () => {
      const { data } = await graft.openai.fineTuning.jobs.checkpoints.list(id);
      return data.length > 0;
    });
    // So slowly that the job cannot end while the test clicks.
    pace(3000);
    const pullThePlug = async () => {
      await page.getByRole('button', { name: /^Actions for / }).click();
      await page.getByRole('menuitem', { name: 'Pull the plug…' }).click();
    };
    // The question can be declined.
    await pullThePlug();
    const question = page.getByRole('alertdialog', { name: 'Pull the plug?' });
    await question.getByText('its result is the same, byte for byte').waitFor();
    await question.getByRole('button', { name: 'Cancel' }).click();
    await question.waitFor({ state: 'detached' });
    expect((await graft.job(id)).graft.attempts).toHaveLength(1);

    await pullThePlug();
    await screenshot(page, 'pull-the-plug');
    await question.getByRole('button', { name: 'Kill the trainer' }).click();
    await until('the next attempt', async () => {
      const { attempts } = (await graft.job(id)).graft;
      return attempts.length > 1 && attempts[1]?.started_at !== null;
    });
    pace(0);
    await pill(page, 'succeeded').waitFor();
    const { attempts } = (await graft.job(id)).graft;
    expect(attempts.map(({ outcome }) => outcome)).toEqual(['interrupted', 'done']);
    expect(attempts[1]?.from_step).toBeGreaterThanOrEqual(10);
    // It is over, so nothing can be killed.
    await page.getByRole('button', { name: /^Actions for / }).click();
    await page.getByRole('menuitem', { name: 'Delete' }).waitFor();
    expect(await page.getByRole('menuitem', { name: 'Pull the plug…' }).count()).toBe(0);
    await page.keyboard.press('Escape');

    await page.getByRole('tab', { name: 'Timeline' }).click();
    await text(page, /interrupted on purpose/);
    await page.getByRole('tab', { name: 'Receipt' }).click();
    const same = page.getByText('Same bytes', { exact: true });
    await same.waitFor();
    await text(page, /1 interruption in the first job and no interruption in the second/);
    expect(await page.getByLabel('Compare with').inputValue()).toBe(undisturbed);
    const { result } = (await graft.openai.get(`/fine_tuning/jobs/${id}/receipt`)) as JobReceiptObject; // prettier-ignore
    const weights = page.getByRole('row', { name: /Weights/ }).locator('code');
    expect(await weights.allTextContents()).toEqual([
      result?.weights_sha256,
      result?.weights_sha256,
    ]);
    await screenshot(page, 'same-bytes');
    expect(tabs.problems()).toEqual([]);
  }, 180_000);
});
