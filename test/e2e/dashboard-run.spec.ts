// What users do on a job's page: look at checkpoints, fix a failure, correct rows and train again, and compare receipts.
// With a real API, Chromium and a scripted worker.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FileObject, JobObject } from '@graft/contracts';
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
  evaluated,
  evaluatedWithConfusion,
  saved,
  ScriptedWorker,
  started,
  step,
} from '../../apps/api/test/scripted-worker.js';
import {
  answer,
  buildDashboard,
  findBrowser,
  pill,
  screenshot,
  startBrowser,
  Tabs,
} from './browser.js';

const program = findBrowser();
const WEIGHTS = 'adapter_model.safetensors';
let dir: string;
let api: TestApi;
let browser: Browser;
let tabs: Tabs;
let file: string;
let worker: ScriptedWorker;

const create = (suffix: string, more: object = {}) =>
  api.post<JobObject>('/fine_tuning/jobs', { model: 'tiny', training_file: file, suffix, ...more });

/** Creates a job that runs on the scripted worker. */
async function running(suffix: string, more: object = {}): Promise<[JobObject, Assignment]> {
  const job = await create(suffix, more);
  const lease = await worker.nextAssignment();
  await worker.report(lease, started(0, 40));
  return [job, lease];
}

/** Saves a checkpoint with the state for resuming and the adapter. */
async function save(lease: Assignment, at: number): Promise<void> {
  const state = await worker.put(lease, 'trainer_state.json', `{"step":${at}}`);
  const adapter = [
    await worker.put(lease, 'adapter_config.json', '{"peft_type":"LORA"}'),
    await worker.put(lease, WEIGHTS, `weights at ${at}`),
  ];
  await worker.report(lease, saved(at, [state], adapter));
}

async function uploadLabels(): Promise<string> {
  const lines = ['bad', 'good', 'so-so'].map((label) => JSON.stringify({ text: `is ${label}`, label })); // prettier-ignore
  const { id } = await api.client.files.create({
    file: new File([`${lines.join('\n')}\n`.repeat(4)], 'moods.jsonl'),
    purpose: 'fine-tune',
  });
  return id;
}

