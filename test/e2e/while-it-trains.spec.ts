// Results of a job while it trains, with a whole installation. A real trainer answers the sample prompts, and
// the answers at a step equal those of the checkpoint of that step. A branch starts from that checkpoint.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JobLedgerObject, JobObject, JobSampleObject, Page } from '@graft/contracts';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { graft } from '../cli/graft.js';
import { buildDashboard, findBrowser, screenshot, startBrowser, Tabs, toggle } from './browser.js';
import { Installation } from './installation.js';

const program = findBrowser();
let dir: string;
let here: Installation;
let browser: Browser;
let job: string;

const QUESTION = 'what is 3 plus 3?';
const CHAT = [{ role: 'user' as const, content: QUESTION }];

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'graft-samples-'));
  if (program) buildDashboard(join(dir, 'built'));
  here = await Installation.start(program ? { dashboardDir: join(dir, 'built') } : {});
  here.startWorker('one');
  await here.importTinyBase();
  const { id } = await here.createJob({
    model: 'tiny',
    training_file: await here.uploadChats(24),
    hyperparameters: { batch_size: 4, n_epochs: 2 },
    graft: {
      eval_steps: 4,
      save_steps: 4,
      learning_rate: 0.03,
      base_dtype: 'f32',
      sample_prompts: [CHAT],
      sample_max_tokens: 8,
      loss_ledger: true,
    },
  });
  job = id;
  await here.succeeded(id);
}, 120_000);
afterAll(async () => {
  await browser?.close();
  await here?.stop();
  rmSync(dir, { recursive: true, force: true });
});

const samples = async () =>
  (
    (await here.openai.get(`/fine_tuning/jobs/${job}/samples`)) as Page<JobSampleObject>
  ).data.toReversed();

it('samples at each step equal the answers of the checkpoint of that step', async () => {
  const rows = await samples();
  expect(rows.map((row) => row.step_number)).toEqual([0, 4, 8, 12]);
  const { data: checkpoints } = await here.openai.fineTuning.jobs.checkpoints.list(job);
  const models = new Map(
    checkpoints.map((one) => [one.step_number, one.fine_tuned_model_checkpoint]),
  );
  // a checkpoint is missing if a newer one replaced it before it was uploaded
  expect(models.has(12)).toBe(true);
  for (const { step_number: step, data } of rows) {
    const model = step === 0 ? 'tiny' : models.get(step);
    if (model === undefined) continue;
    const asked = { messages: CHAT, temperature: 0, max_tokens: 8 };
    const answer = await here.openai.chat.completions.create({ model, ...asked });
    expect([step, data[0]?.text]).toEqual([step, answer.choices[0]?.message.content]);
  }
  expect(new Set(rows.map(({ data }) => data[0]?.text)).size).toBeGreaterThan(1);
});

it('graft samples shows them', async () => {
  const { url, apiKey } = here.where;
  const run = (...args: string[]) =>
    graft(join(here.dir, 'none'), ['samples', job, ...args, '--url', url, '--api-key', apiKey]);
  const rows = await samples();
  const { out, code } = await run();
  expect(code).toBe(0);
  expect(out).toContain(`1. user: ${QUESTION}`);
  for (const { step_number: step } of rows) expect(out).toContain(`step ${step}: `);
  expect(await run('--prompt', '2')).toMatchObject({
    code: 2,
    err: expect.stringContaining('--prompt: expected a number from 1 to 1, got 2'),
  });
  const json = JSON.parse((await run('--json')).out) as unknown[];
  expect(json).toEqual(rows.toReversed());
});

it('graft ledger shows the examples with the highest losses', async () => {
  const { url, apiKey } = here.where;
  const path = `/fine_tuning/jobs/${job}/ledger`;
  const ledger = (await here.openai.get(`${path}?limit=100`)) as JobLedgerObject;
  expect(ledger.examples).toBe(24);
  expect(new Set(ledger.data.map(({ line }) => line)).size).toBe(24);
  const { training_file: file } = await here.job(job);
  const lines = (await (await here.openai.files.content(file ?? '')).text()).split('\n');
  for (const { line, record, loss, base_loss } of ledger.data) {
    expect(record).toBe(lines[line - 1]?.slice(0, 200));
    expect(loss).toBeLessThan(base_loss ?? 0);
  }
  const args = ['ledger', job, '--limit', '3', '--url', url, '--api-key', apiKey];
  const { out, code } = await graft(join(here.dir, 'none'), args);
  expect(code).toBe(0);
  for (const { line, record } of ledger.data.slice(0, 3)) {
    expect(out).toMatch(new RegExp(`^ *${line} `, 'm'));
    expect(out).toContain(record?.slice(0, 40));
  }
});

