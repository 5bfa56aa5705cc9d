// Webhook endpoints and experiment trackers are set up, changed and deleted by owners and admins.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startTestApi, until, type TestApi } from '../../apps/api/test/fixture.js';
import { ask, makeProject } from '../../apps/api/test/projects.js';
import { TrackerServer } from '../../apps/api/test/tracker-server.js';
import { WebhookReceiver } from '../../apps/api/test/webhook-receiver.js';
import OpenAI from 'openai';
import { answer, buildDashboard, findBrowser, screenshot, startBrowser, Tabs } from './browser.js';

const program = findBrowser();
let dir: string;
let api: TestApi;
let browser: Browser;
let tabs: Tabs;
let receiver: WebhookReceiver;

describe.skipIf(!program)('webhooks and trackers in the dashboard', () => {
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'graft-dashboard-webhooks-'));
    buildDashboard(join(dir, 'built'));
    api = await startTestApi({
      dashboardDir: join(dir, 'built'),
      outboundNetworks: ['127.0.0.0/8'],
    });
    receiver = await WebhookReceiver.open();
    browser = await startBrowser();
    tabs = new Tabs(browser, api);
  });
  afterAll(async () => {
    await browser?.close();
    await receiver?.close();
    await api?.close();
    if (dir) rmSync(dir, { recursive: true, force: true });
  });
  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail') await tabs.screenshots('failed-webhooks');
    await tabs.close();
  });

  it('are created with a secret that is shown once, tested, disabled and deleted', async () => {
    const { owner, member } = await makeProject(api, `hooks ${Math.random()}`);
    const looks = await tabs.open('/webhooks', { key: member.key });
    await looks.getByRole('tab', { name: 'Limits' }).waitFor();
    expect(await looks.getByRole('tab', { name: 'Webhooks' }).count()).toBe(0);

    const page = await tabs.open('/webhooks', { key: owner.key });
    await page.getByText('No endpoints yet').waitFor();
    await page.getByRole('button', { name: 'Add endpoint' }).click();
    const drawer = page.getByRole('dialog', { name: 'Add endpoint' });
    await drawer.getByLabel('Name').fill('alarm');
    await drawer.getByLabel('Address').fill('https://10.0.0.1/');
    await drawer.getByRole('checkbox', { name: 'Eval run succeeded' }).uncheck();
    await screenshot(page, 'webhook-form');
    await drawer.getByRole('button', { name: 'Add endpoint' }).click();
    await page.getByText('is not an address of the public internet').waitFor();
    await drawer.getByLabel('Address').fill(receiver.url);
    await drawer.getByRole('button', { name: 'Add endpoint' }).click();
    const secret = (await page.getByRole('status').locator('code').textContent()) ?? '';
    expect(secret).toMatch(/^whsec_/);
    await page.getByRole('cell', { name: 'on', exact: true }).waitFor();
    await page.getByRole('cell', { name: /Eval runs: failed, cancelled/ }).waitFor();

    receiver.answer = (response) => void response.writeHead(500).end();
    await page.getByRole('button', { name: 'Send test to alarm' }).click();
    const result = page.getByRole('alert').filter({ hasText: 'did not accept the test event' });
    await result.getByText('pending: responded with 500').waitFor();
    await page.getByText('failing').waitFor();
    await screenshot(page, 'webhooks');
    await result.getByRole('button', { name: 'Dismiss' }).click();
    const choose = async (item: string) => {
      await page.getByRole('button', { name: 'Actions for alarm' }).click();
      await page.getByRole('menuitem', { name: item }).click();
    };
    await choose('Deliveries');
    receiver.answer = (response) => void response.writeHead(204).end();
    await page.getByRole('button', { name: /^Send whd_\d+ again$/ }).click();
    await page.getByText('delivered: HTTP 204').waitFor();
    await page.getByRole('button', { name: 'Close' }).click();
    const { body, headers } = receiver.received.at(-1)!;
    const { webhooks } = new OpenAI({ apiKey: 'none', webhookSecret: secret });
    expect((await webhooks.unwrap(body, headers as never)).object).toBe('event');

    await choose('New secret…');
    await answer(page);
    await until(
      async () => (await page.getByRole('status').locator('code').textContent()) !== secret,
    );
    await choose('Disable');
    await page.getByRole('cell', { name: 'off', exact: true }).waitFor();
    expect(await page.getByRole('button', { name: 'Send test to alarm' }).isDisabled()).toBe(true);
    await page.reload();
    await page.getByRole('cell', { name: 'off', exact: true }).waitFor();
    expect(await page.getByText('whsec_').count()).toBe(0);
    await choose('Delete…');
    await answer(page);
    await page.getByText('No endpoints yet').waitFor();
  });

  it('has trackers of a project, whose keys are never shown', async () => {
    const tracker = await TrackerServer.open();
    const { owner, member } = await makeProject(api, `tracked ${Math.random()}`);
    const looks = await tabs.open('/project', { key: member.key });
    await looks.getByRole('tab', { name: 'Limits' }).waitFor();
    expect(await looks.getByRole('tab', { name: 'Trackers' }).count()).toBe(0);

    const page = await tabs.open('/project?tab=trackers', { key: owner.key });
    await page.getByRole('button', { name: 'Set up Weights & Biases' }).click();
    await page.getByLabel('Address').fill('https://10.0.0.1/');
    await page.getByLabel('API key').fill('a-secret-key');
    await page.getByLabel('Team').fill('crew');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByText('is not an address of the public internet').waitFor();
    await page.getByLabel('Address').fill(tracker.url);
    await page.getByRole('checkbox', { name: /every job/ }).check();
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByRole('cell', { name: 'crew/graft' }).waitFor();
    await page.getByRole('cell', { name: 'every job' }).waitFor();
    await screenshot(page, 'trackers');

    await page.getByRole('button', { name: 'Change Weights & Biases' }).click();
    expect(await page.getByLabel('API key').inputValue()).toBe('');
    await page.getByLabel('API key').fill('another');
    await page.getByLabel('Project', { exact: true }).fill('pirates');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByRole('cell', { name: 'crew/pirates' }).waitFor();
    const list = await ask(api, owner.key, 'get', '/v1/integrations');
    expect(JSON.parse(list.text)).toMatchObject({
      data: [{ type: 'wandb', url: tracker.url, entity: 'crew', project: 'pirates' }],
    });
    expect(await page.content()).not.toContain('a-secret-key');
    await page.getByRole('button', { name: 'Delete Weights & Biases' }).click();
    await answer(page);
    await page.getByRole('button', { name: 'Set up Weights & Biases' }).waitFor();
    await tracker.stop();
  });
});
