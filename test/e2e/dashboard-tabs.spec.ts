// Many tabs of one browser over HTTP/1.1. A browser allows six connections per server for all of
// them. Tabs are opened over the browser's own debugging address: tabs that Playwright opens all
// count as visible, but here only the one in front may.
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, it } from 'vitest';
import { BROWSER_ARGS, buildDashboard, findBrowser } from './browser.js';
import { Installation, until } from './installation.js';

interface Tab {
  readonly id: string;
  readonly title: string;
  readonly url: string;
}

const program = findBrowser({ whole: true });
const TABS = 9;
let dir: string;
let graft: Installation;
let browser: ChildProcess;
let debugging: string;

const ask = async <T>(path: string, method = 'GET'): Promise<T> =>
  (await (await fetch(`${debugging}/json/${path}`, { method })).json()) as T;
const titles = async (): Promise<string[]> =>
  (await ask<Tab[]>('list')).filter(({ url }) => url.includes('/jobs/')).map(({ title }) => title);
const titleOf = async (id: string): Promise<string | undefined> =>
  (await ask<Tab[]>('list')).find((tab) => tab.id === id)?.title;

beforeAll(async () => {
  if (!program) return;
  dir = mkdtempSync(join(tmpdir(), 'graft-tabs-'));
  buildDashboard(join(dir, 'built'));
  graft = await Installation.start({ dashboardDir: join(dir, 'built') });
  await graft.importTinyBase();
  const profile = join(dir, 'profile');
  const flags = ['--headless=new', '--remote-debugging-port=0', `--user-data-dir=${profile}`];
  browser = spawn(program, [...BROWSER_ARGS, ...flags, 'about:blank'], { stdio: 'ignore' });
  const port = join(profile, 'DevToolsActivePort');
  await until('the browser', () => existsSync(port) && readFileSync(port, 'utf8').includes('\n'));
  debugging = `http://127.0.0.1:${readFileSync(port, 'utf8').split('\n')[0]}`;
});
afterAll(async () => {
  if (browser) {
    const gone = new Promise((resolve) => browser.once('exit', resolve));
    browser.kill();
    await gone;
  }
  await graft?.stop();
  if (dir) rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
});

it.skipIf(!program)(`follows jobs in ${TABS} tabs`, async () => {
  const training_file = await graft.uploadChats(10);
  const { id } = await graft.createJob({ model: 'tiny', training_file, suffix: 'waits' });
  const { url, apiKey } = graft.where;
  const tabs: Tab[] = [];
  for (let n = 1; n <= TABS; n++) {
    tabs.push(await ask<Tab>(`new?${url}/jobs/${id}%23key=${apiKey}`, 'PUT'));
    await until(
      `tab ${n} to show the job`,
      async () =>
        (await titles()).filter((title) => title.startsWith('waits · queued')).length === n,
    );
  }
  // The first tab closes only its connection. When shown again, it has missed nothing.
  await graft.openai.fineTuning.jobs.cancel(id);
  const [first] = tabs;
  await ask(`activate/${first!.id}`).catch(() => undefined); // Its response is not JSON.
  await until(
    'the first tab to catch up',
    async () => ((await titleOf(first!.id)) ?? '').startsWith('waits · cancelled'),
    5000,
  );
});