it('graft branch continues from a checkpoint with other options', async () => {
  const { url, apiKey } = here.where;
  const branch = (from: string, ...args: string[]) =>
    graft(join(here.dir, 'none'), ['branch', from, ...args, '--url', url, '--api-key', apiKey]);
  const before = await here.job(job);
  const { data: checkpoints } = await here.openai.fineTuning.jobs.checkpoints.list(job);
  const [first] = checkpoints.slice(-1);
  const at = first?.step_number ?? 0;
  const flags = ['--set', 'graft.learning_rate=1e-4', '--epochs', '1', '--suffix', 'branch'];
  const made = await branch(`${job}@${at}`, ...flags, '--json');
  expect(made).toMatchObject({ code: 0 });
  const after = await here.succeeded((JSON.parse(made.out) as JobObject).id);
  expect(after).toMatchObject({
    model: 'tiny',
    training_file: before.training_file,
    user_provided_suffix: 'branch',
    hyperparameters: { n_epochs: 1, batch_size: 4 },
    peft: before.peft,
    graft: {
      init_adapter: first?.fine_tuned_model_checkpoint,
      learning_rate: 1e-4,
      eval_steps: 4,
      sample_prompts: [CHAT],
    },
  });
  // The first answer is that of the checkpoint.
  const list = await here.openai.get(`/fine_tuning/jobs/${after.id}/samples`);
  const rows = (list as Page<JobSampleObject>).data;
  const parent = (await samples()).find((row) => row.step_number === at);
  expect(rows.at(-1)).toMatchObject({ step_number: 0, data: [{ text: parent?.data[0]?.text }] });
  expect(await branch(`${job}@7`)).toMatchObject({
    code: 1,
    err: expect.stringContaining('has no checkpoint at step 7; available steps: '),
  });
  expect(await branch(job)).toMatchObject({
    code: 2,
    err: expect.stringContaining('expected JOB@STEP'),
  });
});

describe.skipIf(!program)('the dashboard', () => {
  it('shows samples in a table with a column per prompt, and has a field for prompts', async () => {
    browser = await startBrowser();
    const tabs = new Tabs(browser, here.where);
    const page = await tabs.open(`/jobs/${job}?tab=samples`);
    await page.getByRole('columnheader', { name: `1. ${QUESTION}` }).waitFor();
    const shown = page.getByRole('row').filter({ has: page.locator('td') });
    const rows = (await samples()).toReversed();
    await shown.nth(rows.length - 1).waitFor();
    const cells = await shown.evaluateAll((all) =>
      all.map((row) => [...row.querySelectorAll('td')].map((cell) => cell.textContent)),
    );
    expect(cells).toEqual(
      rows.map(({ step_number: step, data: [one] }) => [
        String(step),
        (one?.text || '–') + (one?.finish_reason === 'length' ? '…' : ''),
      ]),
    );
    await screenshot(page, 'samples');
    await page.getByRole('tab', { name: 'Examples' }).click();
    const ledger = page.getByRole('region', { name: 'Loss ledger' });
    await ledger.getByText('Mean loss of 24 training examples').waitFor();
    expect(await ledger.getByRole('row').count()).toBe(25);
    await screenshot(page, 'ledger');
    await page.getByRole('link', { name: 'Clone' }).click();
    await toggle(page, 'More options: Options');
    const field = page.getByLabel('Sample prompts', { exact: true });
    expect(await field.inputValue()).toBe(QUESTION);
    await field.fill(`${QUESTION}\nand 4, plus 4?`);
    const sent = page.waitForRequest(
      (request) => request.url().endsWith('/v1/fine_tuning/jobs') && request.method() === 'POST',
    );
    await page.getByRole('button', { name: 'Submit' }).click();
    const prompts = [CHAT, [{ role: 'user', content: 'and 4, plus 4?' }]];
    expect((await sent).postDataJSON()).toMatchObject({ graft: { sample_prompts: prompts } });
    await page.waitForURL(/\/jobs\/ftjob-(?!.*tab)/);
    await page.goto(`${here.where.url}/jobs/${job}?tab=checkpoints`);
    await page.getByRole('link', { name: 'Branch from here: step 12' }).click();
    await page.getByText('Continues from').waitFor();
    await page.getByRole('link', { name: 'New job' }).first().click();
    await page.getByText('Continues from').waitFor({ state: 'detached' });
    await toggle(page, 'More options: Options');
    expect(await page.getByLabel('Sample prompts', { exact: true }).inputValue()).toBe('');
    await page.goBack();
    await page.getByText('Continues from').waitFor();
    const branched = page.waitForRequest(
      (request) => request.url().endsWith('/v1/fine_tuning/jobs') && request.method() === 'POST',
    );
    await page.getByRole('button', { name: 'Submit' }).click();
    expect((await branched).postDataJSON()).toMatchObject({
      model: 'tiny',
      peft: { peft_type: 'LORA' },
      graft: { init_adapter: expect.stringMatching(/:ckpt-step-12$/), eval_steps: 4 },
    });
    await page.waitForURL(/\/jobs\/ftjob-(?!.*tab)/);
    expect(tabs.problems()).toEqual([]);
    await tabs.close();
  }, 60_000);
});
