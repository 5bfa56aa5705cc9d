// The scopes of a key decide which actions are offered. Keys and join tokens are created and
// revoked.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ApiKeyObject, JobObject } from '@graft/contracts';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  importBase,
  startTestApi,
  until,
  uploadChats,
  type TestApi,
} from '../../apps/api/test/fixture.js';
import { ScriptedWorker } from '../../apps/api/test/scripted-worker.js';
import {
  answer,
  buildDashboard,
  findBrowser,
  screenshot,
  rows,
  startBrowser,
  Tabs,
  text,
} from './browser.js';

const program = findBrowser();
let dir: string;
let api: TestApi;
let browser: Browser;
let tabs: Tabs;
let job: JobObject;

const keyWith = (name: string, ...scopes: string[]) =>
  api.post<ApiKeyObject>('/keys', { name, scopes });
/** Links of the navigation, without the number of problems. */
const nav = async (page: Page) =>
  (await page.getByRole('navigation', { name: 'Pages' }).getByRole('link').allTextContents()).map(
    (label) => label.replace(/,.*/, ''),
  );

describe.skipIf(!program)('keys in the dashboard', () => {
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'graft-dashboard-keys-'));
    buildDashboard(join(dir, 'built'));
    api = await startTestApi({ dashboardDir: join(dir, 'built') });
    await importBase(api);
    job = await api.post<JobObject>('/fine_tuning/jobs', {
      model: 'tiny',
      training_file: await uploadChats(api),
      suffix: 'seen',
    });
    browser = await startBrowser();
    tabs = new Tabs(browser, api);
  });
  afterAll(async () => {
    await browser?.close();
    await api?.close();
    if (dir) rmSync(dir, { recursive: true, force: true });
  });
  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail') await tabs.screenshots('failed-keys');
    await tabs.close();
  });

  it('offer exactly what they may do', async () => {
    const { secret } = await keyWith('looks', 'jobs:read');
    const page = await tabs.open('/', { key: secret! });
    await until(
      async () => (await nav(page)).join() === 'Jobs,Sweeps,Evals,Cluster,Usage,Problems,Project',
    );
    expect(await page.getByRole('link', { name: 'New job' }).count()).toBe(0);
    await page.getByRole('link', { name: 'seen' }).click();
    await page.locator('h1', { hasText: 'seen' }).waitFor();
    for (const name of ['Cancel', 'Pause'])
      expect(await page.getByRole('button', { name }).count()).toBe(0);
    expect(await page.getByRole('link', { name: 'Clone' }).count()).toBe(0);
    await page.keyboard.press('c');
    expect(await page.getByRole('alertdialog').count()).toBe(0);
    // A page that the key cannot use names the missing scopes, and loads nothing.
    for (const [path, lacks] of [
      ['/new', 'jobs:write, models:read, files:read'],
      ['/files', 'files:read'],
      ['/models', 'models:read'],
      ['/chat', 'models:read'],
      ['/keys', 'admin'],
    ]) {
      await page.goto(`${api.url}${path}`);
      await page.getByRole('alert').getByText(`it is missing ${lacks}.`).waitFor();
      expect(await page.getByText('Loading…').count()).toBe(0);
    }
    await screenshot(page, 'not-allowed');
    expect((await api.get<JobObject>(`/fine_tuning/jobs/${job.id}`)).status).not.toBe('cancelled');
  });

  it('that may only read files cannot upload or delete any', async () => {
    const { secret } = await keyWith('reads', 'files:read');
    const page = await tabs.open('/files', { key: secret! });
    await rows(page).filter({ hasText: 'chats.jsonl' }).waitFor();
    await until(async () => (await nav(page)).join() === 'Files');
    const offered = async () =>
      page
        .locator('main')
        .getByRole('button', { name: /Upload|Delete|Train/ })
        .count();
    expect(await offered()).toBe(0);
    await page.getByRole('link', { name: 'chats.jsonl' }).first().click();
    await page.locator('h1', { hasText: 'chats.jsonl' }).waitFor();
    expect(await offered()).toBe(0);
    expect(tabs.problems()).toEqual([]);
  });

  it('of a project cannot import or delete base models', async () => {
    const { secret } = await keyWith('works', 'jobs:read', 'models:read', 'models:write');
    const page = await tabs.open('/models', { key: secret! });
    await rows(page).filter({ hasText: 'tiny' }).waitFor();
    await until(async () => !(await nav(page)).includes('Installation'));
    expect(await page.getByRole('button', { name: 'Import base model' }).count()).toBe(0);
    await page.getByRole('button', { name: 'Actions for tiny' }).click();
    await page.getByRole('menuitem', { name: 'Copy name' }).waitFor();
    expect(await page.getByRole('menuitem', { name: /^Delete/ }).count()).toBe(0);
    await page.goto(`${api.url}/cluster`);
    await page.getByRole('button', { name: 'Add a worker' }).first().click();
    await text(page, 'Ask an admin for a join token');
  });

  it('are revoked after a warning about the consequences', async () => {
    const page = await tabs.open('/keys');
    await keyWith('ada', 'jobs:read');
    const deputy = await keyWith('deputy', 'admin');
    await page.reload();
    await rows(page).filter({ hasText: '(this one)' }).waitFor();
    await page.getByRole('button', { name: 'Revoke ada' }).click();
    expect(await answer(page, false)).not.toMatch(/signed in/);
    await page.getByRole('button', { name: 'Revoke admin' }).click();
    expect(await answer(page, false)).toMatch(/You are signed in with this key/);
    // The last key that can create others cannot be revoked, and the page explains why.
    await api.query('DELETE FROM api_key WHERE id = $1', [deputy.id]);
    await page.reload();
    const last = page.getByRole('button', { name: 'Revoke admin' });
    await last.waitFor();
    expect(await last.isDisabled()).toBe(true);
    await text(page, 'the last admin key cannot be revoked');
    await screenshot(page, 'keys-last-admin');
  });

  it('let a worker join with a command to copy', async () => {
    const page = await tabs.open('/workers');
    await text(page, 'No workers yet');
    await page.getByRole('button', { name: 'Add a worker' }).first().click();
    await page.getByLabel('Machine').fill('gpu box');
    await page.getByLabel('Pool', { exact: true }).fill('gpu');
    await page.getByRole('button', { name: 'Create token' }).click();
    const commands = page.getByRole('region', { name: "Commands for the worker's machine" });
    const said = (await commands.locator('pre').textContent())!;
    const secret = /echo (jt-graft-\S+) >/.exec(said)![1]!;
    expect(said.split('\n')[1]).toBe(
      `npx graft-worker --url grpc://${api.grpcUrl} --token-file token.txt --pool gpu`,
    );
    await text(page, '--grpc-host 0.0.0.0'); // it listens on this host only
    await screenshot(page, 'workers-add');
    // The token opens that pool only.
    const unknownKey = await new ScriptedWorker(api, { token: secret, pool: 'default' }).connect();
    expect(unknownKey.welcome).toBeNull();
    const worker = await new ScriptedWorker(api, {
      name: 'box',
      token: secret,
      pool: 'gpu',
    }).connect();
    await text(page, 'box is online');
    expect(await commands.isVisible()).toBe(true); // The secret in them is shown only once.
    await page.goto(`${api.url}/keys`);
    await page.getByRole('tab', { name: 'Join tokens' }).click();
    await rows(page).filter({ hasText: 'gpu box' }).filter({ hasText: 'gpu' }).waitFor();
    await screenshot(page, 'keys-tokens');
    worker.vanish();
    unknownKey.vanish();
    expect(tabs.problems()).toEqual([]);
  });

  it('are created with join tokens, shown once, and revoked', async () => {
    const page = await tabs.open('/keys');
    await page.getByLabel('Owner of the new key').fill('lovelace');
    await page.getByRole('button', { name: 'Create key' }).click();
    const secret = (await page.getByRole('status').locator('code').textContent())!;
    const headers = { authorization: `Bearer ${secret}` };
    const status = async (path: string) =>
      (await fetch(`${api.url}/v1${path}`, { headers })).status;
    expect([await status('/models'), await status('/keys')]).toEqual([200, 403]);
    const key = rows(page).filter({ hasText: 'lovelace' });
    await key.getByRole('button', { name: 'Revoke' }).click();
    await answer(page);
    await key.waitFor({ state: 'detached' });
    expect(await status('/models')).toBe(401);

    await page.getByRole('tab', { name: 'Join tokens' }).click();
    await page.getByLabel('Machine').fill('gpu-7');
    await page.getByRole('button', { name: 'Create token' }).click();
    await page.getByRole('status').filter({ hasText: 'gpu-7: jt-graft-' }).waitFor();
    const token = rows(page).filter({ hasText: 'gpu-7' });
    await token.getByRole('button', { name: 'Revoke' }).click();
    await answer(page);
    await token.waitFor({ state: 'detached' });
    expect(tabs.problems()).toEqual([]);
  });
});
