#!/usr/bin/env node
// Creates the images of README.md and docs: screenshots of a real installation with real runs on the
// example's mails. They are WebP files in docs/images, 1440 pixels wide, at most 120 kB each:
//   npx vite build apps/dashboard && node test/docs/screenshots.mjs --base FOLDER [--home DIR] [--only job,chat]
//     [--out docs/images] [--browser /usr/bin/chromium]
// FOLDER contains SmolLM2-135M-Instruct from Hugging Face. The trained models stay in --home, so that new
// screenshots do not train again. Without --home, a temporary folder is used and deleted. Takes a few minutes
// on two idle cores.
/* global document, requestAnimationFrame -- the page's */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';
import { startInstallation, trainOnMails } from '../bench/mail-runs.mjs';

const { values: options } = parseArgs({
  options: {
    base: { type: 'string' },
    home: { type: 'string' },
    only: { type: 'string' },
    out: { type: 'string', default: fileURLToPath(new URL('../../docs/images', import.meta.url)) },
    browser: { type: 'string', default: '/usr/bin/chromium' },
  },
});
if (!options.base) throw new Error('--base FOLDER is missing: the folder of SmolLM2-135M-Instruct');
const WIDTH = 1440;
const MOST_BYTES = 120_000;

/** Asks the adapter and its base model the same question. */
async function ask(page, asked) {
  const content = (role) => asked.find((message) => message.role === role).content;
  await page.getByRole('button', { name: /^Settings/ }).click();
  await page.getByLabel('System prompt').fill(content('system'));
  await page.getByLabel('Temperature', { exact: true }).fill('0');
  await page.getByLabel('Maximum length', { exact: true }).fill('48');
  await page.getByRole('button', { name: /^Settings/ }).click();
  await page.getByLabel('Message').fill(content('user').replaceAll(/\s+/g, ' '));
  await page.getByRole('button', { name: 'Send' }).click();
  await page.getByRole('button', { name: 'Regenerate' }).nth(1).waitFor({ timeout: 120_000 });
}

/** Asks the suggested prompt at the newest checkpoint. */
async function replay(page) {
  await page.waitForFunction(() => document.querySelector('#replay-prompt').value !== '');
  await page.getByRole('button', { name: 'Ask' }).click();
  const answer = page.getByRole('status', { name: 'Answer' }).locator('.pre');
  await answer.waitFor({ timeout: 120_000 });
}

/** Screens by name: path, height, sign that the page has loaded, and preparation. */
const screensOf = ({ train, jobs, sweep, asked, models }) => ({
  jobs: ['/', 760, 'tbody tr'],
  'new-job': [`/new?training_file=${train}`, 900, '[aria-label="Length"] .radio-cards'],
  job: [`/jobs/${jobs[0]}`, 900, '.chart canvas'],
  replay: [`/jobs/${jobs[0]}?tab=replay`, 760, '#replay-prompt', replay],
  samples: [`/jobs/${jobs[0]}?tab=samples`, 760, 'tbody tr'],
  sweep: [`/sweeps/${sweep}`, 900, '.chart canvas'],
  chat: [
    `/chat?model=${encodeURIComponent(models[0])}`,
    760,
    '.composer',
    (page) => ask(page, asked[0]),
  ],
  file: [`/files/${train}`, 900, '.example'],
  cluster: ['/cluster', 760, '.slot'],
});

/** Waits for fonts, for animations, and for two frames, after which charts are drawn. */
async function settled(page) {
  await page.evaluate(async () => {
    await document.fonts.ready;
    for (let n = 0; n < 2; n++) await new Promise((done) => requestAnimationFrame(done));
  });
  await page.waitForTimeout(500);
}

async function take(page, name) {
  const session = await page.context().newCDPSession(page);
  for (let quality = 90; quality >= 50; quality -= 10) {
    const { data } = await session.send('Page.captureScreenshot', { format: 'webp', quality });
    const bytes = Buffer.from(data, 'base64');
    if (bytes.length > MOST_BYTES) continue;
    writeFileSync(join(options.out, `${name}.webp`), bytes);
    console.log(`${name}.webp: ${Math.round(bytes.length / 1000)} kB at quality ${quality}`);
    return;
  }
  throw new Error(`${name}: more than ${MOST_BYTES} bytes`);
}

mkdirSync(options.out, { recursive: true });
const home = options.home ? resolve(options.home) : mkdtempSync(join(tmpdir(), 'graft-pictures-'));
const here = await startInstallation(home);
let browser = null;
try {
  const base = 'SmolLM2-135M-Instruct';
  const what = { base, folder: resolve(options.base), mails: 128, steps: 32 };
  const runs = await trainOnMails(here, what);
  const models = [];
  for (const id of runs.jobs)
    models.push((await here.call('GET', `/fine_tuning/jobs/${id}`)).fine_tuned_model);
  const screens = screensOf({ ...runs, models });
  const args = ['--no-sandbox', '--disable-gpu'];
  browser = await chromium.launch({ executablePath: options.browser, args });
  for (const name of options.only?.split(',') ?? Object.keys(screens)) {
    const [path, height, ready, first] = screens[name];
    const viewport = { width: WIDTH, height };
    const page = await browser.newPage({ viewport, colorScheme: 'light' });
    await page.goto(`${here.url}${path}#key=${encodeURIComponent(here.apiKey)}`);
    await page.locator(ready).first().waitFor();
    await page.getByText(/slots busy/).waitFor(); // the worker is online
    await first?.(page);
    await settled(page);
    await take(page, name);
    await page.close();
  }
} finally {
  await browser?.close();
  await here.stop();
  if (!options.home) rmSync(home, { recursive: true, force: true });
}
