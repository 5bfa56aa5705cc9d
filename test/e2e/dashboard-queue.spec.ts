// Queue positions, shared processes and interruptions on the job page, and a chat while all workers
// are busy.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JobObject } from '@graft/contracts';
import type { Browser } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  importBase,
  startTestApi,
  until,
  uploadChats,
  type TestApi,
} from '../../apps/api/test/fixture.js';
import { ScriptedWorker, started, step } from '../../apps/api/test/scripted-worker.js';
import { buildDashboard, findBrowser, screenshot, startBrowser, Tabs, text } from './browser.js';

const program = findBrowser();
let dir: string;
let api: TestApi;
let browser: Browser;
let tabs: Tabs;
let file: string;
const workers: ScriptedWorker[] = [];

const create = (graft: object) =>
  api.post<JobObject>('/fine_tuning/jobs', { model: 'tiny', training_file: file, graft });

async function joined(options: ConstructorParameters<typeof ScriptedWorker>[1]) {
  const worker = await new ScriptedWorker(api, options).connect();
  workers.push(worker);
  return worker;
}

describe.skipIf(!program)('queues and shared processes in the dashboard', () => {
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'graft-dashboard-queue-'));
    buildDashboard(join(dir, 'built'));
    api = await startTestApi({
      dashboardDir: join(dir, 'built'),
      reconcileMs: 200,
      chatQueue: 1,
      chatWaitMs: 60_000,
    });
    await importBase(api);
    file = await uploadChats(api);
    browser = await startBrowser();
    tabs = new Tabs(browser, api);
  });
  afterAll(async () => {
    await browser?.close();
    await api?.close();
    if (dir) rmSync(dir, { recursive: true, force: true });
  });
  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail') await tabs.screenshots('failed-queue');
    await tabs.close();
    for (const worker of workers.splice(0)) worker.vanish();
  });

  it('a queued job shows its position, moves with its priority, and moves up by itself', async () => {
    const first = await create({ pool: 'busy' });
    const second = await create({ pool: 'busy' });
    const page = await tabs.open(`/jobs/${second.id}`);
    await text(page, 'No worker in pool busy: 2nd of 2');
    await screenshot(page, 'job-place');
    await page.getByRole('button', { name: 'Priority 100' }).click();
    await page.getByLabel('Priority', { exact: true }).fill('10');
    await page.getByRole('button', { name: 'Set priority' }).click();
    await text(page, /: 1st of 2, /);
    await api.post(`/fine_tuning/jobs/${first.id}/cancel`);
    await text(page, /: 1st of 1, /);
    expect(tabs.problems()).toEqual([]);
  });

  it('a running job shows which jobs share its process, their cost, and when it is alone', async () => {
    const pool = 'shared';
    const [job, mate, stranger] = [
      await create({ pool }),
      await create({ pool }),
      await create({ pool }),
    ];
    const worker = await joined({ pool, slots: 3 });
    for (let n = 1; n <= 3; n++) {
      if (worker.assignments.length < n) worker.pull();
      await until(() => worker.assignments.length >= n);
    }
    for (const assignment of worker.assignments) {
      worker.keep(assignment);
      const [begun, made] = [started(), step(1)];
      await worker.report(
        assignment,
        { ...begun, payload: { ...begun.payload, process: 'process-1' } },
        { ...made, payload: { ...made.payload, waited_seconds: 12 } },
      );
    }
    await api.query(`INSERT INTO project (id, name) VALUES ('proj-strange', 'strange')`);
    await api.query(`UPDATE job SET project_id = 'proj-strange' WHERE id = $1`, [stranger.id]);
    const page = await tabs.open(`/jobs/${job.id}`);
    const company = page.getByRole('group', { name: 'Shared trainer process' });
    await company.getByText('and one job from another project').waitFor();
    expect(await company.textContent()).not.toContain(stranger.id);
    await company.getByText(/12 s of .* spent waiting for other jobs in its process/).waitFor();
    await screenshot(page, 'job-company');
    await company.getByRole('link', { name: mate.graft.name }).click();
    await page.waitForURL(`**/jobs/${mate.id}`);
    await api.query(`UPDATE job SET present_at_deaths = 2 WHERE id = $1`, [mate.id]);
    await company.getByText('a process of its own').waitFor();
    // A preempted job reports it in its log and its attempts.
    const assignment = worker.assignments.find(({ jobId }) => jobId === mate.id)!;
    await worker.report(assignment, {
      kind: 'stopped',
      payload: { reason: 'preempt', step: 1 },
    } as never);
    await page.getByRole('tab', { name: 'Timeline' }).click();
    await text(page, 'preempted by a job of higher priority');
    await page.getByRole('tab', { name: 'Log' }).click();
    await text(page, 'A job of higher priority needs the slot; the job will resume');
    await screenshot(page, 'job-preempted');
    expect(tabs.problems()).toEqual([]);
  });

  it('a chat reports that all workers are busy, and has a retry button', async () => {
    const worker = await joined({ name: 'chats', maxChats: 1 });
    const ask = () =>
      fetch(`${api.url}/v1/chat/completions`, {
        method: 'POST',
        headers: { ...api.headers, 'content-type': 'application/json' },
        body: JSON.stringify({ model: 'tiny', messages: [{ role: 'user', content: 'busy' }] }),
      });
    const others = [ask(), ask()];
    const { id } = await worker.nextRequest();
    await until(
      async () => (await api.query(`SELECT 1 FROM answer WHERE worker_id IS NULL`)).length === 1,
    );
    const page = await tabs.open('/chat?model=tiny');
    await page.getByLabel('Message').fill('hello');
    await page.keyboard.press('Enter');
    await page.getByRole('status').getByText('Every worker is busy with other chats').waitFor();
    await screenshot(page, 'chat-busy');
    worker.sendText(id, 'one');
    worker.sendText((await worker.nextRequest()).id, 'two');
    await Promise.all(others);
    await page.getByRole('button', { name: 'Try again' }).click();
    const mine = await worker.nextRequest();
    worker.sendText(mine.id, 'hi there');
    await text(page, 'hi there');
    // The generated code contains the same text.
    expect(await page.getByRole('log').getByText('hello').count()).toBe(1);
    expect(await page.getByRole('button', { name: 'Try again' }).count()).toBe(0);
    expect(tabs.problems(/status of 429/)).toEqual([]);
  });
});
