// Checks every page at every width, in light and dark mode, with very long names: nothing is
// clipped, overlaps or scrolls sideways, and axe-core finds no issues.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JobObject } from '@graft/contracts';
import type { Assignment } from '@graft/contracts/grpc';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  importBase,
  startTestApi,
  uploadChats,
  type TestApi,
} from '../../apps/api/test/fixture.js';
import {
  evaluated,
  finished,
  saved,
  ScriptedWorker,
  started,
  step,
} from '../../apps/api/test/scripted-worker.js';
import { isAllTier } from '../tier.js';
import { colourPng, dataUrl } from '../tiny-images.js';
import { buildDashboard, findBrowser, screenshot, startBrowser, Tabs } from './browser.js';
import { makeGraded } from './graded.js';
import { cutChoices, overlapping, tooWide, unreadable, violations } from './looks.js';

const program = findBrowser();
const BASE = 'SmolLM2-135M-Instruct';
const LONG = 'a-long-suffix-of-a-sweep-that-says-it-all-lr-1e-4-r-16';
/**
 * The narrowest and the widest width, one in each color scheme. axe-core is slow, so it checks
 * either both or one of them in turn.
 */
const EXTREMES = [
  [320, 'light'],
  [1440, 'dark'],
] as const;
const BETWEEN = [
  [390, 'dark'],
  [1024, 'light'],
  [1440, 'light'],
] as const;
/** Returns the widths between the extremes for the page at this index: all of them, or one of them in turn. */
const between = (place: number): readonly (typeof BETWEEN)[number][] =>
  isAllTier ? BETWEEN : [BETWEEN[place % BETWEEN.length]!];

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
  const lease = await worker.nextAssignment();
  await worker.report(lease, started(0, steps === 40 ? 40 : 1200));
  for (let n = 1; n <= steps; n++) await worker.report(lease, step(n, 5 / n));
  await worker.report(lease, evaluated(steps, 2.5, true, 0));
  const adapter = [
    await worker.put(lease, 'adapter_config.json', '{"peft_type":"LORA"}'),
    await worker.put(lease, 'adapter_model.safetensors', `weights of ${job.id}`),
  ];
  await worker.report(lease, saved(steps, [], adapter));
  return [job, lease];
}

/** Exports the job's model to GGUF. */
async function makeGguf(job: string): Promise<JobObject> {
  const { fine_tuned_model: model } = await api.get<JobObject>(`/fine_tuning/jobs/${job}`);
  const body = { type: 'export', format: 'gguf', quantization: 'Q4_K_M', model };
  const made = await api.post<JobObject>('/adapters/operations', body);
  const lease = await worker.nextAssignment();
  const file = await worker.put(lease, 'model-Q4_K_M.gguf', 'GGUF');
  await worker.report(lease, started(0, 0), finished(0, [file]));
  return made;
}

/** Waits until width-dependent parts are drawn. Charts need two frames. */
const redrawn = (page: Page): Promise<void> =>
  page.evaluate(
    () =>
      new Promise<void>((resolve) => {
        requestAnimationFrame(() => requestAnimationFrame(() => resolve()));
      }),
  );

