// The page of a result explains how to use the model in other programs, and exports it for them.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JobObject } from '@graft/contracts';
import type { Browser } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  importBase,
  startTestApi,
  until,
  uploadChats,
  type TestApi,
} from '../../apps/api/test/fixture.js';
import { Hub } from '../../apps/api/test/hub-server.js';
import { finished, ScriptedWorker, started, step } from '../../apps/api/test/scripted-worker.js';
import { buildDashboard, findBrowser, screenshot, startBrowser, Tabs } from './browser.js';
import { overlapping, tooWide } from './looks.js';

const program = findBrowser();
let dir: string;
let api: TestApi;
let hub: Hub;
let browser: Browser;
let tabs: Tabs;
let worker: ScriptedWorker;
let job: JobObject;
let other: JobObject;

const TOKEN = 'hf_token';

async function trained(config: object = { peft_type: 'LORA' }): Promise<JobObject> {
  const body = { model: 'tiny', training_file: await uploadChats(api) };
  const { id } = await api.post<JobObject>('/fine_tuning/jobs', body);
  const lease = await worker.nextAssignment();
  await worker.report(lease, started(0, 1), step(1));
  await worker.finish(lease, 1, {}, { 'adapter_config.json': JSON.stringify(config) });
  return api.get<JobObject>(`/fine_tuning/jobs/${id}`);
}

