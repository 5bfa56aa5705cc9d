#!/usr/bin/env node
// Lighthouse on pages of the dashboard with real runs, for desktop and phone:
//   npx vite build apps/dashboard && node test/bench/lighthouse.mjs [--pages jobs,chat] [--base FOLDER]
//     [--browser /usr/bin/chromium]
// Prints for each page the scores and the bytes that were transferred, and the failed audits of all categories but
// performance. The exit code is 1 if one of these is below 95. Performance is only valid if the load before is near 0. Lighthouse is installed
// from npm into .cache: with its dependencies it has 185 MB, which is too much for a dependency of the repository.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { startInstallation, trainOnMails } from './mail-runs.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** The last version that runs on Node 20. */
const VERSION = '12.8.2';
const FOLDER = join(ROOT, `.cache/lighthouse-${VERSION}`);
const CATEGORIES = ['accessibility', 'best-practices', 'seo', 'performance'];
const LEAST = 0.95;
/** Pages with an event stream never become idle; their first paint is much earlier than this limit. */
const LONGEST_MS = 15_000;

const { values: options } = parseArgs({
  options: {
    pages: { type: 'string' },
    base: { type: 'string', default: join(ROOT, 'examples/tiny-base') },
    browser: { type: 'string', default: '/usr/bin/chromium' },
  },
});

function fetched() {
  if (existsSync(FOLDER)) return;
  const scratch = `${FOLDER}.tmp-${process.pid}`;
  mkdirSync(scratch, { recursive: true });
  try {
    writeFileSync(join(scratch, 'package.json'), '{ "private": true }');
    const flags = ['--omit=optional', '--ignore-scripts', '--no-audit', '--no-fund'];
    const { status, stderr } = spawnSync('npm', ['install', ...flags, `lighthouse@${VERSION}`], {
      cwd: scratch,
      encoding: 'utf8',
    });
    if (status !== 0) throw new Error(`cannot install lighthouse: ${stderr}`);
    renameSync(scratch, FOLDER);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

const ofLighthouse = (path) => import(pathToFileURL(join(FOLDER, 'node_modules', path)).href);

const pagesOf = ({ base, jobs, train: file, sweep }) => ({
  jobs: '/',
  job: `/jobs/${jobs[0]}`,
  'new job': '/new',
  models: '/models',
  chat: `/chat?model=${base}`,
  files: '/files',
  file: `/files/${file}`,
  sweep: `/sweeps/${sweep}`,
  compare: `/compare?jobs=${jobs.join()}`,
  cluster: '/cluster',
});

const mark = (score) => (score === null ? '–' : String(Math.round(100 * score)));

/** Audits that reduce a category's score: those with a weight that did not pass. */
const faults = (lhr, category) =>
  lhr.categories[category].auditRefs
    .map(({ id, weight }) => ({ ...lhr.audits[id], weight }))
    .filter(({ weight, score }) => weight > 0 && score !== null && score < 1);

/** A page without API requests, or with a 401 response, is the sign-in page. */
function checkSignedIn(lhr, page) {
  const requests = lhr.audits['network-requests'].details.items;
  const answers = requests.filter(({ url }) => new URL(url).pathname.startsWith('/v1/'));
  if (!answers.some(({ statusCode }) => statusCode === 200) || answers.some(({ statusCode }) => statusCode === 401)) throw new Error(`${page}: not signed in`); // prettier-ignore
}

/** Sum of all responses of the first visit, as transferred. */
function kilobytes(lhr) {
  const { items } = lhr.audits['network-requests'].details;
  return Math.round(items.reduce((sum, { transferSize = 0 }) => sum + transferSize, 0) / 1000);
}

async function measure(url, { apiKey, port, config, lighthouse, page }) {
  const flags = { port, logLevel: 'error', onlyCategories: CATEGORIES, maxWaitForLoad: LONGEST_MS };
  // The page removes the key from the URL after reading it, as with the link that graft up prints.
  const { lhr } = await lighthouse(`${url}#key=${encodeURIComponent(apiKey)}`, flags, config);
  if (lhr.runtimeError) throw new Error(`${page}: ${lhr.runtimeError.message}`);
  checkSignedIn(lhr, page);
  return lhr;
}

fetched();
const { default: lighthouse, desktopConfig } = await ofLighthouse('lighthouse/core/index.js');
const { launch } = await ofLighthouse('chrome-launcher/dist/index.js');
const home = mkdtempSync(join(tmpdir(), 'graft-lighthouse-'));
const here = await startInstallation(home);
let chrome = null;
try {
  const what = { base: 'base', folder: resolve(options.base), mails: 64, steps: 24 };
  const pages = pagesOf(await trainOnMails(here, what));
  const wanted = options.pages?.split(',') ?? Object.keys(pages);
  const chromeFlags = ['--headless=new', '--no-sandbox', '--disable-gpu'];
  chrome = await launch({ chromePath: options.browser, chromeFlags, logLevel: 'error' });
  console.log(`Lighthouse ${VERSION}, load before: ${loadavg()[0].toFixed(2)}\n`);
  console.log('| page, as | accessibility | best practices | SEO | performance | first contentful, largest paint | blocked | layout shift | kB |'); // prettier-ignore
  console.log('|---|---|---|---|---|---|---|---|---|');
  const short = [];
  for (const page of wanted) {
    for (const [as, config] of [['desktop', desktopConfig], ['phone']]) {
      const { apiKey } = here;
      const url = here.url + pages[page];
      const lhr = await measure(url, { apiKey, port: chrome.port, config, lighthouse, page });
      const marks = CATEGORIES.map((category) => mark(lhr.categories[category].score));
      const shown = (id) => lhr.audits[id].displayValue?.replaceAll('\u00a0', ' ') ?? '–';
      const paints = `${shown('first-contentful-paint')}, ${shown('largest-contentful-paint')}`;
      console.log(`| ${page}, ${as} | ${marks.join(' | ')} | ${paints} | ${shown('total-blocking-time')} | ${shown('cumulative-layout-shift')} | ${kilobytes(lhr)} |`); // prettier-ignore
      for (const category of CATEGORIES.slice(0, -1)) {
        if ((lhr.categories[category].score ?? 0) < LEAST) process.exitCode = 1;
        for (const { id, title, details } of faults(lhr, category)) {
          const where = details?.items?.map(
            ({ node, description }) => node?.snippet ?? description,
          );
          short.push(`${page}, ${as}: ${id}: ${title} ${where?.filter(Boolean).join(' | ') ?? ''}`);
        }
      }
    }
  }
  console.log(`\nload after: ${loadavg()[0].toFixed(2)}`);
  if (short.length > 0) console.log(`\n${short.join('\n')}`);
} finally {
  chrome?.kill();
  await here.stop();
  rmSync(home, { recursive: true, force: true });
}