describe.skipIf(!program)('the page of a run', () => {
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'graft-dashboard-run-'));
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

  it('shows its figures, opens a checkpoint from its pin, and expands a small chart', async () => {
    const [job, lease] = await running('pinned', { validation_file: file });
    for (let n = 1; n <= 20; n++) {
      await worker.report(lease, step(n, 5 / n));
      if (n % 10 === 0) {
        await worker.report(lease, evaluated(n, 6 / n));
        await save(lease, n);
      }
    }
    const page = await tabs.open(`/jobs/${job.id}`);
    const results = page.getByLabel('Results', { exact: true });
    await results.getByText('Validation loss').waitFor();
    expect(await results.locator('dt').allTextContents()).toEqual([
      'Validation loss',
      'Duration',
      'Trainable parameters',
      'Tokens',
    ]);
    await page.getByRole('button', { name: 'Checkpoint at step 20, best' }).click();
    const pin = page.getByRole('dialog', { name: 'Checkpoint at step 20, best' });
    await pin.getByText('0.3000').waitFor();
    await pin.getByRole('link', { name: 'Branch from here: step 20' }).waitFor();
    await screenshot(page, 'run-checkpoint');
    await page.keyboard.press('Escape');
    await pin.waitFor({ state: 'detached' });
    await page.getByRole('button', { name: 'Expand Learning rate' }).click();
    const large = page.getByRole('dialog', { name: 'Learning rate' });
    await large.getByRole('figure', { name: /^Learning rate over 20 steps/ }).waitFor();
    await screenshot(page, 'run-expanded');
    await large.getByRole('button', { name: 'Close' }).click();
    await large.waitFor({ state: 'detached' });
    await api.post(`/fine_tuning/jobs/${job.id}/cancel`);
    expect(tabs.problems()).toEqual([]);
  });

  it('is renamed in its title', async () => {
    const { id } = await create('old-name', { graft: { pool: 'nobody' } });
    const page = await tabs.open(`/jobs/${id}`);
    await page.getByRole('button', { name: 'old-name, rename' }).click();
    await page.getByLabel('Name of the job').fill('a better name');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { level: 1, name: 'a better name' }).waitFor();
    await page.getByRole('button', { name: 'a better name, rename' }).click();
    await page.getByLabel('Name of the job').fill('discarded');
    await page.keyboard.press('Escape');
    await page.getByRole('heading', { level: 1, name: 'a better name' }).waitFor();
    expect((await api.get<JobObject>(`/fine_tuning/jobs/${id}`)).graft.name).toBe('a better name');
    expect(tabs.problems()).toEqual([]);
  });

  it('says that no worker is in its pool, and moves to another', async () => {
    const { id } = await create('stranded', { graft: { pool: 'h100' } });
    const page = await tabs.open(`/jobs/${id}`);
    await page.getByRole('status').getByText('No worker in pool h100').waitFor();
    await page.getByRole('link', { name: 'Add a worker' }).waitFor();
    await screenshot(page, 'run-no-worker');
    await page.getByRole('button', { name: 'Use pool default' }).click();
    expect(await answer(page)).toContain('An identical job is queued there');
    const lease = await worker.nextAssignment();
    await page.waitForURL(`**/jobs/${lease.jobId}`);
    await pill(page, 'running').waitFor();
    await until(
      async () => (await api.get<JobObject>(`/fine_tuning/jobs/${id}`)).status === 'cancelled',
    );
    await api.post(`/fine_tuning/jobs/${lease.jobId}/cancel`);
    expect(tabs.problems()).toEqual([]);
  });

  it('names what failed, and retries with the fix', async () => {
    const [job, lease] = await running('exploded', { graft: { learning_rate: 0.5 } });
    await worker.report(lease, step(1, 3), {
      kind: 'failed',
      payload: { code: 'nonfinite', message: 'step 2: the loss is NaN', param: null, retryable: false }, // prettier-ignore
    });
    const page = await tabs.open(`/jobs/${job.id}`);
    const alert = page.getByRole('alert');
    await alert.getByText('The loss became infinite or NaN').waitFor();
    await alert.getByText('step 2: the loss is NaN').waitFor();
    await screenshot(page, 'run-failed');
    await page.getByRole('button', { name: 'Retry with learning rate 0.05000' }).click();
    const again = await worker.nextAssignment();
    await page.waitForURL(`**/jobs/${again.jobId}`);
    const { graft } = await api.get<JobObject>(`/fine_tuning/jobs/${again.jobId}`);
    expect(graft.learning_rate).toBe(0.05);
    await api.post(`/fine_tuning/jobs/${again.jobId}/cancel`);
    expect(tabs.problems()).toEqual([]);
  });

  it('corrects rows of its file, trains again from its checkpoint, and compares the results', async () => {
    const labels = await uploadLabels();
    const options = { task: 'seq_cls', loss_ledger: true };
    const more = { training_file: labels, validation_file: await uploadLabels(), graft: options };
    const [job, lease] = await running('moods', more);
    const measured = (loss: number, right: number) => {
      const { payload, kind } = evaluatedWithConfusion(1, loss, {
        classes: [right, 0, 4 - right, 4, 0, 0, 4, 4 - right, 0],
        cells: right === 4 ? [] : [0, 2, 4 - right],
      });
      const metrics = { ...payload.metrics, accuracy: (8 + right) / 12 };
      return { kind, payload: { ...payload, metrics } };
    };
    const rows = [2, 1, 3].map((line) => ({ line, loss: 3 / line, base_loss: null }));
    await worker.report(lease, step(1), measured(0.9, 2), {
      kind: 'ledger',
      payload: { step: 1, examples: 12, mean_loss: 1.5, rows },
    });
    await worker.finish(lease, 1);
    const page = await tabs.open(`/jobs/${job.id}?tab=examples`);
    const row = page.getByRole('row').filter({ hasText: 'is good' });
    await row.getByRole('button', { name: 'Fix line 2' }).click();
    const form = page.getByRole('form', { name: 'Fix line 2' });
    await form.getByLabel('label').selectOption('so-so');
    await form.getByRole('button', { name: 'Keep fix' }).click();
    await page.getByRole('button', { name: 'Remove line 3' }).click();
    const bar = page.getByRole('region', { name: 'Fixes' });
    await bar.getByText('1 row fixed, 1 removed').waitFor();
    await screenshot(page, 'run-fixing');
    await bar.getByRole('button', { name: 'Save 2 fixes as a new version of the file' }).click();
    await bar.getByRole('button', { name: /^Retrain from step 1 with 2 rows fixed/ }).click();

    const again = await worker.nextAssignment();
    await page.waitForURL(`**/jobs/${again.jobId}`);
    const retrained = await api.get<JobObject>(`/fine_tuning/jobs/${again.jobId}`);
    expect(retrained.graft.init_adapter).toBe(job.fine_tuned_model ?? retrained.graft.init_adapter);
    expect(retrained.validation_file).toBe(job.validation_file);
    const made = await api.get<FileObject>(`/files/${retrained.training_file}`);
    expect(made.filename).toContain('moods');
    const content = await fetch(`${api.url}/v1/files/${made.id}/content`, { headers: api.headers });
    const lines = (await content.text()).trim().split('\n');
    expect(lines).toHaveLength(11);
    expect(JSON.parse(lines[1]!)).toEqual({ text: 'is good', label: 'so-so' });

    await worker.report(again, started(0, 1), step(1), measured(0.3, 4)); // prettier-ignore
    await worker.finish(again, 1);
    await page.getByText('Accuracy: 83.3 % before, 100 % after 2 fixed rows').waitFor();
    await page.getByText('Measured on the same held-out rows.').waitFor();
    await screenshot(page, 'run-fixed');
    expect(tabs.problems()).toEqual([]);
  });

  it('shows its receipt, and that an identical job has the same bytes', async () => {
    const [job, lease] = await running('proven', { seed: 7 });
    await worker.report(lease, step(1));
    await worker.finish(lease, 1, {}, { [WEIGHTS]: 'equal weights' });
    const page = await tabs.open(`/jobs/${job.id}?tab=receipt`);
    await page.getByRole('row', { name: /^Result [0-9a-f]{64} weights of step 1/ }).waitFor();
    await page.getByRole('button', { name: 'Run an identical job' }).click();
    const twin = await worker.nextAssignment();
    await page.getByText('Not finished yet').waitFor();
    await worker.report(twin, started(0, 1), step(1));
    await worker.finish(twin, 1, {}, { [WEIGHTS]: 'equal weights' });
    await page.getByText('Same bytes', { exact: true }).waitFor();
    const weights = page.getByRole('row').filter({ hasText: 'Weights' });
    const [own, other] = await weights.locator('code').allTextContents();
    expect(own).toBe(other);
    await screenshot(page, 'run-receipt');
    expect(tabs.problems()).toEqual([]);
  });
});