describe.skipIf(!program)('the layout of the dashboard', () => {
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'graft-looks-'));
    buildDashboard(join(dir, 'built'));
    api = await startTestApi({ dashboardDir: join(dir, 'built'), leaseMs: 120_000 });
    await importBase(api, BASE);
    await api.post('/models', { source: 'dir:/does/not/exist/anywhere/on/this/server' });
    worker = await new ScriptedWorker(api, { name: 'a-worker-with-a-long-name-42' }).connect();
    const [done, first] = await trained(LONG, 40);
    await worker.finish(first, 40);
    const exported = await makeGguf(done.id);
    const [unnamed] = await trained(null, 300); // It keeps running.
    const file = await uploadChats(api);
    const waiting = { model: BASE, training_file: file, graft: { pool: 'nobody' } };
    const queued = await api.post<JobObject>('/fine_tuning/jobs', waiting);
    const { id } = await api.post<JobObject>('/fine_tuning/jobs', waiting);
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    await api.post('/keys', { name: 'a program with quite a long name', scopes: ['jobs:read'] });
    await api.post('/keys', { name: 'ada' });
    const { id: project } = await api.post<{ id: string }>('/organization/projects', {
      name: 'a team whose name is long',
      graft: { limits: { queued_jobs: 2, storage_bytes: 5e9 } },
    });
    const people = `/organization/projects/${project}`;
    const member = { name: 'somebody.with-a-long-address@research.example.org', role: 'owner' };
    const { id: owner } = await api.post<{ id: string }>(`${people}/users`, member);
    await api.post(`${people}/api_keys`, { name: 'laptop', member_id: owner });
    await api.post('/webhook_endpoints', {
      name: 'the dashboard of a team with a long name',
      url: `https://93.184.216.34/a/long/path/of/an/endpoint/${'that-goes-on-'.repeat(6)}`,
      event_types: ['fine_tuning.job.failed', 'eval.run.failed'],
    });
    await api.post('/pools/a-pool-of-large-gpus/grants', { project_id: project });
    const words = ['a-word-that-goes-on-without-any-place-to-break-it-in-two', 'short'];
    const graded = await makeGraded(api, `${LONG} in capitals`, words, {
      [LONG]: [words[0]!, 'SHORT'],
      other: ['A sentence of several words, which is no capital. '.repeat(8), 'short'],
    });
    const [left, right] = graded.runs;
    const { id: sweep } = await api.post<{ id: string }>('/sweeps', {
      model: BASE,
      training_file: file,
      suffix: LONG,
      search: {
        algorithm: 'grid',
        parameters: {
          'peft.r': [8, 16],
          'peft.target_modules': [['q_proj', 'v_proj'], 'all-linear'],
        },
      },
    });
    for (const loss of [3, 2]) {
      const lease = await worker.nextAssignment();
      await worker.report(lease, started(0, 40), step(40, loss), evaluated(40, loss, true, 0));
      await worker.finish(lease, 40);
    }
    browser = await startBrowser();
    tabs = new Tabs(browser, api);
    const labels = [...words, 'a label of several words that is quite long'];
    const lines = labels.map((label) =>
      JSON.stringify({ image: dataUrl(colourPng('red', 1)), label }),
    );
    const { id: pictures } = await api.client.files.create({
      file: new File([lines.join('\n')], 'pictures-with-a-long-name.jsonl'),
      purpose: 'fine-tune',
    });
    pages = [
      ['jobs', '/', 'tbody tr'],
      ['jobs-found', '/?q=nothing-has-this', 'text=No matching jobs'],
      ['job-done', `/jobs/${done.id}`, '.chart canvas'],
      ['job-export', `/jobs/${exported.id}`, 'text=Hugging Face Hub'],
      ['jobs-exports', '/?kind=export', 'tbody tr'],
      ['job-running', `/jobs/${unnamed.id}`, '.chart canvas'],
      ['job-queued', `/jobs/${queued.id}`, 'text=/No worker (in|has ever joined) pool/'],
      ['job-log', `/jobs/${done.id}?tab=log`, '.log'],
      ['job-checkpoints', `/jobs/${done.id}?tab=checkpoints`, 'tbody tr'],
      ['job-replay', `/jobs/${done.id}?tab=replay`, '.replay-steps'],
      ['job-data', `/jobs/${done.id}?tab=data`, '.strip'],
      ['job-timeline', `/jobs/${done.id}?tab=timeline`, 'tbody tr'],
      ['job-settings', `/jobs/${done.id}?tab=settings`, 'pre.spec'],
      ['job-none', '/jobs/ftjob-nope', 'text=Job not found'],
      ['compare', `/compare?jobs=${done.id},${unnamed.id},${queued.id}`, '.chart canvas'],
      ['sweeps', '/sweeps', 'tbody tr'],
      ['sweep', `/sweeps/${sweep}`, '.chart canvas'],
      ['new-job', '/new', '.radio-card'],
      ['find', '/find', '.drop-zone'],
      ['files', '/files', 'tbody tr'],
      ['file', `/files/${file}`, '.example'],
      ['file-pictures', `/files/${pictures}`, '.gallery img'],
      ['models', '/models', 'tbody tr'],
      ['evals', '/evals', 'tbody tr'],
      ['eval', `/evals/${graded.id}`, '[aria-label="Runs"] tbody tr'],
      ['eval-run', `/evals/${graded.id}/${left}`, '.marks'],
      ['eval-compare', `/evals/${graded.id}/compare?left=${left}&right=${right}`, '.marks'],
      ['cluster', '/cluster', '.worker'],
      ['cluster-timeline', '/cluster?view=timeline', '.gantt'],
      ['chat', `/chat?model=${encodeURIComponent(BASE)}`, '#content textarea'],
      ['usage', '/usage', 'h1'],
      ['problems', '/problems', 'h1'],
      ['keys', '/projects?tab=keys', 'tbody tr'],
      ['tokens', '/projects?tab=tokens', 'tbody tr'],
      ['webhooks', '/settings?tab=webhooks', 'tbody tr'],
      ['pool', '/pools/a-pool-of-large-gpus', 'tbody tr'],
      ['projects', '/projects', 'tbody tr'],
      ['audit', '/projects?tab=audit', 'tbody tr'],
      ['project-general', `/projects/${project}`, '.setting-row'],
      ['project-limits', `/projects/${project}?tab=limits`, 'tbody tr'],
      ['project-members', `/projects/${project}?tab=members`, 'tbody tr'],
      ['project-keys', `/projects/${project}?tab=keys`, 'tbody tr'],
      ['nowhere', '/nowhere', 'text=Page not found'],
    ];
  });
  afterAll(async () => {
    worker?.vanish();
    await browser?.close();
    await api?.close();
    if (dir) rmSync(dir, { recursive: true, force: true });
  });
  afterEach(() => tabs.close());

  it('has its pages behind a button on a narrow screen', async () => {
    const page = await tabs.open('/', { viewport: { width: 390, height: 844 } });
    const menu = page.getByRole('button', { name: 'Menu', exact: true });
    await menu.focus();
    await page.keyboard.press('Enter');
    const drawer = page.getByRole('dialog', { name: 'Menu' });
    const groups = drawer.getByRole('group');
    await groups.first().waitFor();
    const names = groups.evaluateAll((all) => all.map((one) => one.firstElementChild?.textContent));
    expect(await names).toEqual(['Train', 'Data and models', 'Operate', 'Settings']);
    expect([...(await violations(page)), ...(await unreadable(page))]).toEqual([]);
    await screenshot(page, 'menu');
    await page.keyboard.press('Escape');
    await drawer.waitFor({ state: 'detached' });
    expect(await menu.evaluate((button) => button === document.activeElement)).toBe(true);
    await page.keyboard.press('Enter');
    await drawer.getByRole('link', { name: 'Files' }).click();
    await page.getByRole('heading', { name: 'Files', exact: true }).waitFor();
    await drawer.waitFor({ state: 'detached' });
    await page.locator('#content:focus').waitFor({ state: 'attached' });
    expect(tabs.problems()).toEqual([]);
  });

  it('at every width, light and dark', { timeout: 300_000 }, async () => {
    const page = await tabs.open('/');
    const wrong: Record<string, string[]> = {};
    for (const [place, [name, path, ready]] of pages.entries()) {
      await page.goto(`${api.url}${path}`);
      await page.locator(ready).first().waitFor();
      for (const look of [...EXTREMES, ...between(place)]) {
        const [width, colorScheme] = look;
        await page.setViewportSize({ width, height: 900 });
        await page.emulateMedia({ colorScheme });
        await redrawn(page);
        const isLookedAt = (isAllTier ? EXTREMES : [EXTREMES[place % 2]]).some(
          (one) => one === look,
        );
        const found = [
          ...(await tooWide(page)),
          ...(await cutChoices(page)),
          ...(await overlapping(page)),
          ...(await unreadable(page)),
          ...(isLookedAt ? await violations(page) : []),
        ];
        const seen = `${name}-${width}-${colorScheme}`;
        if (found.length > 0) wrong[seen] = found;
        await screenshot(page, seen);
      }
    }
    expect(wrong).toEqual({});
  });
});
