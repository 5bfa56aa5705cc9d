// Sweeps and the comparison of jobs, with a real API, Chromium and a scripted worker, so that the test
// controls every step.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { lossText, type JobObject, type SweepObject } from '@graft/contracts';
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
  ScriptedWorker,
  started,
  step,
} from '../../apps/api/test/scripted-worker.js';
import { inked, tooWide } from './looks.js';
import {
  answer,
  buildDashboard,
  findBrowser,
  screenshot,
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

describe.skipIf(!program)('sweeps and comparisons', () => {
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'graft-dashboard-sweeps-'));
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

    const results = page.getByRole('region', { name: 'Results' });
    const cells = (name: string) =>
      results.locator('tbody tr').filter({ hasText: name }).textContent();
    expect(await cells('1 narrow')).toMatch(/succeeded.*LoRA r 2.*2\.500(?!best)/);
    expect(await cells('2 wide')).toMatch(/succeeded.*LoRA r 64.*1\.750best/);
    // The others are compared with a baseline.
    await page.getByLabel('Baseline').selectOption({ label: '1 narrow' });
    await results.getByText('−30 %', { exact: true }).waitFor();

    const loss = page.getByRole('figure', { name: 'Training loss of 2 jobs' });
    await loss.locator('canvas').waitFor();
    for (const name of ['1 narrow', '2 wide']) await loss.getByText(name).waitFor();
    await page.getByRole('figure', { name: 'Validation loss of 2 jobs' }).waitFor();
    for (const [axis, unit] of [
      ['tokens', 'tokens'],
      ['time', 's'],
      ['share', '%'],
    ] as const) {
      await page.getByLabel('X axis').selectOption(axis);
      await loss.getByText(unit, { exact: true }).first().waitFor();
    }

    const settings = page.getByRole('region', { name: 'What differs' });
    expect(await settings.locator('tbody tr').allTextContents()).toEqual([
      'MethodLoRA r 2LoRA r 64',
      'Rank264',
      'Alpha4128',
    ]);
    await settings.getByLabel('show identical settings').check();
    await settings.getByText('Dropout').waitFor();
    await settings.getByLabel('show identical settings').uncheck();
    await screenshot(page, 'compare');
    // On a phone each job is a card.
    await page.setViewportSize({ width: 390, height: 844 });
    await until(async () => (await settings.locator('tbody tr').count()) === 2);
    expect(await tooWide(page)).toEqual([]);

    await page.goto(`${api.url}/compare?jobs=${ids[0]},ftjob-none`);
    await page.getByRole('alert').filter({ hasText: 'ftjob-none' }).waitFor();
    await page.goto(`${api.url}/compare`);
    await page.getByText('Select two or more jobs in the list of jobs').waitFor();
    await page.getByRole('link', { name: 'Show jobs' }).click();
    await page.getByRole('heading', { name: 'Jobs', exact: true }).waitFor();
    expect(tabs.problems(/status of 404/)).toEqual([]);
  });

  it('shows a running sweep as a race, from the first second to its winner', async () => {
    const { id } = await api.post<SweepObject>('/sweeps', {
      model: 'tiny',
      training_file: file,
      validation_file: file,
      suffix: 'contest',
      graft: { eval_steps: 2, sample_prompts: ['Who wins?'] },
      search: { algorithm: 'asha', parameters: { 'peft.r': [2, 4] }, rungs: [2], max_trials: 2 },
    });
    const page = await tabs.open(`/sweeps/${id}`);
    const race = page.getByRole('region', { name: 'Race' });
    const trials = page.getByRole('region', { name: 'Trials' }).locator('tbody tr');
    // Nothing has started, and the track is there with its lanes.
    await race.getByText('Waiting for the first steps…').waitFor();
    await race.locator('canvas').waitFor();
    expect(await trials.count()).toBe(2);
    await trials.filter({ hasText: '1 · r 2' }).getByText('queued').waitFor();

    const leases: Assignment[] = [];
    for (const loss of [2, 3]) {
      const lease = await worker.nextAssignment();
      leases.push(lease);
      const begun = started(0, 10, 'one-process');
      begun.payload.run_bytes = 5e6;
      await worker.report(lease, begun, step(1, loss));
    }
    const chart = (what: string) =>
      race.getByRole('img', { name: new RegExp(`^${what} of 2 trials over 10 steps`) });
    await until(async () => (await chart('Training loss').getAttribute('data-points')) === '1');
    await race.getByText('2 runs · one base').waitFor();
    for (const [n, lease] of leases.entries()) {
      const answered = { text: `trial ${n + 1} does`, finish_reason: 'stop', completion_tokens: 3 } as const; // prettier-ignore
      await worker.report(lease, evaluated(1, 4 + n), step(2, 2 + n));
      await worker.report(lease, { kind: 'sampled', payload: { step: 2, samples: [answered] } });
      await worker.report(lease, evaluated(2, 2 + n / 200));
    }
    await chart('Validation loss').waitFor();
    await page.getByText('trial 1 does').waitFor();
    await page.getByText('To “Who wins?”').waitFor();
    await screenshot(page, 'race');
    for (const lease of leases) await worker.finish(lease, 10);
    // Two losses that differ by 0.005 are not a victory.
    const winner = page.getByRole('region', { name: 'Winner' });
    await winner.getByRole('heading', { name: /^A tie/ }).waitFor();
    await winner.getByText(/is within the noise: choose by size or time/).waitFor();
    await winner.getByText('2.000', { exact: true }).waitFor();
    await trials.nth(1).getByText('tied').waitFor();
    await winner.getByRole('link', { name: 'Use it' }).waitFor();
    for (const width of [390, 1024, 1440]) {
      await page.setViewportSize({ width, height: 900 });
      expect(await tooWide(page)).toEqual([]);
    }
    await screenshot(page, 'race-over');
    expect(tabs.problems()).toEqual([]);
  });

  it('tries several methods, plots their scores over their costs, and serves the best', async () => {
    const page = await tabs.open(`/new?training_file=${file}`);
    await page.getByRole('button', { name: 'Try several methods' }).click();
    await page.waitForURL(/\/sweeps\/sweep-/);
    await page.getByText('Waiting for the first steps…').waitFor();
    const trials = page.getByRole('region', { name: 'Trials' }).locator('tbody tr');
    expect(await trials.count()).toBeGreaterThanOrEqual(5);
    for (const [n, loss] of [3, 1, 2].entries()) {
      const lease = await worker.nextAssignment();
      const begun = started(0, 40);
      begun.payload.run_bytes = 5e6 * (n + 1);
      await worker.report(lease, begun, step(40, loss), evaluated(40, loss));
      await worker.finish(lease, 40);
    }
    const best = page.getByRole('region', { name: 'Best finished so far' });
    await best.getByText('trial 2', { exact: true }).waitFor();
    const chart = page.getByRole('region', { name: 'Quality and cost' }).getByRole('img');
    await until(async () => (await chart.getAttribute('data-points')) === '3');
    expect(await inked(page)).toBeGreaterThan(1000);
    await page.getByRole('combobox').selectOption('Memory');
    await until(
      async () =>
        (await chart.getAttribute('aria-label')) ===
        `Validation loss over memory of 3 trials; Pareto front: trial 1 (5.0 MB, ${lossText(3)}), trial 2 (10.0 MB, ${lossText(1)})`,
    );
    expect(await trials.first().getByRole('cell').first().textContent()).toMatch(/^2 · .*best$/);
    await screenshot(page, 'sweep');
    await best.getByRole('link', { name: 'Try it' }).click();
    await page.waitForURL(/\/chat\?model=ft/);
    await page.goBack();
    await page.getByRole('button', { name: 'Cancel' }).click();
    await answer(page);
    await page.locator('.page-header .pill', { hasText: 'cancelled' }).waitFor();
    await page
      .getByRole('region', { name: 'Winner' })
      .getByText(/: validation loss .*\. Next is .* with /)
      .waitFor();
    await screenshot(page, 'sweep-answer');
    await page
      .getByRole('region', { name: 'Winner' })
      .getByRole('link', { name: 'Use it' })
      .click();
    await page.waitForURL(/\/jobs\/ftjob-/);
    await page.getByRole('link', { name: 'Sweeps', exact: true }).first().click();
    await rows(page).first().waitFor();
    await screenshot(page, 'sweeps');
    expect(tabs.problems()).toEqual([]);
  });
});
