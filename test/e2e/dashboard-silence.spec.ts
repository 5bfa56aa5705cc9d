// A worker becomes silent while it runs a job: the page reports it while it lasts, and separates
// training from waiting.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildDashboard, findBrowser, pill, rows, startBrowser, Tabs } from './browser.js';
import { Installation } from './installation.js';

const program = findBrowser();
let dir: string;
let graft: Installation;
let browser: Browser;
let tabs: Tabs;

describe.skipIf(!program)('a silent worker', () => {
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'graft-silence-'));
    buildDashboard(join(dir, 'built'));
    graft = await Installation.start({ dashboardDir: join(dir, 'built'), leaseMs: 12_000 });
    await graft.importTinyBase();
    browser = await startBrowser();
    tabs = new Tabs(browser, graft.where);
  });
  afterAll(async () => {
    await browser?.close();
    await graft?.stop();
    if (dir) rmSync(dir, { recursive: true, force: true });
  });

  it('is reported on the job page and in the list, and the wait is not counted as training', async () => {
    const worker = graft.startWorker('quiet');
    const training_file = await graft.uploadChats(12);
    const { id } = await graft.createJob({
      model: 'tiny',
      training_file,
      hyperparameters: { n_epochs: 30, batch_size: 1 },
    });
    const page = await tabs.open(`/jobs/${id}`);
    await pill(page, 'running').waitFor();
    await page.getByText(/^Training: step \d+/).waitFor();
    // Both pages are open before, because the message is visible only for a few seconds, until the
    // lease expires.
    const list = await tabs.open('/');
    await rows(list).filter({ hasText: 'running' }).first().waitFor();
    worker.child.kill('SIGSTOP');
    try {
      await page.getByText(/^⚠ its worker has been silent for \d+ s$/).waitFor();
      expect(await page.getByText(/^Training: step/).count()).toBe(0);
      await list.getByText(/its worker has been silent for \d+ s/).waitFor();
      await pill(page, 'queued').waitFor();
      await page.getByRole('tab', { name: 'Log' }).click();
      await page.getByRole('log').getByText('The worker was lost; retrying from').waitFor();
      expect(await page.getByRole('log').getByText(' in 0 s').count()).toBe(0);
    } finally {
      worker.child.kill('SIGCONT');
    }
    await graft.succeeded(id);
    await page.getByTitle(/^Trained \d+ s, waited \d+ s$/).waitFor();
    await page.getByRole('tab', { name: 'Timeline' }).click();
    await page.getByRole('cell', { name: 'worker lost' }).waitFor();
    await page.getByRole('button', { name: /^Attempt 1 on quiet, .*worker lost/ }).waitFor();
    expect(tabs.problems()).toEqual([]);
  }, 180_000);
});
