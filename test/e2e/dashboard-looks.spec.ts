// Every page at every width, in light and dark, with names as long as they get: nothing is cut, overlaps or must
// be pushed, and axe-core finds nothing.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AxeResults, RunOptions } from 'axe-core';
import type { JobObject } from '@graft/contracts';
import type { Assignment } from '@graft/contracts/grpc';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { importBase, startTestApi, uploadChats, type TestApi } from './api-fixture.js';
import { saved, ScriptedWorker, started, step } from './api-worker.js';
import { buildDashboard, findBrowser, picture, startBrowser, Tabs } from './browser.js';
import { overlapping, tooWide, unreadable } from './looks.js';

const program = findBrowser();
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const BASE = 'SmolLM2-135M-Instruct';
const LONG = 'a-long-suffix-of-a-sweep-that-says-it-all-lr-1e-4-r-16';
let dir: string;
let api: TestApi;
let browser: Browser;
let tabs: Tabs;
let worker: ScriptedWorker;
let pages: readonly (readonly [name: string, path: string, ready: string])[];

async function trained(suffix: string | null, steps: number): Promise<[JobObject, Assignment]> {
  const file = await uploadChats(api);
  const job = await api.post<JobObject>('/fine_tuning/jobs', {
    model: BASE,
    training_file: file,
    validation_file: file,
    ...(suffix && { suffix }),
    metadata: { team: 'ads', purpose: 'a metadata value of some length' },
  });
  const lease = await worker.assigned();
  await worker.tell(lease, started(0, steps === 40 ? 40 : 1200));
  for (let n = 1; n <= steps; n++) await worker.tell(lease, step(n, 5 / n));
  await worker.tell(lease, {
    $case: 'evaluated',
    value: { step: steps, loss: 2.5, accuracy: 0, tokens: 1, full: true },
  });
  const adapter = [
    await worker.put(lease, 'adapter_config.json', '{"peft_type":"LORA"}'),
    await worker.put(lease, 'adapter_model.safetensors', `weights of ${job.id}`),
  ];
  await worker.tell(lease, saved(steps, [], adapter));
  return [job, lease];
}

async function violations(page: Page): Promise<string[]> {
  await page.evaluate(axe);
  const run = (options: RunOptions) =>
    (window as unknown as { axe: { run(o: RunOptions): Promise<AxeResults> } }).axe.run(options);
  const { violations: found } = await page.evaluate(run, {
    runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
  });
  return found.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' | ')}`);
}

describe.skipIf(!program)('the looks of the dashboard', () => {
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'graft-looks-'));
    buildDashboard(join(dir, 'built'));
    api = await startTestApi({ dashboardDir: join(dir, 'built'), leaseMs: 120_000 });
    await importBase(api, BASE);
    await api.post('/models', { source: 'dir:/does/not/exist/anywhere/on/this/server' });
    worker = await new ScriptedWorker(api, { name: 'a-worker-with-a-long-name-42' }).connect();
    const [done, first] = await trained(LONG, 40);
    await worker.finish(first, 40);
    const [unnamed] = await trained(null, 300); // and runs on
    const file = await uploadChats(api);
    const waiting = { model: BASE, training_file: file, graft: { pool: 'nobody' } };
    const queued = await api.post<JobObject>('/fine_tuning/jobs', waiting);
    const { id } = await api.post<JobObject>('/fine_tuning/jobs', waiting);
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    await api.post('/keys', { name: 'a program with quite a long name', scopes: ['jobs:read'] });
    await api.post('/keys', { name: 'ada' });
    browser = await startBrowser(program!);
    tabs = new Tabs(browser, api);
    pages = [
      ['jobs', '/', 'tbody tr'],
      ['jobs-found', '/?q=nothing-has-this', 'text=No job has'],
      ['job-done', `/jobs/${done.id}`, '.chart canvas'],
      ['job-running', `/jobs/${unnamed.id}`, '.chart canvas'],
      ['job-queued', `/jobs/${queued.id}`, 'text=No worker of pool'],
      ['job-log', `/jobs/${done.id}?tab=log`, '.log'],
      ['job-checkpoints', `/jobs/${done.id}?tab=checkpoints`, 'tbody tr'],
      ['job-data', `/jobs/${done.id}?tab=data`, '.strip'],
      ['job-attempts', `/jobs/${done.id}?tab=attempts`, 'tbody tr'],
      ['job-spec', `/jobs/${done.id}?tab=spec`, 'pre'],
      ['job-none', '/jobs/ftjob-nope', 'text=No such job'],
      ['new-job', '/new', '.choice'],
      ['files', '/files', 'tbody tr'],
      ['file', `/files/${file}`, '.example'],
      ['models', '/models', 'tbody tr'],
      ['workers', '/workers', 'tbody tr'],
      ['chat', `/chat?model=${encodeURIComponent(BASE)}`, '.sides'],
      ['keys', '/keys', 'tbody tr'],
      ['nowhere', '/nowhere', 'text=No such page'],
    ];
  });
  afterAll(async () => {
    worker?.vanish();
    await browser?.close();
    await api?.close();
    if (dir) rmSync(dir, { recursive: true, force: true });
  });
  afterEach(() => tabs.close());

  it.each([
    [320, 'light'],
    [390, 'dark'],
    [1024, 'light'],
    [1440, 'dark'],
    [1440, 'light'],
  ] as const)('%i pixels wide, %s', async (width, colorScheme) => {
    const page = await tabs.open('/', { colorScheme, viewport: { width, height: 900 } });
    const wrong: Record<string, string[]> = {};
    for (const [name, path, ready] of pages) {
      await page.goto(`${api.url}${path}`);
      await page.locator(ready).first().waitFor();
      const found = [
        ...(await tooWide(page)),
        ...(await overlapping(page)),
        ...(await unreadable(page)),
        ...(await violations(page)),
      ];
      if (found.length > 0) wrong[name] = found;
      await picture(page, `${name}-${width}-${colorScheme}`);
    }
    expect(wrong).toEqual({});
  });
});