describe.skipIf(!program)('a result in the dashboard', () => {
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'graft-dashboard-use-'));
    buildDashboard(join(dir, 'built'));
    hub = await Hub.start(TOKEN);
    api = await startTestApi({ dashboardDir: join(dir, 'built'), hubUrl: hub.url });
    await importBase(api);
    worker = await new ScriptedWorker(api).connect();
    [job, other] = [await trained(), await trained()];
    browser = await startBrowser();
    tabs = new Tabs(browser, api);
  });
  afterAll(async () => {
    worker?.vanish();
    await browser?.close();
    await api?.close();
    hub?.stop();
    if (dir) rmSync(dir, { recursive: true, force: true });
  });
  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail') await tabs.screenshots('failed-use');
    await tabs.close();
  });

  it('shows commands for other programs, and exports a GGUF for download', async () => {
    const page = await tabs.open(`/jobs/${job.id}`);
    await page.getByRole('button', { name: 'Use it' }).click();
    const code = page.getByRole('region', { name: 'Code that uses the model' });
    await code.getByText(job.fine_tuned_model ?? 'none').waitFor();
    for (const name of ['curl', 'Python', 'TypeScript', 'PEFT', 'transformers', 'Ollama'])
      await code.getByRole('button', { name, exact: true }).waitFor();
    for (const name of ['llama.cpp', 'llama.cpp, with its base'])
      await code.getByRole('button', { name, exact: true }).waitFor();
    await code.getByRole('button', { name: 'vLLM', exact: true }).click();
    await page.getByText('--max-lora-rank 8 ').waitFor();
    await screenshot(page, 'use-it');
    await page.getByLabel('Export as').selectOption({ label: 'GGUF Q8_0' });
    await page.getByRole('button', { name: 'Export', exact: true }).click();
    const lease = await worker.nextAssignment();
    expect(JSON.parse(lease.specJson)).toMatchObject({
      operation: { type: 'export', format: 'gguf', quantization: 'Q8_0' },
    });
    // The export is shown with its model while it runs, and then its files.
    const exports = page.getByRole('list', { name: 'Exports of this model' });
    await exports.getByRole('progressbar').waitFor();
    const files = [await worker.put(lease, 'model-Q8_0.gguf', 'GGUF')];
    await worker.report(lease, started(0, 0), finished(0, files));
    await exports.getByRole('button', { name: 'Download Export to GGUF Q8_0' }).waitFor();
    await screenshot(page, 'use-it-exported');
    await exports.getByRole('link', { name: 'Export to GGUF Q8_0' }).click();
    await page.waitForURL(`**/jobs/${lease.jobId}`);
    await page.getByRole('button', { name: 'Download .zip' }).waitFor();
    expect(await page.getByRole('link', { name: 'Chat with it' }).count()).toBe(0);
    await page.getByRole('button', { name: 'llama.cpp', exact: true }).click();
    await page.getByText('llama-server -m model-Q8_0.gguf').waitFor();
    expect(tabs.problems()).toEqual([]);
  });

  it('offers only the exports that the model supports', async () => {
    const { id } = await trained({ peft_type: 'LORA', use_dora: true });
    const page = await tabs.open(`/jobs/${id}`);
    await page.getByRole('button', { name: 'Use it' }).click();
    expect(await page.getByLabel('Export as').locator('option').allTextContents()).toEqual([
      'GGUF Q4_K_M (Ollama, llama.cpp; about ¼ of the size)',
      'GGUF Q8_0',
      'GGUF F16',
      'Merged weights for transformers',
      'LoRA of rank 16 (converted)',
    ]);
    await page.getByRole('button', { name: 'Ollama' }).waitFor();
    expect(await page.getByRole('button', { name: 'vLLM' }).count()).toBe(0);
    expect(await page.getByRole('button', { name: 'with its base' }).count()).toBe(0);
    expect(tabs.problems()).toEqual([]);
  });

  it('combines several LoRAs with weights', async () => {
    const page = await tabs.open(`/jobs/${job.id}`);
    await page.getByRole('button', { name: 'Use it' }).click();
    await page.getByLabel('Export as').selectOption({ label: 'LoRA combined from several' });
    const form = page.getByRole('form', { name: 'Combination' });
    expect(await form.getByRole('button', { name: 'Combine' }).isDisabled()).toBe(true);
    await form.getByLabel(/^With/).selectOption(other.fine_tuned_model);
    await form.getByLabel(`Weight of ${job.fine_tuned_model}`).fill('0.7');
    await form.getByLabel(`Weight of ${other.fine_tuned_model}`).fill('101');
    await form.getByLabel('Method').selectOption('ties');
    await form.getByLabel('Fraction of values').fill('0.4');
    await form.getByRole('button', { name: 'Combine' }).click();
    await form.getByRole('alert').getByText('weights').waitFor();
    await form.getByLabel(`Weight of ${other.fine_tuned_model}`).fill('-0.3');
    await screenshot(page, 'combine');
    for (const width of [390, 1024]) {
      await page.setViewportSize({ width, height: 900 });
      expect([...(await tooWide(page)), ...(await overlapping(page, '.drawer'))]).toEqual([]);
    }
    await form.getByRole('button', { name: 'Combine' }).click();
    const lease = await worker.nextAssignment();
    expect(JSON.parse(lease.specJson)).toMatchObject({
      operation: {
        type: 'combine',
        weights: [0.7, -0.3],
        combination_type: 'ties',
        density: 0.4,
      },
    });
    await page.waitForURL(`**/jobs/${lease.jobId}`);
    const made = await api.get<JobObject>(`/fine_tuning/jobs/${lease.jobId}`);
    const adapters = [job.fine_tuned_model, other.fine_tuned_model];
    expect(made.graft.operation).toMatchObject({ adapters });
    expect(tabs.problems(/status of 400/)).toEqual([]);
  });

  it('pushes a model to the hub with a token, and reports errors', async () => {
    const page = await tabs.open(`/jobs/${job.id}`);
    await page.getByRole('button', { name: 'Use it' }).click();
    const form = page.getByRole('form', { name: 'Push to the Hugging Face Hub' });
    await form.getByLabel('Repository').fill('someone/tuned');
    await form.getByLabel('Token').fill('hf_wrong');
    await form.getByRole('button', { name: 'Push' }).click();
    await form.getByRole('alert').getByText('rejected it').waitFor();
    await form.getByLabel('Token').fill(TOKEN);
    await form.getByRole('button', { name: 'Push' }).click();
    await form.getByText('Pushed to').waitFor();
    await screenshot(page, 'push');
    expect(await form.getByLabel('Token').inputValue()).toBe('');
    expect([...(hub.commits[0]?.files.keys() ?? [])]).toContain('adapter_model.safetensors');
    expect(hub.created).toMatchObject([{ visibility: 'private' }]);
    expect(tabs.problems(/status of 400/)).toEqual([]);
  });

  it('ends a push that is stopped', async () => {
    hub.holds = true;
    hub.large = 10;
    const page = await tabs.open(`/jobs/${other.id}`);
    await page.getByRole('button', { name: 'Use it' }).click();
    const form = page.getByRole('form', { name: 'Push to the Hugging Face Hub' });
    await form.getByLabel('Repository').fill('someone/tuned');
    await form.getByLabel('Token').fill(TOKEN);
    const before = hub.commits.length;
    await form.getByRole('button', { name: 'Push' }).click();
    await until(() => hub.held > 0);
    await form.getByRole('button', { name: 'Stop' }).click();
    await form.getByRole('button', { name: 'Push' }).waitFor();
    await until(() => hub.left > 0);
    expect(hub.commits).toHaveLength(before);
    expect(await form.getByRole('alert').count()).toBe(0);
    expect(tabs.problems()).toEqual([]);
  });
});
