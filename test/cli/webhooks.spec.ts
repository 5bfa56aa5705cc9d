import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { WebhookDeliveryObject, WebhookEndpointObject } from '@graft/contracts';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startTestApi, type TestApi } from '../../apps/api/test/fixture.js';
import { WebhookReceiver } from '../../apps/api/test/webhook-receiver.js';
import { graft, type Done } from './graft.js';

// `graft webhooks` against a real API that sends to a local server.
let home: string;
let api: TestApi;
let receiver: WebhookReceiver;
const run = (...args: string[]): Promise<Done> => graft(home, ['webhooks', ...args]);

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'graft-cli-'));
  api = await startTestApi({ outboundNetworks: ['127.0.0.0/8'] });
  const credentials = { url: `${api.url}/v1`, api_key: api.apiKey };
  writeFileSync(join(home, 'credentials.json'), JSON.stringify(credentials));
  receiver = await WebhookReceiver.open();
});
afterAll(async () => {
  await receiver?.close();
  await api?.close();
  rmSync(home, { recursive: true, force: true });
});

it('creates, tests, changes and deletes an endpoint, and shows its deliveries', async () => {
  expect((await run()).out).toBe('no endpoints yet: graft webhooks create NAME https://…\n');
  const made = await run('create', 'ours', receiver.url, '--event', 'eval.run.failed');
  expect(made.code).toBe(0);
  expect(made.out).toMatch(/^whsec_\S+\n$/);
  const id = /we_\w+/.exec(made.err)?.[0] ?? '';
  expect(made.err).toContain('save this secret now');
  const listed = JSON.parse((await run('list', '--json')).out) as WebhookEndpointObject[];
  expect(listed).toMatchObject([{ id, event_types: ['eval.run.failed'], enabled: true }]);
  expect(listed[0]).not.toHaveProperty('signing_secret');

  const tested = await run('test', 'ours');
  expect(tested.err).toBe('');
  expect(tested.out).toMatch(/^whd_\d+ delivered: HTTP 204 after \d+ ms\n$/);
  expect((await receiver.of(id)).length).toBe(1);
  receiver.answer = (response) => void response.writeHead(418).end();
  const failed = await run('test', id);
  // Postpone the automatic retry.
  await api.query(`UPDATE webhook_delivery SET next_at = next_at + interval '1 hour'`);
  expect([failed.code, failed.err]).toEqual([
    1,
    expect.stringMatching(/^graft: whd_\d+ failed: responded with 418\n$/),
  ]);
  expect((await run('list')).out).toMatch(new RegExp(`${id} +ours +\\S+ +failing for `));
  const sent = JSON.parse(
    (await run('deliveries', 'ours', '--json')).out,
  ) as WebhookDeliveryObject[];
  expect(sent.map(({ status }) => status)).toEqual(['pending', 'delivered']);
  expect((await run('deliveries', id)).out).toMatch(
    /graft\.webhook_endpoint\.test .*responded with 418/,
  );
  receiver.answer = (response) => void response.writeHead(200).end();
  expect((await run('retry', id, sent[0]!.id)).out).toContain('delivered: HTTP 200');

  const rotated = await run('rotate-secret', id);
  expect(rotated.out).toMatch(/^whsec_\S+\n$/);
  expect(rotated.out).not.toBe(made.out);
  const other = `${receiver.url}?other`;
  const oldSecrets = (): Promise<{ old_secret: string | null }[]> =>
    api.query('SELECT old_secret FROM webhook_endpoint WHERE id = $1', [id]);
  expect(await oldSecrets()).toEqual([{ old_secret: made.out.trim() }]);
  const again = await run('rotate-secret', id, '--revoke-old');
  expect(again.out).toMatch(/^whsec_\S+\n$/);
  expect(await oldSecrets()).toEqual([{ old_secret: null }]);
  const changed = await run('update', id, '--name', 'theirs', '--to', other, '--json');
  expect(JSON.parse(changed.out)).toMatchObject({ name: 'theirs', url: other });
  expect((await run('disable', id)).out).toBe(`${id} theirs off\n`);
  expect((await run('test', id)).err).toBe(
    `graft: ${id} is disabled; enable it first (endpoint_id)\n`,
  );
  expect((await run('enable', id)).out).toBe(`${id} theirs on\n`);
  expect((await run('delete', 'ours')).err).toBe(
    'graft: no endpoint named ours; see graft webhooks\n',
  );
  const twin = await run('create', 'theirs', other);
  const twinId = /we_\w+/.exec(twin.err)?.[0] ?? '';
  const many = await run('delete', 'theirs');
  expect(many).toMatchObject({ code: 2, out: '' });
  for (const one of [id, twinId]) expect(many.err).toContain(one);
  await run('delete', twinId);
  expect((await run('delete', 'theirs')).out).toBe(`${id} deleted\n`);
  expect((await run('create', 'x', 'https://10.0.0.1/')).err).toContain(
    'url: 10.0.0.1 is not an address of the public internet',
  );
});

// `graft integrations`, which uses the same server.
it('sets up a tracker with a key from the environment, lists it without the key, and deletes it', async () => {
  const integrations = (args: string[], env = {}): Promise<Done> =>
    graft(home, ['integrations', ...args], '', { WANDB_API_KEY: '', ...env });
  expect((await integrations([])).out).toContain('no integrations yet');
  expect((await integrations(['set', 'wandb'])).err).toContain('api_key is required');
  const { origin } = new URL(receiver.url);
  const key = { WANDB_API_KEY: 'not-to-be-seen' };
  const options = [origin, '--entity', 'crew', '--every-job'];
  const made = await integrations(['set', 'wandb', ...options], key);
  expect(made.out).toBe(`Weights & Biases at ${origin}: every job\n`);
  const named = [origin, '--username', 'graft', '--api-key-env', 'OUR_KEY', '--json'];
  const second = await integrations(['set', 'mlflow', ...named], { OUR_KEY: 'p' });
  expect(JSON.parse(second.out)).toMatchObject({ id: 'mlflow', username: 'graft' });
  const listed = await integrations([]);
  expect(listed.out).toMatch(/wandb +\S+ +crew\/graft +every +on +never/);
  expect(listed.out).toMatch(/mlflow +\S+ +graft +by name +on +never/);
  expect(listed.out + made.out).not.toContain('not-to-be-seen');
  expect((await integrations(['delete', 'wandb'])).out).toBe('wandb deleted\n');
  expect((await integrations(['set', 'comet'])).code).toBe(2);
});
