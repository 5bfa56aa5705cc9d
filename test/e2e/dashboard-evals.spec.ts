// Evals in the dashboard: graders, results by grader and by item, a comparison of two runs, and a
// run of another model.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ApiKeyObject } from '@graft/contracts';
import type { Browser } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { importBase, startTestApi, until, type TestApi } from '../../apps/api/test/fixture.js';
import { ScriptedWorker } from '../../apps/api/test/scripted-worker.js';
import {
  Tabs,
  answer,
  buildDashboard,
  choose,
  findBrowser,
  rows,
  screenshot,
  startBrowser,
  text,
} from './browser.js';
import { makeGraded } from './graded.js';

const program = findBrowser();
let dir: string;
let api: TestApi;
let browser: Browser;
let tabs: Tabs;

const WORDS = ['abc', 'bcd', 'cde'];
const RUNS = { before: ['abc', 'BCD', 'CDx'], after: ['ABC', 'BCD', 'nothing'] };

describe.skipIf(!program)('evals in the dashboard', () => {
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'graft-dashboard-evals-'));
    buildDashboard(join(dir, 'built'));
    api = await startTestApi({ dashboardDir: join(dir, 'built'), leaseMs: 60_000 });
    await importBase(api);
    browser = await startBrowser();
    tabs = new Tabs(browser, api);
  });
  afterAll(async () => {
    await browser?.close();
    await api?.close();
    if (dir) rmSync(dir, { recursive: true, force: true });
  });
  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail') await tabs.screenshots('failed-evals');
    await tabs.close();
  });

  it('are listed with graders, runs, and results by grader and by item', async () => {
    const { id } = await makeGraded(api, 'listed words', WORDS, RUNS);
    const page = await tabs.open('/evals');
    await page.getByRole('link', { name: 'listed words' }).click();
    await text(page, '{{sample.output_text}} is {{item.answer}}');
    await text(page, 'fuzzy_match of {{sample.output_text}} and {{item.answer}}, at least 0.6');
    const runs = page.getByRole('region', { name: 'Runs' });
    const cells = await runs
      .locator('tbody tr', { hasText: 'after' })
      .getByRole('cell')
      .allTextContents();
    expect(cells.slice(1, 6)).toEqual([
      'after',
      'answers of a file',
      ' completed',
      '2 of 3',
      '67 %',
    ]);
    await runs.getByRole('link', { name: 'before' }).click();
    await page
      .getByRole('navigation', { name: 'Breadcrumb' })
      .getByRole('link', { name: 'listed words', exact: true })
      .waitFor();
    const graders = page.getByRole('region', { name: 'By grader' });
    await graders.locator('tbody tr').first().waitFor();
    expect(await graders.getByRole('cell').allTextContents()).toEqual([
      'same as expected',
      '1',
      '2',
      '33 %',
      'near',
      '2',
      '1',
      '67 %',
    ]);
    const items = page.getByRole('region', { name: 'Items' });
    await items.getByText('CDx').waitFor();
    expect(await items.locator('tbody tr').count()).toBe(3);
    await page.getByRole('tab', { name: /fail 2/ }).click();
    await until(async () => (await items.locator('tbody tr').count()) === 2);
    expect(page.url()).toContain('status=fail');
    const half = items.locator('tbody tr', { hasText: 'CDx' });
    expect(await half.getByRole('listitem').allTextContents()).toEqual([
      '✕fails same as expected 0',
      '✓passes near 0.667',
    ]);
    await screenshot(page, 'eval-run');
    await page.goto(`${api.url}/evals/${id}`);
    await rows(page).first().waitFor();
    await screenshot(page, 'eval');
    expect(tabs.problems()).toEqual([]);
  });

  it('show two runs side by side, and the items with different results', async () => {
    await makeGraded(api, 'compared words', WORDS, RUNS);
    const page = await tabs.open('/evals');
    await page.getByRole('link', { name: 'compared words' }).click();
    const compare = page.getByRole('button', { name: 'Compare the two selected' });
    await page.getByLabel('Compare before').check();
    expect(await compare.isDisabled()).toBe(true);
    await page.getByLabel('Compare after').check();
    await compare.click();
    await page.getByRole('heading', { name: 'Two runs compared' }).waitFor();
    const comparison = page.getByLabel('Comparison', { exact: true });
    await comparison.getByText('Pass on the right only').waitFor();
    expect(await comparison.locator('dd').allTextContents()).toEqual(['3', '0', '1']);
    const items = page.getByRole('region', { name: 'Result', exact: true });
    expect(await items.locator('tbody tr').count()).toBe(1);
    const differing = items.locator('tbody tr').first();
    expect(await differing.getByRole('cell').nth(1).textContent()).toContain('fail');
    expect(await differing.getByRole('cell').nth(2).textContent()).toContain('ABC');
    await page.getByRole('tab', { name: /all 3/ }).click();
    await until(async () => (await items.locator('tbody tr').count()) === 3);
    await screenshot(page, 'eval-compare');
    expect(tabs.problems()).toEqual([]);
  });

  it('run again on another model, and are canceled and deleted after confirmation', async () => {
    const { id } = await makeGraded(api, 'asked words', WORDS, {});
    const content = WORDS.map((word) => ({ item: { word, answer: word.toUpperCase() } }));
    const { id: first } = await api.post<{ id: string }>(`/evals/${id}/runs`, {
      name: 'first',
      data_source: {
        type: 'completions',
        model: 'tiny',
        source: { type: 'file_content', content },
        input_messages: {
          type: 'template',
          template: [{ role: 'user', content: 'Say {{item.word}}' }],
        },
      },
    });
    const page = await tabs.open(`/evals/${id}/${first}`);
    // No worker is connected, so the run waits.
    await text(page, '3 items remaining');
    await page.getByRole('button', { name: 'Cancel' }).click();
    await text(page, 'cancelled');
    await page.goto(`${api.url}/evals/${id}`);
    await page.getByLabel('Model', { exact: true }).selectOption('tiny');
    await page.getByRole('button', { name: 'Run', exact: true }).click();
    const runs = page.getByRole('region', { name: 'Runs' });
    await until(async () => (await runs.locator('tbody tr').count()) === 2);
    await runs.getByRole('link', { name: 'tiny' }).click();
    const worker = await new ScriptedWorker(api, { maxChats: 4 }).connect();
    for (let n = 0; n < WORDS.length; n++) {
      const question = await worker.nextRequest();
      const [, word = ''] = /Say (\w+)/.exec(JSON.stringify(question.messages)) ?? [];
      worker.sendText(question.id, word === 'bcd' ? 'no' : word.toUpperCase());
    }
    await text(page, 'completed');
    await page.getByRole('tab', { name: /pass 2/ }).waitFor();
    const items = page.getByRole('region', { name: 'Items' });
    await until(async () => (await items.locator('tbody tr').count()) === 3);
    worker.vanish();
    await choose(page, 'Actions for tiny', 'Delete…');
    expect(await answer(page, false)).toContain('Delete the run tiny with its results?');
    await choose(page, 'Actions for tiny', 'Delete…');
    await answer(page);
    await until(async () => (await runs.locator('tbody tr').count()) === 1);
    await choose(page, /^Actions for/, 'Delete…');
    await answer(page);
    await until(() => new URL(page.url()).pathname === '/evals');
    expect(tabs.problems()).toEqual([]);
  });

  it('are created from a file of questions, with their first run', async () => {
    const page = await tabs.open('/evals');
    await page.getByRole('button', { name: 'New eval' }).click();
    const upload = async (lines: string) =>
      page.getByLabel('Questions').setInputFiles({
        name: 'sums.jsonl',
        mimeType: 'application/jsonl',
        buffer: Buffer.from(lines),
      });
    await upload('{"question": "2 + 2?", "answer": "4"}\nnot json\n');
    await text(page, 'Line 2: expected a JSON object');
    await upload('{"question": "2 + 2?", "answer": "4"}\n{"question": "3 + 5?", "answer": "8"}\n');
    await text(page, '2 questions with question, answer');
    expect(await page.getByLabel('Prompt').inputValue()).toBe('{{item.question}}');
    expect(await page.getByLabel('Expected answer').inputValue()).toBe('{{item.answer}}');
    await page.getByLabel('An answer passes if it').selectOption('contains');
    await page.getByLabel('First model to run').click();
    await page.getByRole('option', { name: /^tiny/ }).click();
    await screenshot(page, 'eval-new');
    await page.getByRole('button', { name: 'Create and run' }).click();
    await page.getByRole('heading', { name: 'sums', exact: true }).waitFor();
    const runs = page.getByRole('region', { name: 'Runs' });
    await runs.getByRole('link', { name: 'tiny' }).waitFor();
    const made = (await api.client.evals.list({ order: 'desc' })).data[0]!;
    const [run] = (await api.client.evals.runs.list(made.id)).data;
    expect(run?.result_counts.total).toBe(2);
    await api.client.evals.delete(made.id);
    expect(tabs.problems()).toEqual([]);
  });

  it('offer no changes to a viewer', async () => {
    const { id, runs } = await makeGraded(api, 'seen words', WORDS, { only: RUNS.after });
    const { secret } = await api.post<ApiKeyObject>('/keys', {
      name: 'looks',
      scopes: ['jobs:read'],
    });
    const page = await tabs.open(`/evals/${id}`, { key: secret! });
    await page.getByRole('link', { name: 'only' }).waitFor();
    const offered = async () => {
      await page.getByRole('button', { name: /^Actions for/ }).click();
      const items = page.getByRole('menuitem');
      await items.first().waitFor();
      const names = await items.allTextContents();
      await page.keyboard.press('Escape');
      return names;
    };
    expect(await offered()).toEqual(['Copy ID']);
    expect(await page.getByRole('button', { name: 'Run', exact: true }).count()).toBe(0);
    await page.goto(`${api.url}/evals/${id}/${runs[0]}`);
    await page.getByRole('tab', { name: /all 3/ }).waitFor();
    expect(await offered()).toEqual(['Copy ID']);
    await page.goto(`${api.url}/evals/eval_none`);
    await text(page, 'No such Eval: eval_none');
  });
});
