// Training data in the dashboard: the report of an upload, and the page of a file.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  answer,
  buildDashboard,
  findBrowser,
  screenshot,
  rows,
  startBrowser,
  Tabs,
  text,
  choose,
} from './browser.js';
import { Installation, until } from './installation.js';
import { tooWide, unreadable } from './looks.js';

const program = findBrowser();
const SCRIPT = '<img src=x onerror=window.hacked=1>';

let dir: string;
let graft: Installation;
let browser: Browser;
let tabs: Tabs;

const chat = (question: string, answer: string, more: object = {}): string =>
  JSON.stringify({
    messages: [
      { role: 'system', content: 'You are the desk of a small library. Answer in one sentence.' },
      { role: 'user', content: question },
      { role: 'assistant', content: answer },
    ],
    ...more,
  });

/** 46 lines: a duplicate at 30, a tool call at 2, a pair at 3, a long text at 4, a script at 5. */
function library(): string[] {
  const lines = Array.from({ length: 46 }, (_, n) =>
    chat(
      `Is the library open on day ${n + 1} of the month?`,
      `Yes, from nine until ${n % 2 ? 'five' : 'six'}.`,
    ),
  );
  const tool = { type: 'function', function: { name: 'find_book', parameters: {} } };
  const call = {
    id: 'c1',
    type: 'function',
    function: { name: 'find_book', arguments: '{"title":"Emma"}' },
  };
  lines[1] = JSON.stringify({
    tools: [tool],
    messages: [
      { role: 'user', content: 'Do you have Emma?' },
      { role: 'assistant', tool_calls: [call] },
      { role: 'tool', content: '2 copies', tool_call_id: 'c1' },
      { role: 'assistant', content: 'Yes: two copies, on shelf 12.' },
      { role: 'user', content: 'Wonderful!' },
      { role: 'assistant', content: '🙂', weight: 0 },
    ],
    parallel_tool_calls: false,
  });
  lines[2] = JSON.stringify({ prompt: 'A book by Jane Austen: ', completion: 'Persuasion' });
  lines[3] = JSON.stringify({ text: 'It is a truth universally acknowledged. '.repeat(90) });
  lines[4] = chat(SCRIPT, SCRIPT);
  lines[29] = lines[20]!;
  return lines;
}

async function upload(name: string, content: string): Promise<string> {
  const file = new File([content], name);
  return (await graft.openai.files.create({ file, purpose: 'fine-tune' })).id;
}

const open = (...where: Parameters<Tabs['open']>): Promise<Page> => tabs.open(...where);
const examples = (page: Page) => page.getByRole('region', { name: 'Examples' }).locator('li');
const figures = async (page: Page): Promise<string[]> => {
  const report = page.getByLabel('Report', { exact: true });
  await report.waitFor();
  return report
    .locator('div')
    .evaluateAll((boxes) =>
      boxes.map((box) => [...box.children].map((part) => part.textContent).join(' ')),
    );
};

