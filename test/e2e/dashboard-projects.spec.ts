// Projects with members, keys, limits, audit log and access to pools, for admins, owners and
// viewers.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type {
  JobObject,
  ProjectApiKeyObject,
  ProjectObject,
  ProjectUserObject,
} from '@graft/contracts';
import { importBase, startTestApi, until, type TestApi } from '../../apps/api/test/fixture.js';
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
  toggle,
} from './browser.js';

const program = findBrowser();
let dir: string;
let api: TestApi;
let browser: Browser;
let tabs: Tabs;
const workers: ScriptedWorker[] = [];

/** Links of the navigation, without the number of problems. */
const nav = async (page: Page) =>
  (await page.getByRole('navigation', { name: 'Pages' }).getByRole('link').allTextContents()).map(
    (label) => label.replace(/,.*/, ''),
  );
const tab = (page: Page, name: string) => page.getByRole('tab', { name }).click();

/** Creates a project, a member of it, and a key of that member. */
async function team(name: string, role: string, graft: object = {}) {
  const project = await api.post<ProjectObject>('/organization/projects', { name, graft });
  const path = `/organization/projects/${project.id}`;
  const member = await api.post<ProjectUserObject>(`${path}/users`, { name: `${name}-ada`, role });
  const key = await api.post<ProjectApiKeyObject>(`${path}/api_keys`, {
    name: 'laptop',
    member_id: member.id,
  });
  return { project, member, key: key.value! };
}

