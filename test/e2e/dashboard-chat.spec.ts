// The chat page: its settings reach the model, answers are rendered as Markdown only, and the
// generated code repeats the request.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AxeResults } from 'axe-core';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { importBase, startTestApi, type TestApi } from '../../apps/api/test/fixture.js';
import { ScriptedWorker } from '../../apps/api/test/scripted-worker.js';
import { buildDashboard, findBrowser, screenshot, startBrowser, Tabs } from './browser.js';
import { overlapping, tooWide, unreadable } from './looks.js';

const program = findBrowser();
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

let dir: string;
let api: TestApi;
let browser: Browser;
let tabs: Tabs;
let worker: ScriptedWorker;

const ANSWER = `## Plan

1. *Look* at [the docs](https://example.org/a)
2. Run \`npm test\`

| name | value |
|---|---|
| rank | 16 |

\`\`\`ts
const a: number = 1;
\`\`\`

<img src=x onerror="document.title='owned'"><b id="raw">raw</b> ![an image](https://example.org/p.png)
[bad](javascript:alert(1))`;

async function faults(page: Page): Promise<string[]> {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() =>
    (window as unknown as { axe: { run(): Promise<AxeResults> } }).axe.run(),
  );
  const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join()}`);
  return [...found, ...(await tooWide(page)), ...(await overlapping(page)), ...(await unreadable(page))]; // prettier-ignore
}

describe.skipIf(!program)('the chat in the dashboard', () => {
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'graft-chat-'));
    buildDashboard(join(dir, 'built'));
    api = await startTestApi({ dashboardDir: join(dir, 'built'), leaseMs: 120_000 });
    await importBase(api);
    await importBase(api, 'other');
    worker = await new ScriptedWorker(api).connect();
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
    if (task.result?.state === 'fail') await tabs.screenshots('failed-chat');
    await tabs.close();
  });

  it('sends the settings to two models, and shows their speed', async () => {
    const page = await tabs.open('/chat?model=tiny', { viewport: { width: 1440, height: 900 } });
    await page.getByRole('button', { name: 'Compare', exact: true }).click();
    await page.getByRole('combobox', { name: 'Compare with' }).waitFor();
    await page.getByRole('button', { name: /^Settings/ }).click();
    await page.getByLabel('System prompt').fill('Be brief.');
    await page.getByLabel('Temperature', { exact: true }).fill('0.7');
    await page.getByLabel('Top-p', { exact: true }).fill('0.9');
    await page.getByLabel('Maximum length', { exact: true }).fill('99');
    await page.getByLabel('Seed', { exact: true }).fill('5');
    await page.getByLabel('Stop at').fill('END\nSTOP');
    await page.getByRole('radio', { name: 'JSON schema' }).click();
    const schema = page.getByRole('textbox', { name: 'JSON schema' });
    await schema.fill('{"type":"frog"');
    await page.getByText('A setting is not valid').waitFor();
    await page.getByLabel('Message').fill('How?');
    expect(await page.getByRole('button', { name: 'Send' }).isDisabled()).toBe(true);
    await schema.fill('{"type":"object"}');
    await page.getByRole('button', { name: 'Code', exact: true }).click();
    const drawer = page.getByRole('dialog', { name: 'Code' });
    const code = await drawer.locator('pre').textContent();
    await page.keyboard.press('Escape');
    await page.getByLabel('Message').press('Enter');
    const questions = [await worker.nextRequest(), await worker.nextRequest()];
    expect(questions.map(({ base }) => base?.id).sort()).toEqual(['other', 'tiny']);
    for (const question of questions) {
      expect(question).toMatchObject({
        top_p: 0.9,
        max_tokens: 99,
        seed: 5,
        stop: ['END', 'STOP'],
      });
      expect(question.temperature).toBeCloseTo(0.7);
      expect(question.response_format).toMatchObject({ schema: { type: 'object' } });
      const { messages } = question;
      expect(messages).toEqual([
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: 'How?' },
      ]);
      const sent = JSON.parse(/-d '(.*)'/s.exec(code ?? '')?.[1] ?? '') as object;
      expect(sent).toMatchObject({ messages, seed: 5, top_p: 0.9, max_tokens: 99, model: 'tiny' });
      worker.sendText(question.id, '{"a": 1', '', '', 3);
      worker.sendText(question.id, '}', 'stop', '', 4);
    }
    const tiny = page.getByRole('article', { name: 'Answer of tiny' });
    await tiny.getByText(/^4 tokens · [\d.]+ tokens\/s · first after \d+\.\d\d s$/).waitFor();
    await screenshot(page, 'chat-two-models');
    await page.getByRole('button', { name: 'Stop comparing' }).click();
    await page.getByRole('article', { name: 'Answer of other' }).waitFor({ state: 'detached' });
    await page.reload();
    expect(await page.getByLabel('Seed', { exact: true }).inputValue()).toBe('5');
    await page.getByRole('button', { name: 'Reset settings' }).click();
    expect(tabs.problems()).toEqual([]);
  });

  it('renders Markdown, but no HTML, images or scripts', { timeout: 120_000 }, async () => {
    const page = await tabs.open('/chat?model=tiny', { viewport: { width: 1440, height: 900 } });
    const asked: string[] = [];
    page.on('request', (request) => asked.push(request.url()));
    await page.getByLabel('Message').fill('Show it');
    await page.getByRole('button', { name: 'Send' }).click();
    worker.sendText((await worker.nextRequest()).id, ANSWER, 'stop', '', 60);
    const answer = page.getByRole('article', { name: 'Answer of tiny' });
    await answer.locator('table td', { hasText: '16' }).waitFor();
    await answer.locator('pre', { hasText: 'const a: number = 1;' }).waitFor();
    expect(await answer.locator('li').count()).toBe(2);
    expect(await answer.locator('img, #raw, [onerror]').count()).toBe(0);
    expect(await answer.getByText('<img src=x').count()).toBe(1);
    const links = await answer.locator('a').evaluateAll((all) => all.map((a) => [a.textContent, a.getAttribute('href'), a.getAttribute('rel')])); // prettier-ignore
    expect(links[0]).toEqual(['the docs', 'https://example.org/a', 'noopener noreferrer nofollow']);
    expect(links.flat().join()).not.toContain('javascript:');
    expect(asked.filter((url) => url.includes('example.org'))).toEqual([]);
    const wrong: Record<string, string[]> = {};
    for (const [width, colorScheme] of [
      [1440, 'light'],
      [1440, 'dark'],
      [390, 'light'],
      [320, 'light'],
      [390, 'dark'],
    ] as const) {
      await page.setViewportSize({ width, height: 900 });
      await page.emulateMedia({ colorScheme });
      await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(resolve)));
      const found = await faults(page);
      if (found.length > 0) wrong[`${width} ${colorScheme}`] = found;
      await screenshot(page, `workbench-${width}-${colorScheme}`);
    }
    expect(wrong).toEqual({});
    await page.setViewportSize({ width: 1440, height: 900 });
    await page.getByRole('button', { name: /^Settings/ }).click();
    await page.getByLabel('as Markdown').uncheck();
    expect(await answer.textContent()).toContain('## Plan');
    expect(tabs.problems()).toEqual([]);
  });

  it('shows calls of tools, takes their results, and edits and repeats messages', async () => {
    const page = await tabs.open('/chat?model=tiny&with=none');
    await page.getByRole('button', { name: /^Settings/ }).click();
    const tools = page.getByRole('textbox', { name: 'Tools' });
    await page.locator('.field', { has: tools }).getByText('Insert an example').click();
    await page.getByLabel('with token probabilities').check();
    await page.getByLabel('Message').fill('Weather in Oslo?');
    await page.getByLabel('Message').press('Enter');
    const first = await worker.nextRequest();
    expect(first).toMatchObject({ top_logprobs: 5 });
    expect(first.tools?.tools[0]?.function.name).toBe('get_weather');
    const call = { name: 'get_weather', arguments: '{"city":"Oslo"}' };
    const usage = { prompt_tokens: 5, completion_tokens: 9 };
    worker.reply(first.id, { text: '', finish_reason: 'stop', tool_calls: [call], ...usage });
    await page.getByRole('region', { name: 'Call of get_weather' }).getByText('"Oslo"').waitFor();
    await page.getByLabel('Result of get_weather').fill('4 degrees');
    await page.getByRole('button', { name: 'Send result' }).click();
    const second = await worker.nextRequest();
    expect(second.messages?.at(-1)).toMatchObject({ role: 'tool', content: '4 degrees' });
    const token = (text: string, start: number, logprob: number) => ({
      token: text,
      bytes: [...Buffer.from(text)],
      logprob,
      start,
      top: [
        { token: text, bytes: [...Buffer.from(text)], logprob },
        { token: ' warm', bytes: [...Buffer.from(' warm')], logprob: Math.log(0.25) },
      ],
    });
    const logprobs = [token('It is', 0, -0.01), token(' cold', 5, Math.log(0.5))];
    worker.reply(second.id, { text: 'It is cold', finish_reason: 'stop', logprobs, ...usage });
    await page.getByRole('button', { name: '␣cold, 50.0 %' }).focus();
    const alternatives = page.getByRole('list', { name: 'Alternatives' });
    await alternatives.getByText('␣warm').waitFor();
    await alternatives.getByText('25.0 %').waitFor();
    await screenshot(page, 'chat-tools');
    await page.getByRole('button', { name: 'Regenerate' }).click();
    const third = await worker.nextRequest();
    expect(third.messages).toEqual(second.messages);
    worker.sendText(third.id, 'Cold.', 'stop', '', 2);
    await page.getByText('Cold.', { exact: true }).waitFor();
    await page.getByRole('button', { name: 'Edit message' }).click();
    await page.getByLabel('Edited message').fill('Weather in Rome?');
    await page.getByRole('button', { name: 'Send again' }).click();
    const fourth = await worker.nextRequest();
    expect(fourth.messages).toEqual([{ role: 'user', content: 'Weather in Rome?' }]);
    worker.sendText(fourth.id, 'W', '', '', 1);
    await page.getByText('W', { exact: true }).waitFor();
    await page.getByRole('button', { name: 'Stop' }).click();
    await page.getByText('Stopped.').waitFor();
    expect(tabs.problems()).toEqual([]);
  });
});