describe.skipIf(!program)('files in the dashboard', () => {
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'graft-dashboard-files-'));
    buildDashboard(join(dir, 'built'));
    graft = await Installation.start({ dashboardDir: join(dir, 'built') });
    await graft.importTinyBase();
    browser = await startBrowser();
    tabs = new Tabs(browser, graft.where);
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

  it('shows the examples of a file', async () => {
    const path = join(dir, 'library desk.jsonl');
    writeFileSync(path, `${library().join('\n')}\n`);
    const page = await open('/files');
    await text(page, 'No files yet');
    await page.getByLabel('Files to upload').setInputFiles([path]);
    await text(page, '44 chats, 1 prompt with its completion, 1 plain text');
    await text(page, '1 record repeats an earlier one: line 30.');
    await rows(page).getByRole('link', { name: '3 warnings' }).waitFor();
    await screenshot(page, 'files-uploaded');
    await rows(page).getByRole('link', { name: 'library desk.jsonl', exact: true }).click();
    await page.getByRole('heading', { name: 'library desk.jsonl' }).waitFor();
    expect(await figures(page)).toEqual([
      'Examples 46',
      'Chats 44',
      'Prompt with its completion 1',
      'Plain text 1',
      'Duplicates 1',
      'Longest 3.6 kB line 4',
      'Fits 1 causal_lm',
      expect.stringMatching(/^Size [\d.]+ kB$/),
      expect.stringMatching(/^Added (just now|\d+ (s|min) ago)$/),
    ]);
    await text(page, 'Training ignores the field "parallel_tool_calls", which 1 record has.');
    await until('a page of examples', async () => (await examples(page).count()) === 20);
    expect(await page.title()).toBe('library desk.jsonl · Graft');

    const second = examples(page).nth(1);
    expect(await second.locator('.record-turn').allInnerTexts()).toEqual([
      'user\nDo you have Emma?',
      'assistant\n→ find_book({"title":"Emma"})',
      'tool\n2 copies',
      'assistant\nYes: two copies, on shelf 12.',
      'user\nWonderful!',
      'assistant (not trained on)\n🙂',
    ]);
    expect(await second.locator('.target').count()).toBe(2);
    await second.getByText('1 tool offered: find_book').waitFor();
    const long = examples(page).nth(3);
    await long.getByRole('button', { name: 'Show all 3,600 characters' }).click();
    expect((await long.locator('.pre').textContent())?.length).toBe(3600);
    await examples(page).nth(4).getByText(SCRIPT).first().waitFor();
    await screenshot(page, 'file');

    await page.getByRole('link', { name: 'Line 30, a duplicate' }).click();
    await examples(page).first().getByText('day 21 of the month').waitFor();
    await text(page, 'lines 30–46 of 46 examples');
    await page.goBack();
    await page.getByRole('button', { name: 'Next' }).click();
    await text(page, 'lines 21–40 of 46 examples');
    await page.reload();
    await text(page, 'lines 21–40 of 46 examples');
    await page.getByRole('button', { name: 'Next' }).click();
    await text(page, 'lines 41–46 of 46 examples');
    expect(await page.getByRole('button', { name: 'Next' }).isDisabled()).toBe(true);
    expect(await page.evaluate(() => 'hacked' in window)).toBe(false);
    expect(tabs.problems()).toEqual([]);
  });

  it('links to a new job, lists the jobs that use it, and warns before deleting', async () => {
    const chat = (n: number) => [
      { role: 'user', content: `${n} + 1?` },
      { role: 'assistant', content: `${n + 1}` },
    ];
    const lines = Array.from({ length: 12 }, (_, n) => JSON.stringify({ messages: chat(n) }));
    const id = await upload('twelve.jsonl', lines.join('\n'));
    await graft.createJob({ model: 'tiny', training_file: id, suffix: 'opening hours' });
    const page = await open(`/files/${id}`);
    const jobs = page.getByRole('region', { name: 'Jobs' });
    await jobs.getByRole('link', { name: 'opening hours' }).waitFor();
    await screenshot(page, 'file-used');
    const train = page.getByRole('link', { name: 'Train on it' });
    expect(await train.getAttribute('href')).toBe(`/new?training_file=${id}`);
    await page.getByText('Chats', { exact: true }).waitFor();
    await choose(page, 'Actions for twelve.jsonl', 'Delete…');
    const asked = await answer(page);
    await page.getByRole('alert').filter({ hasText: 'is in use by ftjob-' }).waitFor();
    expect(asked).toBe(
      'Delete twelve.jsonl with its 12 chats? This cannot be undone. Models and metrics of the 1 job that used it are kept.',
    );
    const job = (await graft.openai.fineTuning.jobs.list()).data[0]!;
    await graft.openai.fineTuning.jobs.cancel(job.id);
    await choose(page, 'Actions for twelve.jsonl', 'Delete…');
    await answer(page);
    await page.waitForURL(/\/files$/);
    expect(tabs.problems(/status of 409/)).toEqual([]);
  });

  it('shows the lines that make a file unusable, and deletes such files', async () => {
    const lines = library().slice(5, 9);
    const id = await upload(
      'mistaken.jsonl',
      [...lines, ...Array(14).fill('{"text":1}'), 'no JSON'].join('\n'),
    );
    const page = await open('/files');
    await rows(page)
      .filter({ hasText: 'mistaken' })
      .getByText('lines 5–18: "text" must be a string')
      .waitFor();
    await screenshot(page, 'files-unusable');
    await page.goto(`${graft.where.url}/files/${id}`);
    const problems = page
      .getByRole('alert')
      .filter({ hasText: 'cannot be used' })
      .getByRole('listitem');
    await problems.first().waitFor();
    expect(await problems.allTextContents()).toEqual([
      'lines 5–18: "text" must be a string',
      expect.stringMatching(/^line 19: not valid JSON/),
    ]);
    await until('all lines', async () => (await examples(page).count()) === 19);
    expect(await examples(page).nth(4).textContent()).toContain(
      '"text" must be a string{"text":1}',
    );
    expect(await page.getByRole('link', { name: 'Train on it' }).count()).toBe(0);
    await screenshot(page, 'file-unusable');
    await page.goto(`${graft.where.url}/files`);
    await page.getByRole('button', { name: 'Delete it' }).click();
    await answer(page);
    await until(
      'it to be gone',
      async () => (await rows(page).filter({ hasText: 'mistaken' }).count()) === 0,
    );
    await page.goto(`${graft.where.url}/files/${id}`);
    await page.getByRole('alert').filter({ hasText: 'No such File' }).waitFor();
    expect(tabs.problems(/status of 404/)).toEqual([]);
  });

  it('asks for the columns of a table', async () => {
    const path = join(dir, 'fragen.csv');
    const table = Array.from({ length: 12 }, (_, n) => `${n},Was ist ${n} + 1?,${n + 1}\n`).join(
      '',
    );
    writeFileSync(path, `nr,frage,antwort\n${table}`);
    const page = await open('/files');
    await page.getByLabel('Files to upload').setInputFiles([path]);
    const form = page.getByRole('region', { name: 'Columns of fragen.csv' });
    const column = (part: string) => form.getByLabel(part, { exact: true });
    expect(await column('prompt').inputValue()).toBe('frage');
    // One click for each column makes it a table of labeled texts, and a second one swaps them.
    const use = (name: string) => form.getByRole('button', { name, exact: true });
    await use('Use antwort as label').click();
    await use('Use frage as text').click();
    expect(await form.getByLabel('Record format').inputValue()).toBe('classification');
    expect(await column('label').inputValue()).toBe('antwort');
    await use('Use frage as label').click();
    expect(await column('text').inputValue()).toBe('antwort');
    expect(await use('Use frage as label').getAttribute('aria-pressed')).toBe('true');
    await screenshot(page, 'files-columns-uses');
    for (const width of [390, 1440]) {
      await page.setViewportSize({ width, height: 900 });
      expect(await tooWide(page)).toEqual([]);
    }
    await form.getByLabel('Record format').selectOption('Prompts with completions');
    await column('prompt').selectOption('frage');
    await column('completion').selectOption('frage');
    expect(await form.getByRole('button', { name: /^Use (this|these) column/ }).isDisabled()).toBe(
      true,
    );
    await column('completion').selectOption('antwort');
    await screenshot(page, 'files-columns');
    await form.getByRole('button', { name: /^Use (this|these) column/ }).click();
    await text(page, '12 prompts with completions, read from CSV');
    await rows(page).getByRole('link', { name: 'fragen.csv', exact: true }).click();
    await examples(page).first().getByText('Was ist 0 + 1?').waitFor();
    expect(await figures(page)).toContainEqual(expect.stringMatching(/^Size .* read from CSV$/));
    expect(tabs.problems(/status of 400/)).toEqual([]);
  });

  it('accepts a table of texts with labels, whatever its columns are called', async () => {
    const path = join(dir, 'tickets.csv');
    const lines = Array.from({ length: 12 }, (_, n) => `Ticket ${n},${n % 3}\n`).join('');
    writeFileSync(path, `message,category\n${lines}`);
    const page = await open('/files');
    await page.getByLabel('Files to upload').setInputFiles([path]);
    const form = page.getByRole('region', { name: 'Columns of tickets.csv' });
    // The API's suggestion is preselected.
    const column = (part: string) => form.getByLabel(part, { exact: true }).inputValue();
    expect(await form.getByLabel('Record format').inputValue()).toBe('classification');
    expect(await Promise.all(['text', 'label', 'text_pair'].map(column))).toEqual([
      'message',
      'category',
      '',
    ]);
    await screenshot(page, 'files-columns-labels');
    await form.getByRole('button', { name: /^Use (this|these) column/ }).click();
    await text(page, /12 labeled texts.* read from CSV/);
    expect(tabs.problems(/status of 400/)).toEqual([]);
  });

  it('asks about a column of plain texts that looks like labels', async () => {
    const path = join(dir, 'text-category.csv');
    const lines = Array.from({ length: 12 }, (_, n) => `Ticket ${n},${n % 3}\n`).join('');
    writeFileSync(path, `text,category\n${lines}`);
    const page = await open('/files');
    await page.getByLabel('Files to upload').setInputFiles([path]);
    const form = page.getByRole('region', { name: 'Columns of text-category.csv' });
    expect(await form.getByLabel('label', { exact: true }).inputValue()).toBe('category');
    await form.getByRole('button', { name: /^Use (this|these) column/ }).click();
    await text(page, /12 labeled texts.* read from CSV/);
    expect(tabs.problems(/status of 400/)).toEqual([]);
  });

  it('accepts a table in any record format, with optional fields', async () => {
    const path = join(dir, 'words.csv');
    const cell = (value: string) => `"${value.replaceAll('"', '""')}"`;
    const lines = Array.from(
      { length: 12 },
      (_, n) => `${cell(`["Ann","saw","${n}"]`)},${cell('["B-PER","O","O"]')},Was ist ${n}?\n`,
    );
    writeFileSync(path, `words,marks,frage\n${lines.join('')}`);
    const page = await open('/files');
    await page.getByLabel('Files to upload').setInputFiles([path]);
    const form = page.getByRole('region', { name: 'Columns of words.csv' });
    const ids = form.getByLabel('task_ids', { exact: true });
    await form.getByLabel('Record format').selectOption('Prompts with completions');
    expect(await ids.inputValue()).toBe('');
    const offered = await form.getByLabel('Record format').locator('option').allTextContents();
    expect(offered).toEqual(
      expect.arrayContaining([
        ...['Chats', 'Preferences', 'Rated chats', 'Questions with answers'],
        ...['Labeled images', 'Labeled audio clips', 'Audio clips with transcripts'],
      ]),
    );
    await form.getByLabel('Record format').selectOption('Sentences with tags');
    await form.getByLabel('tokens', { exact: true }).selectOption('words');
    await form.getByLabel('tags', { exact: true }).selectOption('marks');
    await screenshot(page, 'files-columns-tags');
    await form.getByRole('button', { name: /^Use (this|these) column/ }).click();
    await text(page, /12 sentences with tags, read from CSV/);
    expect(tabs.problems(/status of 400/)).toEqual([]);
  });

  it('accepts a table of one column as plain texts', async () => {
    const path = join(dir, 'strophen.csv');
    const lines = Array.from({ length: 12 }, (_, n) => `Strophe ${n} des Liedes\n`).join('');
    writeFileSync(path, `strophe\n${lines}`);
    const page = await open('/files');
    await page.getByLabel('Files to upload').setInputFiles([path]);
    const form = page.getByRole('region', { name: 'Columns of strophen.csv' });
    expect(await form.getByLabel('Record format').inputValue()).toBe('text');
    expect(await form.getByLabel('text', { exact: true }).inputValue()).toBe('strophe');
    await screenshot(page, 'files-columns-text');
    await form.getByRole('button', { name: /^Use (this|these) column/ }).click();
    await text(page, '12 plain texts, read from CSV');
    expect(tabs.problems(/status of 400/)).toEqual([]);
  });

  it('fits a phone, light and dark', async () => {
    const id = await upload('phone.jsonl', `${library().join('\n')}\n`);
    for (const colorScheme of ['light', 'dark'] as const)
      for (const width of [390, 1024]) {
        const page = await open(`/files/${id}`, { viewport: { width, height: 844 }, colorScheme });
        await until('the examples', async () => (await examples(page).count()) === 20);
        await screenshot(page, `file-${width}-${colorScheme}`);
        // On a phone the role is above the text, which has the full width.
        const said = examples(page).first().locator('.record-turn').first();
        const above = await said.evaluate(
          (element) =>
            element.querySelector('.who')!.getBoundingClientRect().bottom <=
            element.querySelector('.bubble')!.getBoundingClientRect().top,
        );
        expect(above).toBe(width === 390);
        expect(await tooWide(page)).toEqual([]);
        expect(await unreadable(page)).toEqual([]);
        await page.goto(`${graft.where.url}/files`);
        await rows(page).first().waitFor();
        await screenshot(page, `files-${width}-${colorScheme}`);
        expect(await tooWide(page)).toEqual([]);
        expect(await unreadable(page)).toEqual([]);
      }
    expect(tabs.problems()).toEqual([]);
  });
});
