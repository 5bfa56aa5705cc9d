#!/usr/bin/env node
// The job table with thousands of jobs: a real API on a real Postgres, and a real Chromium on the built dashboard:
//   npx vite build apps/dashboard && node test/bench/job-table.mjs [--jobs 5000] [--explain]
//     [--database postgres://postgres@127.0.0.1:5432] [--browser /usr/bin/chromium]
// Prints for each query of the job list the milliseconds of a request (median and worst of 30) and, with --explain,
// Postgres' plan; then, in Chromium, how long the page takes to show jobs, to sort, filter and search, to scroll
// through all jobs (with the number of rows in the page, and the longest time between two frames), and to archive a
// job. Times are only valid if the load before is near 0.
/* global Blob, FormData, URLSearchParams, document, innerHeight, requestAnimationFrame, scrollBy, scrollTo, scrollY -- Node's, and the page's */
import { randomUUID } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { startApi } from '@graft/api';
import pg from 'pg';
import { chromium } from 'playwright-core';
import { importTinyBase } from './tiny-base.mjs';

const DASHBOARD = fileURLToPath(new URL('../../apps/dashboard/dist', import.meta.url));
const REQUESTS = 30;
const DATA = Array.from({ length: 24 }, (_, n) =>
  JSON.stringify({
    messages: [
      { role: 'user', content: `${n}?` },
      { role: 'assistant', content: `${n}!` },
    ],
  }),
).join('\n');

const { values: options } = parseArgs({
  options: {
    jobs: { type: 'string', default: '5000' },
    database: { type: 'string', default: 'postgres://postgres@127.0.0.1:5432' },
    browser: { type: 'string', default: '/usr/bin/chromium' },
    explain: { type: 'boolean', default: false },
  },
});
const total = Number(options.jobs);
if (!existsSync(join(DASHBOARD, 'index.html'))) throw new Error('build the dashboard first');

const home = mkdtempSync(join(tmpdir(), 'graft-bench-table-'));
const name = `graft_bench_${randomUUID().slice(0, 8)}`;
const admin = new pg.Client({ connectionString: `${options.database}/postgres` });
await admin.connect();
await admin.query(`CREATE DATABASE ${name}`);
const database = new pg.Client({ connectionString: `${options.database}/${name}` });
await database.connect();
const api = await startApi({
  home,
  databaseUrl: `${options.database}/${name}`,
  queuePrefix: name,
  requestsPerMinute: 0,
  dashboardDir: DASHBOARD,
});