describe.skipIf(!program)('projects in the dashboard', () => {
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'graft-dashboard-projects-'));
    mkdirSync(join(dir, 'built'));
    buildDashboard(join(dir, 'built'));
    api = await startTestApi({ dashboardDir: join(dir, 'built') });
    await importBase(api);
    browser = await startBrowser();
    tabs = new Tabs(browser, api);
  });
  afterAll(async () => {
    await browser?.close();
    await api?.close();
    if (dir) rmSync(dir, { recursive: true, force: true });
  });
  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail') await tabs.screenshots('failed-projects');
    await tabs.close();
    for (const worker of workers.splice(0)) worker.vanish();
  });

  it('are created, limited and archived by an admin, with errors at their fields', async () => {
    const page = await tabs.open('/projects');
    await page.getByRole('button', { name: 'New project' }).click();
    await page.getByLabel('Name', { exact: true }).fill('ads');
    await page.getByText('Weight and limits').click();
    await page.getByLabel('Running jobs').fill('two');
    await page.getByRole('button', { name: 'Create project' }).click();
    const field = page.locator('#graft\\.limits\\.running_jobs-problem');
    expect(await field.textContent()).toBe('must be a number, got "two"');
    await page.getByLabel('Running jobs').fill('2');
    await page.getByLabel('Storage').fill('1.5');
    await page.getByLabel('Weight', { exact: true }).fill('3');
    await page.getByRole('button', { name: 'Create project' }).click();
    await page.locator('h1', { hasText: 'ads' }).waitFor();
    await text(page, 'No members yet. Add an owner first');
    await screenshot(page, 'project-new');
    await tab(page, 'Limits');
    await rows(page).filter({ hasText: 'Storage' }).getByText('1.5 GB').waitFor();
    const id = /\/projects\/([^/?]+)/.exec(page.url())![1]!;
    expect((await api.get<ProjectObject>(`/organization/projects/${id}`)).graft).toMatchObject({
      weight: 3,
      limits: { running_jobs: 2, storage_bytes: 1.5e9 },
    });
    // Emptying a limit removes it; the others stay.
    await page.getByLabel('Running jobs', { exact: true }).fill('');
    await page.getByRole('button', { name: 'Save' }).click();
    await text(page, '✓ saved');
    expect((await api.get<ProjectObject>(`/organization/projects/${id}`)).graft.limits).toEqual({
      storage_bytes: 1.5e9,
    });
    await screenshot(page, 'project-use');
    await tab(page, 'General');
    await page.getByLabel('Name', { exact: true }).fill('adverts');
    await page.getByRole('button', { name: 'Rename' }).click();
    await page.locator('h1', { hasText: 'adverts' }).waitFor();
    await page.getByRole('button', { name: 'Archive project' }).click();
    expect(await answer(page)).toMatch(/Archive adverts\?.*jobs are cancelled.*cannot be undone/);
    await until(() => page.url().endsWith('/projects'));
    await rows(page).first().waitFor();
    expect(await rows(page).filter({ hasText: 'adverts' }).count()).toBe(0);
    await page.getByLabel('show archived').check();
    await rows(page).filter({ hasText: 'adverts' }).getByText('archived').waitFor();
    await screenshot(page, 'projects');
    await page.getByRole('link', { name: 'adverts' }).click();
    await page.locator('.pill', { hasText: 'archived' }).waitFor();
    await tab(page, 'Members');
    expect(await page.getByRole('button', { name: 'Add member' }).count()).toBe(0);
    expect(tabs.problems(/status of 400/)).toEqual([]);
  });

  it('are deleted by an admin who types the name, and restored', async () => {
    const { project } = await team('notes', 'owner');
    const page = await tabs.open(`/projects/${project.id}`);
    await page.getByRole('button', { name: 'Delete project' }).click();
    const dialog = page.getByRole('dialog', { name: 'Delete project' });
    await dialog.getByRole('row', { name: /members 1/ }).waitFor();
    await screenshot(page, 'project-delete');
    const confirm = dialog.getByRole('button', { name: 'Delete project' });
    await dialog.getByLabel('Name of the project to delete').fill('note');
    expect(await confirm.isDisabled()).toBe(true);
    await dialog.getByLabel('Name of the project to delete').fill('notes');
    await confirm.click();
    await text(page, /will be deleted on/);
    await page.getByRole('button', { name: 'Delete project' }).waitFor({ state: 'detached' });
    const shown = async () =>
      (await api.get<ProjectObject>(`/organization/projects/${project.id}`)).graft.deletes_at;
    expect(await shown()).toEqual(expect.any(Number));
    await page.getByRole('link', { name: 'Projects', exact: true }).click();
    const row = rows(page).filter({ hasText: 'notes' });
    await row.getByText(/will be deleted on/).waitFor();
    await screenshot(page, 'projects-deleted');
    await row.getByRole('button', { name: 'Restore' }).click();
    await row.getByText('active').waitFor();
    expect(await shown()).toBeNull();
    expect(tabs.problems()).toEqual([]);
  });

  it('have members and keys that only their owner manages', async () => {
    const { project, key } = await team('search', 'owner');
    const page = await tabs.open('/project', { key });
    await page.waitForURL(/\/settings/);
    await page.locator('h1', { hasText: 'search' }).waitFor();
    // The navigation shows all pages until the rights of the key are known.
    await until(async () => !(await nav(page)).includes('Installation'));
    expect(await nav(page)).toContain('Project');
    await tab(page, 'Members');
    await page.getByLabel('Name of the new member').fill('bob');
    await page.getByLabel('Role of the new member').selectOption('viewer');
    await page.getByRole('button', { name: 'Add member' }).click();
    const bob = rows(page).filter({ hasText: 'bob' });
    await bob.waitFor();
    await screenshot(page, 'project-members');

    await tab(page, 'Keys');
    await page.getByLabel('Name of the new key').fill('desk');
    await page.getByLabel('Owner of the new key').selectOption({ label: 'bob (viewer)' });
    await page.getByRole('button', { name: 'Create key' }).click();
    const secret = (await page.getByRole('status').locator('code').textContent())!;
    expect(secret).toMatch(/^sk-graft-/);
    await rows(page)
      .filter({ hasText: 'bob (viewer)' })
      .getByText('jobs:read, files:read')
      .waitFor();
    await screenshot(page, 'project-keys');

    // A viewer sees limits and usage, and no actions that would be rejected.
    const seen = await tabs.open('/settings?tab=limits', { key: secret });
    await rows(seen).filter({ hasText: 'Running jobs' }).waitFor();
    await until(
      async () =>
        (await nav(seen)).join() ===
        'Jobs,Sweeps,Files,Models,Try,Evals,Cluster,Usage,Problems,Project',
    );
    await until(
      async () => (await seen.getByRole('tab').allTextContents()).join() === 'General,Limits',
    );
    expect(
      await seen
        .getByRole('button')
        .filter({ hasText: /Rename|Save/ })
        .count(),
    ).toBe(0);
    await seen.goto(`${api.url}/projects`);
    await seen.getByRole('alert').getByText('it is missing admin.').waitFor();

    // A changed role applies immediately. A removed member loses access.
    await tab(page, 'Members');
    await page.getByLabel('Role of bob').selectOption('member');
    expect(await answer(page)).toMatch(/Make bob a member\?/);
    await until(async () => {
      const list = await api.get<{ data: ProjectUserObject[] }>(
        `/organization/projects/${project.id}/users`,
      );
      return list.data.some(({ name, role }) => name === 'bob' && role === 'member');
    });
    await page.getByRole('button', { name: 'Remove bob' }).click();
    expect(await answer(page)).toMatch(/Their key is revoked/);
    await bob.waitFor({ state: 'detached' });
    await seen.goto(`${api.url}/project`);
    await seen.getByLabel('API key').waitFor();
    expect(tabs.problems(/status of (401|403)/)).toEqual([]);
  });

  it('keep an audit log with filters and pages in the address', async () => {
    const { project, key } = await team('audited', 'owner');
    const path = `/organization/projects/${project.id}/users`;
    for (let n = 0; n < 55; n++) await api.post(path, { name: `user-${n}`, role: 'viewer' });
    const page = await tabs.open('/settings?tab=audit', { key });
    await rows(page).filter({ hasText: 'user-54' }).waitFor();
    expect(await rows(page).count()).toBe(50);
    await page.getByRole('button', { name: 'Older' }).click();
    await rows(page).filter({ hasText: 'Project created' }).waitFor();
    await page.getByRole('button', { name: 'Newer' }).click();
    await rows(page).filter({ hasText: 'user-54' }).waitFor();
    await screenshot(page, 'project-audit');
    await page.getByLabel('Action').selectOption('api_key.created');
    await until(async () => (await rows(page).count()) === 1);
    expect(page.url()).toContain('type=api_key.created');
    await page.reload();
    await until(async () => (await rows(page).count()) === 1);
    await page.getByLabel('Member or key').fill('audited-ada');
    await page.keyboard.press('Enter');
    await text(page, 'No entries match these filters.');
    await page.getByRole('button', { name: 'Clear filters' }).click();
    await until(async () => (await rows(page).count()) === 50);
    await page.getByLabel('From date').fill('2001-01-01');
    await page.getByLabel('To date').fill('2001-01-02');
    await text(page, 'No entries match these filters.');
    expect(tabs.problems()).toEqual([]);
  });

  it('use only the pools that they are granted', async () => {
    const [mine, theirs] = [await team('alpha', 'member'), await team('beta', 'member')];
    for (const pool of ['open-pool', 'gpu'])
      workers.push(await new ScriptedWorker(api, { name: `in-${pool}`, pool }).connect());
    const page = await tabs.open('/cluster');
    const lane = page.getByRole('region', { name: 'Pool gpu' });
    await lane.getByText('all projects').waitFor();
    await lane.getByRole('link', { name: 'gpu', exact: true }).click();
    await page.getByLabel('Project to grant it to').selectOption({ label: 'alpha' });
    await page.getByRole('button', { name: 'Grant' }).click();
    expect(await answer(page)).toMatch(/Grant gpu to alpha\?/);
    await rows(page).filter({ hasText: 'alpha' }).waitFor();
    await screenshot(page, 'pool-access');

    const pools = async ({ key }: { key: string }) => {
      const form = await tabs.open('/new', { key });
      await toggle(form, 'More options: Options');
      return form.locator('#graft\\.pool option').allTextContents();
    };
    expect(await pools(mine)).toEqual(expect.arrayContaining(['gpu', 'open-pool']));
    const offered = await pools(theirs);
    expect(offered).toContain('open-pool');
    expect(offered).not.toContain('gpu');

    await page.getByRole('button', { name: 'Revoke alpha' }).click();
    expect(await answer(page)).toMatch(/The pool will then be closed to all projects/);
    await text(page, 'No project may use this pool.');
    await page.getByRole('button', { name: 'Open to all projects' }).click();
    await answer(page);
    await text(page, 'Every project may use this pool.');
    expect(tabs.problems()).toEqual([]);
  });

  it('warn that a limit is near or reached before a job is submitted', async () => {
    const { project, key } = await team('small', 'member', { limits: { queued_jobs: 1 } });
    const mine = { ...api, headers: { authorization: `Bearer ${key}` } };
    const file = await api.client.withOptions({ apiKey: key }).files.create({
      file: new File(['{"prompt":"a","completion":"b"}\n'.repeat(12)], 'few.jsonl'),
      purpose: 'fine-tune',
    });
    const page = await tabs.open(`/new?training_file=${file.id}`, { key });
    await page
      .getByRole('region', { name: 'What this job will do' })
      .getByText('steps')
      .first()
      .waitFor();
    expect(await page.getByText('queued job in this project').count()).toBe(0);
    const body = JSON.stringify({
      model: 'tiny',
      training_file: file.id,
      graft: { pool: 'nobody' },
    });
    const made = await fetch(`${mine.url}/v1/fine_tuning/jobs`, {
      method: 'POST',
      body,
      headers: { ...mine.headers, 'content-type': 'application/json' },
    });
    expect(made.status).toBe(200);
    await page.reload();
    await text(page, '1 queued job in this project (limit 1); new jobs are rejected');
    await screenshot(page, 'new-job-limit');
    await page.getByRole('button', { name: 'Submit' }).click();
    await page.getByRole('alert').getByText('its limit (queued_jobs) is 1').first().waitFor();
    expect(((await made.json()) as JobObject).organization_id).toBe(project.id);
    expect(tabs.problems(/status of 429/)).toEqual([]);
  });
});
