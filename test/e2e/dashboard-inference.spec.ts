// The page that tries a model adapts to its use: chats, embeddings or labels.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JobObject } from '@graft/contracts';
import type { Browser } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { importBase, startTestApi, until, type TestApi } from '../../apps/api/test/fixture.js';
import {
  ScriptedWorker,
  started,
  step,
  evaluatedWithConfusion,
} from '../../apps/api/test/scripted-worker.js';
import { colourPng, writeImages, writeTinyImageBase } from '../tiny-images.js';
import {
  buildDashboard,
  downloaded,
  findBrowser,
  screenshot,
  startBrowser,
  Tabs,
} from './browser.js';
import { overlapping, tooWide, unreadable } from './looks.js';

const program = findBrowser();
let dir: string;
let api: TestApi;
let browser: Browser;
let tabs: Tabs;
let worker: ScriptedWorker;
let job: JobObject;

const packed = (vector: readonly number[]): string =>
  Buffer.from(Float32Array.from(vector).buffer).toString('base64');

/** Predictions of four blue, four green and four red images. One green image is predicted as blue. */
const TOLD = {
  classes: [4, 1, 0, 3, 0, 1, 4, 0, 0],
  cells: [1, 0, 1],
  examples: [1, 0, 2, 0, 0, 3, 0, 0, 6],
};

/** Answers the given number of requests. */
async function answer(times: number, answersOf: (isBase: boolean) => readonly unknown[]) {
  for (let n = 0; n < times; n++) {
    const { id, adapter } = await worker.nextRequest();
    worker.reply(id, { answers: answersOf(adapter.length === 0), prompt_tokens: 7 });
  }
}