const call = async (method, path, body) => {
  const response = await fetch(`${api.url}/v1${path}`, {
    method,
    headers: { authorization: `Bearer ${api.apiKey}`, 'content-type': 'application/json' },
    body: body && JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${method} ${path}: ${await response.text()}`);
  return response.json();
};

/** Copies of one job that differ as real jobs do: in state, losses, tags, names and ages. */
async function fill() {
  await importTinyBase(join(home, 'tiny'), call);
  const form = new FormData();
  form.set('purpose', 'fine-tune');
  form.set('file', new Blob([DATA]), 'chats.jsonl');
  const headers = { authorization: `Bearer ${api.apiKey}` };
  const file = await (
    await fetch(`${api.url}/v1/files`, { method: 'POST', headers, body: form })
  ).json();
  const { id } = await call('POST', '/fine_tuning/jobs', {
    model: 'tiny',
    training_file: file.id,
    graft: { pool: 'idle' },
    metadata: { team: 'research', sweep: 'learning rates' },
  });
  await call('POST', `/fine_tuning/jobs/${id}/cancel`);
  const { rows: columns } = await database.query(
    `SELECT column_name AS name FROM information_schema.columns WHERE table_name = 'job' AND table_schema = 'public'`,
  );
  const made = {
    id: `'ftjob-' || substr(md5(n::text) || md5(n::text || 'x'), 1, 22)`,
    suffix: `'run-' || n`,
    default_name: `'run-' || n`,
    created_at: `now() - n * interval '7 minutes'`,
    updated_at: `now() - n * interval '7 minutes'`,
    finished_at: `now() - n * interval '5 minutes'`,
    state: `(ARRAY['succeeded', 'succeeded', 'succeeded', 'failed', 'cancelled'])[1 + n % 5]`,
    step: '100 + n % 50',
    total_steps: '150',
    train_loss: `CASE WHEN n % 11 = 0 THEN NULL ELSE abs(sin(n)) * 3 END`,
    best: `CASE WHEN n % 7 = 0 THEN NULL ELSE jsonb_build_object('step', 10, 'valid_loss', abs(cos(n)) * 3) END`,
    tags: `jsonb_build_array('sweep-' || n % 40, (ARRAY['keep', 'baseline', 'broken'])[1 + n % 3])`,
    note: `CASE WHEN n % 4 = 0 THEN 'what came of run ' || n END`,
    archived_at: `CASE WHEN n % 50 = 0 THEN now() END`,
    sparkline: `jsonb_build_object('stride', 1, 'values', (SELECT jsonb_agg(round((3 / sqrt(i) + random() / 5)::numeric, 4)) FROM generate_series(1, 60) i WHERE n > 0))`,
  };
  const names = columns.map((column) => column.name);
  await database.query(
    `INSERT INTO job (${names.join()}) SELECT ${names.map((one) => made[one] ?? `one.${one}`).join()}
     FROM (SELECT * FROM job WHERE id = $2) AS one, generate_series(1, $1::int) AS n`,
    [total, id],
  );
  await database.query('DELETE FROM job WHERE id = $1', [id]);
  await database.query('VACUUM ANALYZE job');
}

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

const LISTS = {
  'newest first': '',
  'a later page': null,
  'by training loss': 'order_by=train_loss&order=asc',
  'by lowest validation loss, a later page': null,
  'by name': 'order_by=name&order=asc',
  'by method': 'order_by=method',
  'one tag': 'tag=sweep-7',
  'one state': 'status=failed',
  'one method': 'method=LORA',
  archived: 'archived=true',
  'search with many matches': 'search=sweep',
  'search without matches': 'search=nothing+has+this',
};

async function measureRequests() {
  const page = async (query) => (await call('GET', `/fine_tuning/jobs?limit=100&${query}`)).data;
  const middle = (await database.query(`SELECT id FROM job WHERE suffix = 'run-${total >> 1}'`))
    .rows[0].id;
  LISTS['a later page'] = `after=${middle}`;
  LISTS['by lowest validation loss, a later page'] =
    `order_by=best_valid_loss&order=asc&after=${middle}`;
  for (const [what, query] of Object.entries(LISTS)) {
    const took = [];
    let found = 0;
    for (let n = 0; n < REQUESTS; n++) {
      const began = performance.now();
      found = (await page(query)).length;
      took.push(performance.now() - began);
    }
    console.log(
      `${what}: ${median(took).toFixed(0)} ms, worst ${Math.max(...took).toFixed(0)} ms (${found} of ${total})`,
    );
    if (options.explain) await explain(query);
  }
}

/** Postgres' plan of the query that the API generates. */
async function explain(query) {
  const { jobFilter } = await import('../../apps/api/dist/jobs/list-query.js');
  const { jobListQuery } = await import('../../apps/api/dist/history/job-list-query.js');
  const given = Object.fromEntries(new URLSearchParams(query));
  const { rows } = await database.query('SELECT project_id FROM job LIMIT 1');
  const { sql, values } = jobListQuery(rows[0].project_id, jobFilter({ limit: '100', ...given }));
  const plan = await database.query(`EXPLAIN (ANALYZE, BUFFERS) ${sql}`, values);
  console.log(plan.rows.map((row) => `    ${row['QUERY PLAN']}`).join('\n'));
}

async function measurePage() {
  const browser = await chromium.launch({
    executablePath: options.browser,
    args: ['--no-sandbox', '--disable-gpu'],
  });
  const tab = await browser.newPage({ viewport: { width: 1440, height: 900 } });
  const names = () => tab.locator('tbody td[data-label=Job] a').allTextContents();
  const timed = async (what, work) => {
    const began = performance.now();
    await work();
    console.log(`${what}: ${(performance.now() - began).toFixed(0)} ms`);
  };
  const shows = (first) =>
    tab.locator('tbody tr:not(.space)').first().filter({ hasText: first }).waitFor();
  await timed('page opened until jobs are there', async () => {
    await tab.goto(`${api.url}/#key=${encodeURIComponent(api.apiKey)}`);
    await shows('run-1');
  });
  await timed('sorted by name', async () => {
    await tab.getByRole('button', { name: 'Job', exact: true }).click();
    await shows('run-1');
  });
  await timed('sorted the other way', async () => {
    await tab.getByRole('button', { name: 'Job', exact: true }).click();
    await shows('run-999');
  });
  await timed('filtered by a state', async () => {
    await tab.getByRole('button', { name: 'Filter' }).click();
    await tab.getByLabel('Filter by state').selectOption('failed');
    await tab.getByText('+ found').waitFor();
    await tab.keyboard.press('Escape');
  });
  await tab.getByRole('button', { name: 'Clear filters' }).click();
  await timed('searched (200 ms of it wait for the typing to end)', async () => {
    await tab.getByLabel('Search jobs').fill('run-4999');
    await tab.getByText('1 found').waitFor();
  });
  await tab.goto(`${api.url}/`);
  await shows('run-1');
  const scrolled = await tab.evaluate(async (wanted) => {
    const frame = () => new Promise((done) => requestAnimationFrame(done));
    const began = performance.now();
    let [last, longest, most, still] = [began, 0, 0, 0];
    const frames = [];
    let height = 0;
    while (still < 60) {
      scrollBy(0, 900);
      await frame();
      const now = performance.now();
      longest = Math.max(longest, now - last);
      frames.push(now - last);
      last = now;
      most = Math.max(most, document.querySelectorAll('tbody tr').length);
      const { scrollHeight } = document.documentElement;
      still = scrollHeight === height && scrollY + innerHeight >= scrollHeight - 2 ? still + 1 : 0;
      height = scrollHeight;
    }
    return {
      ms: performance.now() - began,
      longest,
      slow: frames.filter((ms) => ms > 50).length,
      frames: frames.length,
      middle: frames.sort((a, b) => a - b)[frames.length >> 1],
      most,
      index: Number(
        [...document.querySelectorAll('tbody tr[aria-rowindex]')]
          .at(-1)
          ?.getAttribute('aria-rowindex'),
      ),
      wanted,
    };
  }, total);
  console.log(
    `scrolled to the end: ${scrolled.ms.toFixed(0)} ms to row ${scrolled.index}, at most ${scrolled.most} rows in the page, frames: median ${scrolled.middle.toFixed(0)} ms, longest ${scrolled.longest.toFixed(0)} ms, ${scrolled.slow} of ${scrolled.frames} over 50 ms`,
  );
  const jumps = await tab.evaluate(async () => {
    const frame = () => new Promise((done) => requestAnimationFrame(done));
    const took = [];
    for (let n = 0; n < 60; n++) {
      const began = performance.now();
      scrollTo(0, Math.random() * document.documentElement.scrollHeight);
      await frame();
      await frame();
      took.push(performance.now() - began);
    }
    return took;
  });
  console.log(
    `jumps among all rows: ${median(jumps).toFixed(0)} ms, worst ${Math.max(...jumps).toFixed(0)} ms (two frames)`,
  );
  await tab.evaluate(() => scrollTo(0, 0));
  await shows('run-1');
  const [first] = await names();
  await timed('archived a job, until the undo button is shown', async () => {
    await tab.getByRole('button', { name: `Actions for ${first}`, exact: true }).click();
    await tab.getByRole('menuitem', { name: 'Archive' }).click();
    await tab.getByRole('button', { name: 'Undo' }).waitFor();
  });
  await browser.close();
}

console.log(`load before: ${loadavg()[0].toFixed(2)}; ${total} jobs`);
try {
  await fill();
  await measureRequests();
  await measurePage();
} finally {
  await api.close();
  await database.end();
  await admin.query(`DROP DATABASE ${name} WITH (FORCE)`);
  await admin.end();
  rmSync(home, { recursive: true, force: true });
}
