import type { Page, WebhookDeliveryObject, WebhookEndpointObject } from '@graft/contracts';
import OpenAI from 'openai';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startTestApi, until, type TestApi } from './fixture.js';
import { ask } from './projects.js';
import { WebhookReceiver } from './webhook-receiver.js';

// Webhook endpoints: their fields, secrets, tests and limits.

const DAY = 24 * 3600;

let api: TestApi;
let receiver: WebhookReceiver;

beforeAll(async () => {
  api = await startTestApi({ outboundNetworks: ['127.0.0.0/8'], leaseMs: 1_500 });
});
afterAll(async () => {
  await api?.close();
});
beforeEach(async () => {
  receiver = await WebhookReceiver.open();
});
afterEach(async () => {
  await api.query('DELETE FROM webhook_endpoint');
  await api.query('DELETE FROM webhook_delivery');
  await receiver.close();
});

type Made = WebhookEndpointObject & { readonly secret: string };

const endpoint = (more: object = {}): Promise<Made> =>
  api.post<Made>('/webhook_endpoints', { name: 'ours', url: receiver.url, ...more });
const deliveries = async (id: string): Promise<readonly WebhookDeliveryObject[]> =>
  (await api.get<Page<WebhookDeliveryObject>>(`/webhook_endpoints/${id}/deliveries`)).data;
const stateOf = (id: string) => api.get<WebhookEndpointObject>(`/webhook_endpoints/${id}`);