describe.skipIf(!program)('a model that generates no text', () => {
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'graft-dashboard-inference-'));
    buildDashboard(join(dir, 'built'));
    api = await startTestApi({ dashboardDir: join(dir, 'built') });
    await importBase(api);
    worker = await new ScriptedWorker(api).connect();
    const line = JSON.stringify({ anchor: 'a', positive: 'b' });
    const file = await api.client.files.create({
      file: new File([`${line}\n`.repeat(12)], 'pairs.jsonl'),
      purpose: 'fine-tune',
    });
    const { id } = await api.post<JobObject>('/fine_tuning/jobs', {
      model: 'tiny',
      training_file: file.id,
      suffix: 'finder',
      graft: { task: 'feature_extraction' },
    });
    const lease = await worker.nextAssignment();
    await worker.report(lease, started(0, 1), step(1));
    await worker.finish(lease, 1);
    job = await api.get<JobObject>(`/fine_tuning/jobs/${id}`);
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
    if (task.result?.state === 'fail') await tabs.screenshots('failed-inference');
    await tabs.close();
  });

  it('compares texts by their embeddings, next to its base model', async () => {
    const page = await tabs.open(`/jobs/${job.id}`);
    await page.getByRole('link', { name: 'Embed texts' }).click();
    const texts = page.getByRole('textbox', { name: 'Texts' });
    await texts.fill('reset my password\n\nI cannot sign in\nprices');
    await page.getByRole('button', { name: 'Compare texts' }).click();
    await answer(2, (isBase) =>
      (isBase
        ? [
            [1, 0],
            [1, 0],
            [1, 0],
          ]
        : [
            [1, 0],
            [0.6, 0.8],
            [-1, 0],
          ]
      ).map(packed),
    );
    const model = page.getByRole('region', { name: /^finder/ });
    const near = model.getByRole('list', { name: 'Neighbors' }).getByRole('listitem');
    await near.filter({ hasText: '-1.000' }).waitFor();
    expect(await near.allInnerTexts()).toEqual([
      expect.stringMatching(/I cannot sign in\s+0\.600/),
      expect.stringMatching(/prices\s+-1\.000/),
    ]);
    const base = page.getByRole('region', { name: 'tiny', exact: true });
    await base.getByRole('listitem').filter({ hasText: 'prices' }).getByText('1.000').waitFor();
    await near.getByRole('button', { name: 'prices' }).click();
    await model.getByText('-0.600').waitFor();
    await page.getByRole('radio', { name: 'Matrix' }).click();
    await model.getByRole('table', { name: 'Similarities' }).getByText('-0.60').first().waitFor();
    await page.getByRole('radio', { name: 'Map' }).click();
    await model.getByRole('button', { name: 'I cannot sign in' }).hover();
    await model.getByText('similarity to the chosen text -0.600').waitFor();
    await screenshot(page, 'embeddings');
    await page.getByRole('button', { name: 'Stop comparing' }).click();
    await until(async () => (await base.count()) === 0);
    expect(tabs.problems()).toEqual([]);
  });

  it('labels texts', async () => {
    const lines = ['good', 'bad'].map((label) => JSON.stringify({ text: `so ${label}`, label }));
    const file = await api.client.files.create({
      file: new File([`${lines.join('\n')}\n`.repeat(6)], 'labels.jsonl'),
      purpose: 'fine-tune',
    });
    const { id } = await api.post<JobObject>('/fine_tuning/jobs', {
      model: 'tiny',
      training_file: file.id,
      suffix: 'moods',
      graft: { task: 'seq_cls' },
    });
    const lease = await worker.nextAssignment();
    await worker.report(lease, started(0, 1), step(1));
    await worker.finish(lease, 1);
    const page = await tabs.open(`/jobs/${id}`);
    await page.getByRole('link', { name: 'Classify with it' }).click();
    await page.getByRole('textbox', { name: 'Text', exact: true }).fill('so good');
    await page.getByRole('textbox', { name: 'Text', exact: true }).press('Enter');
    await answer(1, () => [{ label: 'good', probabilities: { bad: 0.125, good: 0.875 } }]);
    const bars = page.getByRole('list', { name: 'Probabilities' }).getByRole('listitem');
    await bars.nth(1).waitFor();
    expect(await bars.allInnerTexts()).toEqual([
      expect.stringMatching(/good\s+87\.5 %/),
      expect.stringMatching(/bad\s+12\.5 %/),
    ]);
    await page.getByRole('button', { name: 'Second text' }).click();
    await page.getByRole('textbox', { name: 'Second text' }).fill('so bad');
    await page.getByRole('button', { name: 'Classify' }).click();
    const pair = await worker.nextRequest();
    expect(pair).toMatchObject({ inputs: [{ text: 'so good', text_pair: 'so bad' }] });
    worker.reply(pair.id, { answers: [{ label: 'bad', probabilities: { bad: 1, good: 0 } }], prompt_tokens: 7 }); // prettier-ignore
    await bars.first().getByText('100.0 %').waitFor();
    // A file with the right labels.
    await page.getByRole('radio', { name: 'Many texts' }).click();
    const csv = 'message,category\n"so, good",good\nso bad,good\n';
    const table = { name: 'moods.csv', mimeType: 'text/csv', buffer: Buffer.from(csv) };
    await page.getByLabel('Choose a file').setInputFiles(table);
    await page.getByRole('button', { name: 'Classify 2 texts' }).click();
    await answer(1, () => [
      { label: 'good', probabilities: { bad: 0.125, good: 0.875 } },
      { label: 'bad', probabilities: { bad: 0.75, good: 0.25 } },
    ]);
    await page.getByText('1 of 2 right').waitFor();
    await page.getByRole('row', { name: /so, good good good 87\.5 %/ }).waitFor();
    await page.getByLabel('wrong only').check();
    await page.getByRole('row', { name: /so, good/ }).waitFor({ state: 'detached' });
    const saved = page.waitForEvent('download');
    await page.getByRole('button', { name: 'Download CSV' }).click();
    expect((await downloaded(await saved)).toString().split('\r\n')).toEqual([
      'text,label,predicted,probability',
      '"so, good",good,good,0.875000',
      'so bad,good,bad,0.750000',
      '',
    ]);
    // Its base model has no labels to compare with.
    expect(await page.getByRole('button', { name: 'Compare', exact: true }).count()).toBe(0);
    await screenshot(page, 'labels');
    expect(tabs.problems()).toEqual([]);
  });

  it('labels dropped images, and shows them among their examples', async () => {
    await importBase(api, 'vit', writeTinyImageBase(join(dir, 'vit')));
    const data = writeImages(join(dir, 'colours.jsonl'), 12);
    const file = await api.client.files.create({
      file: new File([readFileSync(data)], 'colours.jsonl'),
      purpose: 'fine-tune',
    });
    const shown = await tabs.open(`/files/${file.id}`);
    const examples = shown.getByRole('region', { name: 'Examples' });
    await examples.getByRole('img', { name: 'green, line 2' }).waitFor();
    expect(await examples.getByRole('img').count()).toBe(12);
    const labels = shown.getByRole('region', { name: 'Labels' }).getByRole('listitem');
    expect(await labels.allInnerTexts()).toEqual(
      ['blue', 'green', 'red'].map((label) => expect.stringMatching(new RegExp(`^${label}\\s+4$`))),
    );
    await screenshot(shown, 'pictures');
    const { id } = await api.post<JobObject>('/fine_tuning/jobs', {
      model: 'vit',
      training_file: file.id,
      validation_file: file.id,
      suffix: 'colours',
      graft: { task: 'image_cls' },
    });
    const lease = await worker.nextAssignment();
    await worker.report(lease, started(0, 1), step(1), evaluatedWithConfusion(1, 0.5, TOLD));
    await worker.finish(lease, 1);
    const page = await tabs.open(`/jobs/${id}`);
    await page.getByRole('tab', { name: 'Labels' }).click();
    const matrix = page.getByRole('region', { name: 'Confusion matrix' });
    await matrix.getByTitle('1 of 4 “green” predicted as “blue”').waitFor();
    await page.getByRole('row', { name: /^green 4 100\.0 % 75\.0 % 85\.7 %/ }).waitFor();
    await screenshot(page, 'confusion');
    // With the keyboard only.
    const cell = matrix.getByRole('button', { name: '1 of 4 “green” predicted as “blue”' });
    await cell.focus();
    await page.keyboard.press('Enter');
    const ofCell = page.getByRole('region', { name: 'Examples in this cell' });
    await ofCell.getByRole('img', { name: 'green, line 2' }).waitFor();
    expect(await cell.getAttribute('aria-expanded')).toBe('true');
    await page.keyboard.press('Tab');
    await matrix.getByRole('button', { name: '4 of 4 “blue” predicted correctly' }).click();
    await ofCell.getByRole('img', { name: 'blue, line 3' }).waitFor();
    await ofCell.getByRole('img', { name: 'blue, line 6' }).waitFor();
    await ofCell.getByText('the first 2 of 4').waitFor();
    for (const [width, colorScheme] of [
      [1280, 'light'],
      [1280, 'dark'],
      [390, 'light'],
      [390, 'dark'],
    ] as const) {
      await page.setViewportSize({ width, height: 844 });
      await page.emulateMedia({ colorScheme });
      // Not covered by the sticky header.
      await page.evaluate(() => scrollTo(0, 0));
      const wrong = [tooWide, overlapping, unreadable].map((look) => look(page));
      expect((await Promise.all(wrong)).flat()).toEqual([]);
      await screenshot(page, `confusion-examples-${width}-${colorScheme}`);
    }
    await page.setViewportSize({ width: 1280, height: 900 });
    await page.emulateMedia({ colorScheme: 'light' });
    await ofCell.getByRole('link', { name: '6', exact: true }).click();
    await page.waitForURL(/\/files\/.*after=5/);
    await page.goBack();
    await page.getByRole('link', { name: 'Classify with it' }).click();
    const red = { name: 'a.png', mimeType: 'image/png', buffer: colourPng('red', 1) };
    await page.getByLabel('Choose images').setInputFiles([red]);
    await answer(1, () => [
      { label: 'red', probabilities: { blue: 0.0625, green: 0.125, red: 0.8125 } },
    ]);
    const said = page.getByRole('status', { name: 'Answers' });
    await said.getByText('81.3 %').first().waitFor();
    await said.getByRole('img', { name: 'a.png' }).waitFor();
    await screenshot(page, 'picture-labels');
    // As large as photos of a phone.
    const buffer = Buffer.concat([red.buffer, Buffer.alloc(4 << 20)]);
    await page.getByLabel('Choose images').setInputFiles([{ ...red, name: 'b.png', buffer }]);
    await answer(1, () => [{ label: 'large', probabilities: { large: 1 } }]);
    await said.getByText('large').first().waitFor();
    expect(tabs.problems()).toEqual([]);
  });

  it('compares images by the embeddings of a base model', async () => {
    const page = await tabs.open('/chat?model=vit');
    const file = (name: string) => ({
      name,
      mimeType: 'image/png',
      buffer: colourPng('red', 1),
    });
    await page.getByLabel('Choose images').setInputFiles([file('first.png')]);
    await answer(1, () => [packed([1, 0])]);
    const said = page.getByRole('status', { name: 'Answers' });
    await said.getByText('1.000').waitFor();
    await page.getByLabel('Choose images').setInputFiles([file('second.png')]);
    await answer(1, () => [packed([0.6, 0.8])]);
    await said.getByRole('listitem').filter({ hasText: 'second.png' }).getByText('0.600').waitFor();
    await screenshot(page, 'picture-embeddings');
    expect(tabs.problems()).toEqual([]);
  });

  it('computes embeddings of a base model if selected', async () => {
    const page = await tabs.open('/models');
    const row = page.getByRole('row').filter({ hasText: 'finder' });
    await row.getByRole('link', { name: 'Embed' }).waitFor();
    await page.getByRole('row', { name: /^tiny/ }).getByRole('link', { name: 'Chat' }).click();
    await page.getByLabel('Message').waitFor();
    await page.getByRole('radio', { name: 'Embeddings' }).click();
    await page.getByRole('textbox', { name: 'Texts' }).fill('one\ntwo');
    await page.getByRole('button', { name: 'Compare texts' }).click();
    const { id } = await worker.nextRequest();
    worker.sendText(id, '', 'error', 'no_memory');
    await page.getByText('refused by a test').waitFor();
  });
});