describe('an endpoint', () => {
  it('is created, read, changed and deleted, and its secret is shown once', async () => {
    const made = await endpoint({ event_types: ['eval.run.failed', 'eval.run.failed'] });
    expect(made).toEqual({
      object: 'webhook_endpoint',
      id: expect.stringMatching(/^we_/) as string,
      name: 'ours',
      url: receiver.url,
      event_types: ['eval.run.failed'],
      enabled: true,
      disabled_reason: null,
      failing_since: null,
      last_delivered_at: null,
      created_at: expect.any(Number) as number,
      updated_at: made.created_at,
      signing_secret_hint: `whsec_…${made.signing_secret!.slice(-4)}`,
      signing_secret: expect.stringMatching(/^whsec_[A-Za-z0-9+/]{43}=$/) as string,
      secret: made.signing_secret,
    });
    const { signing_secret: _, secret, ...shown } = made;
    expect(await stateOf(made.id)).toEqual(shown);
    const listed = await api.get<Page<WebhookEndpointObject>>('/webhook_endpoints');
    expect(listed.data).toEqual([shown]);
    const changed = await api.post(`/webhook_endpoints/${made.id}`, {
      name: 'renamed',
      event_types: ['eval.run.canceled'],
      enabled: false,
    });
    expect(changed).toEqual({
      ...shown,
      name: 'renamed',
      event_types: ['eval.run.canceled'],
      enabled: false,
      updated_at: expect.any(Number) as number,
    });
    expect(
      JSON.stringify(await api.query('SELECT * FROM audit WHERE target = $1', [made.id])),
    ).not.toContain(secret.slice(6));
    expect(await ask(api, api.apiKey, 'delete', `/v1/webhook_endpoints/${made.id}`)).toMatchObject({
      status: 200,
      text: expect.stringContaining('"object":"webhook_endpoint.deleted"') as string,
    });
    expect((await ask(api, api.apiKey, 'get', `/v1/webhook_endpoints/${made.id}`)).status).toBe(
      404,
    );
  });

  it('says when a user changed it, which tests and unchanged updates do not', async () => {
    const { id, url } = await endpoint();
    const isChanged = async (path: string, body: object): Promise<boolean> => {
      await api.query(`UPDATE webhook_endpoint SET updated_at = created_at - interval '1 hour'`);
      const { updated_at: before } = await stateOf(id);
      await api.post(`/webhook_endpoints/${id}${path}`, body);
      return (await stateOf(id)).updated_at > before;
    };
    const unchanged = [{}, { name: 'ours', url }, { enabled: true }];
    for (const body of unchanged) expect([body, await isChanged('', body)]).toEqual([body, false]);
    expect(await isChanged('/test', {})).toBe(false);
    const event_types = ['eval.run.failed'];
    const changed = [{ name: 'other' }, { url: `${url}?x` }, { event_types }, { enabled: false }];
    for (const body of changed) expect([body, await isChanged('', body)]).toEqual([body, true]);
    expect(await isChanged('/rotate_secret', {})).toBe(true);
  });

  it('signs with both secrets for a day after one is replaced, on request', async () => {
    const { id, secret } = await endpoint();
    const rotate = (body?: object) =>
      api.post<Made>(`/webhook_endpoints/${id}/rotate_secret`, body);
    const { secret: fresh } = await rotate({ keep_old_secret_active_for_24_hours: true });
    expect(fresh).not.toBe(secret);
    const verify = async (webhookSecrets: readonly string[]): Promise<boolean[]> => {
      const seen = receiver.received.length;
      await api.post(`/webhook_endpoints/${id}/test`);
      await until(() => receiver.received.length > seen);
      const { body, headers } = receiver.received.at(-1)!;
      const checks = webhookSecrets.map((webhookSecret) =>
        new OpenAI({ apiKey: 'none', webhookSecret }).webhooks.verifySignature(
          body,
          headers as never,
        ),
      );
      return (await Promise.allSettled(checks)).map(({ status }) => status === 'fulfilled');
    };
    expect(await verify([secret, fresh])).toEqual([true, true]);
    await api.query(
      `UPDATE webhook_endpoint SET old_secret_until = old_secret_until - interval '${DAY + 1} seconds'`,
    );
    expect(await verify([secret, fresh])).toEqual([false, true]);
    // Without the request, as at OpenAI, the old secret is invalid immediately.
    for (const body of [undefined, { keep_old_secret_active_for_24_hours: false }]) {
      const old = (await rotate({ keep_old_secret_active_for_24_hours: true })).secret;
      const { signing_secret: last, signing_secret_hint: hint } = await rotate(body);
      expect(last!.endsWith(hint.slice(-4))).toBe(true);
      expect(await verify([old, last!])).toEqual([false, true]);
    }
  });

  it('gets a sample of an event type once, and the response has its status', async () => {
    const { id, secret } = await endpoint({ event_types: ['eval.run.failed'] });
    const test = (body: object) =>
      ask(api, api.apiKey, 'post', `/v1/webhook_endpoints/${id}/test`, body);
    receiver.answer = (response) => void response.writeHead(418).end();
    const { data: types } = await api.get<{ data: readonly string[] }>('/webhook_event_types');
    expect(types).toContain('fine_tuning.job.succeeded');
    for (const event_type of types)
      expect(JSON.parse((await test({ event_type })).text)).toEqual({
        object: 'webhook_endpoint.test',
        webhook_endpoint_id: id,
        event_type,
        status_code: 418,
        success: true,
      });
    expect(receiver.received.map(({ event }) => event.type)).toEqual(types);
    const [first] = receiver.received;
    const client = new OpenAI({ apiKey: 'none', webhookSecret: secret });
    const event = await client.webhooks.unwrap(first!.body, first!.headers as never);
    expect(event).toMatchObject({ object: 'event', type: types[0], data: { id } });
    expect(await deliveries(id)).toEqual([]);
    expect((await stateOf(id)).failing_since).toBeNull();

    const unknown = await test({ event_type: 'video.completed' });
    expect(unknown).toMatchObject({ status: 400, code: 'invalid_value' });
    expect(unknown.text).toContain('"param":"event_type"');
    await api.query('UPDATE webhook_endpoint SET url = $1', ['http://127.0.0.1:9/']);
    const silent = await test({ event_type: types[0] });
    expect(silent).toMatchObject({ status: 400, code: 'invalid_state' });
    expect(silent.text).toContain(`${id} did not respond: `);
    expect(receiver.received).toHaveLength(types.length);
  });

  it('can be tested, and failed deliveries can be retried', async () => {
    const { id } = await endpoint({ event_types: ['eval.run.failed'] });
    receiver.answer = (response) => void response.writeHead(500).end();
    const test = await api.post<WebhookDeliveryObject>(`/webhook_endpoints/${id}/test`);
    expect(test).toMatchObject({
      object: 'webhook_endpoint.delivery',
      status: 'pending',
      event: { object: 'event', type: 'graft.webhook_endpoint.test', data: { id } },
      tries: [],
    });
    await until(async () => (await deliveries(id))[0]!.tries.length === 1);
    receiver.answer = (response) => void response.writeHead(200).end();
    await api.post(`/webhook_endpoints/${id}/deliveries/${test.id}/retry`);
    await until(async () => (await deliveries(id))[0]!.status === 'delivered');
    expect(await receiver.of(id, 2)).toHaveLength(2);
  });

  it('must have a public https address, unless the operator allows its network', async () => {
    const made = (url: string) =>
      ask(api, api.apiKey, 'post', '/v1/webhook_endpoints', { name: 'x', url });
    const refused: [string, string][] = [
      ['https://10.0.0.1/', 'is not an address of the public internet'],
      ['https://169.254.169.254/latest', 'is not an address of the public internet'],
      ['https://[fd00::1]/', 'is not an address of the public internet'],
      ['https://[::ffff:10.0.0.1]/', 'is not an address of the public internet'],
      ['https://0xa000001/', 'is not an address of the public internet'],
      ['http://93.184.216.34/', 'must begin with https://'],
      ['ftp://93.184.216.34/', 'expected a URL such as https://…, got ftp:'],
      ['nothing', 'expected a URL such as https://…'],
      ['https://me:secret@93.184.216.34/', 'must not contain a user name or password'],
    ];
    for (const [url, reason] of refused) {
      const answer = await made(url);
      expect([url, answer.status, answer.code]).toEqual([url, 400, 'invalid_value']);
      expect(answer.text).toContain(reason);
      expect(answer.text).toContain('"param":"url"');
    }
    expect((await made('https://93.184.216.34/')).status).toBe(200);
    const strict = await startTestApi();
    try {
      for (const url of ['http://127.0.0.1/', 'https://127.0.0.1/', 'https://localhost/']) {
        const answer = await ask(strict, strict.apiKey, 'post', '/v1/webhook_endpoints', {
          name: 'x',
          url,
        });
        expect([url, answer.status]).toEqual([url, 400]);
        expect(answer.text).toContain('GRAFT_OUTBOUND_NETWORKS');
      }
    } finally {
      await strict.close();
    }
    await expect(startTestApi({ outboundNetworks: ['10.0.0.0'] })).rejects.toThrow(
      'expected networks such as 10.0.0.0/8 or fd00::/8, got 10.0.0.0',
    );
  });

  it('is limited to twenty per project', async () => {
    for (let n = 0; n < 20; n++) await endpoint();
    await expect(endpoint()).rejects.toThrow('a project has at most 20 webhook endpoints');
  });
});
