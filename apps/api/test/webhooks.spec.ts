import type {
  JobObject,
  Page,
  WebhookDeliveryObject,
  WebhookEndpointObject,
  WebhookEventType,
} from '@graft/contracts';
import OpenAI from 'openai';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { EVAL, RUN } from './changes/eval-changes.js';
import { importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { ask, makeProject } from './projects.js';
import { ScriptedWorker, started, step } from './scripted-worker.js';
import { WebhookReceiver } from './webhook-receiver.js';

// Webhooks to a real server, verified by OpenAI's own client.

const LOOPBACK = ['127.0.0.0/8'];

let api: TestApi;
let other: TestApi;
let file: string;
let receiver: WebhookReceiver;
const workers: ScriptedWorker[] = [];

beforeAll(async () => {
  // Checks for pending deliveries every half second.
  api = await startTestApi({ outboundNetworks: LOOPBACK, leaseMs: 1_500 });
  other = await startTestApi({ beside: api });
  await importBase(api);
  file = await uploadChats(api);
});
afterAll(async () => {
  await other?.close();
  await api?.close();
});
beforeEach(async () => {
  receiver = await WebhookReceiver.open();
});
afterEach(async () => {
  for (const worker of workers.splice(0)) worker.vanish();
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
/** Skips the retry delay. */
const skipDelay = () =>
  api.query(`UPDATE webhook_delivery SET next_at = clock_timestamp() WHERE status = 'pending'`);

const job = async (pool = 'unserved'): Promise<string> =>
  (
    await api.post<JobObject>('/fine_tuning/jobs', {
      model: 'tiny',
      training_file: file,
      metadata: { n: String(Math.random()) },
      graft: { pool },
    })
  ).id;
const cancelled = async (): Promise<string> => {
  const id = await job();
  await api.post(`/fine_tuning/jobs/${id}/cancel`);
  return id;
};
/** Runs a job to its end in its own pool, so that the worker takes no job of another test. */
async function ended(how: 'succeeded' | 'failed'): Promise<string> {
  const pool = `pool-${Math.random().toString(36).slice(2)}`;
  const worker = await new ScriptedWorker(api, { pool }).connect();
  workers.push(worker);
  const id = await job(pool);
  const lease = await worker.nextAssignment();
  worker.keep(lease);
  await worker.report(lease, started(0, 1), step(1));
  if (how === 'succeeded') await worker.finish(lease, 1);
  else
    await worker.report(lease, {
      kind: 'failed',
      payload: { code: 'user_error', message: 'by the test', retryable: false, param: '' },
    } as never);
  await until(async () => (await api.get<JobObject>(`/fine_tuning/jobs/${id}`)).status === how);
  return id;
}

describe('the end of a job or a run', () => {
  it("is sent in OpenAI's format, and OpenAI's client verifies the signature", async () => {
    const { secret } = await endpoint();
    const before = Math.floor(Date.now() / 1000) - 5;
    const wanted: [string, WebhookEventType][] = [
      [await ended('succeeded'), 'fine_tuning.job.succeeded'],
      [await ended('failed'), 'fine_tuning.job.failed'],
      [await cancelled(), 'fine_tuning.job.cancelled'],
    ];
    const client = new OpenAI({ apiKey: 'none', webhookSecret: secret });
    for (const [id, type] of wanted) {
      const [delivered] = await receiver.of(id);
      const event = await client.webhooks.unwrap(delivered!.body, delivered!.headers as never);
      expect(event).toEqual({
        id: delivered!.headers['webhook-id'],
        object: 'event',
        type,
        created_at: expect.any(Number) as number,
        data: { id },
      });
      expect(event.id).toMatch(/^evt_/);
      expect(event.created_at).toBeGreaterThanOrEqual(before);
      const otherClient = new OpenAI({ apiKey: 'none', webhookSecret: `whsec_${btoa('another')}` });
      await expect(
        otherClient.webhooks.unwrap(delivered!.body, delivered!.headers as never),
      ).rejects.toBeInstanceOf(OpenAI.InvalidWebhookSignatureError);
      const altered = delivered!.body.replace(id, `${id}x`);
      await expect(client.webhooks.unwrap(altered, delivered!.headers as never)).rejects.toThrow();
    }
    expect(receiver.received).toHaveLength(3);
  });

  it('follows the warnings of a run, each of which is sent once', async () => {
    await endpoint({ event_types: ['graft.job.warning'] });
    const pool = 'warned';
    const worker = await new ScriptedWorker(api, { pool }).connect();
    workers.push(worker);
    const id = await job(pool);
    const lease = await worker.nextAssignment();
    worker.keep(lease);
    const line = (code: string) =>
      ({ kind: 'log', payload: { level: 'warn', code, message: 'Look at it.' } }) as never;
    await worker.report(lease, started(0, 3), step(1), line('loss_spike'), line(''));
    await worker.report(lease, line('loss_spike'), line('slow'));
    await until(async () => (await receiver.of(id)).length === 2);
    const sent = (await receiver.of(id)).map(({ event }) => [event.type, event.data.id]);
    expect(sent).toEqual([
      ['graft.job.warning', id],
      ['graft.job.warning', id],
    ]);
    const { graft } = await api.get<JobObject>(`/fine_tuning/jobs/${id}`);
    expect(graft.warnings.map(({ code }) => code)).toEqual(['loss_spike', 'slow']);
    await worker.finish(lease, 3);
    expect(await receiver.of(id)).toHaveLength(2);
  });

  it('of an eval is sent too', async () => {
    await endpoint();
    const { id } = await api.post<{ id: string }>('/evals', EVAL);
    const run = await api.post<{ id: string }>(`/evals/${id}/runs`, RUN);
    expect((await receiver.of(run.id))[0]!.event.type).toBe('eval.run.succeeded');
    const held = await api.post<{ id: string }>(`/evals/${id}/runs`, RUN);
    // It may have ended already; reset it so that it can be canceled.
    await api.query(
      `UPDATE eval_run SET status = 'in_progress', owner = 'another',
         owner_until = clock_timestamp() + interval '1 hour' WHERE id = $1`,
      [held.id],
    );
    await api.post(`/evals/${id}/runs/${held.id}`);
    await until(() =>
      receiver.received.some(
        ({ event }) => event.data.id === held.id && event.type === 'eval.run.canceled',
      ),
    );
  });

  it('is sent only to subscribed endpoints of its project', async () => {
    const wants = await endpoint({ event_types: ['fine_tuning.job.cancelled'] });
    const not = await endpoint({ event_types: ['fine_tuning.job.failed'] });
    const theirs = await makeProject(api, 'elsewhere');
    const foreign = await ask(api, theirs.owner.key, 'post', '/v1/webhook_endpoints', {
      name: 'theirs',
      url: receiver.url,
    });
    expect(foreign.status).toBe(200);
    const id = await cancelled();
    const rows = await api.query<{ endpoint_id: string; same: boolean }>(
      `SELECT endpoint_id, webhook_delivery.created_at >= job.finished_at AS same
       FROM webhook_delivery JOIN job ON job.id = target WHERE target = $1`,
      [id],
    );
    expect(rows).toEqual([{ endpoint_id: wants.id, same: true }]);
    expect(await deliveries(not.id)).toEqual([]);
    expect(await receiver.of(id)).toHaveLength(1);
  });

  it('is sent after the commit, and never after a rollback', async () => {
    await endpoint();
    const kept = await job();
    // The cancellation fails after its event was written.
    await api.query(
      `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not now'; END $$`,
    );
    await api.query(
      `CREATE TRIGGER refuse BEFORE INSERT ON audit FOR EACH ROW WHEN (NEW.action = 'job.cancelled') EXECUTE FUNCTION refuse()`,
    );
    const answer = await ask(api, api.apiKey, 'post', `/v1/fine_tuning/jobs/${kept}/cancel`);
    await api.query('DROP TRIGGER refuse ON audit');
    await api.query('DROP FUNCTION refuse');
    expect(answer.status).toBe(500);
    expect(await api.query('SELECT 1 FROM webhook_delivery WHERE target = $1', [kept])).toEqual([]);
    await api.post(`/fine_tuning/jobs/${kept}/cancel`);
    expect(await receiver.of(kept)).toHaveLength(1);
  });
});

describe('a delivery', () => {
  it('is retried with growing delays, as the same event, and each attempt is recorded', async () => {
    const { id, secret } = await endpoint();
    const answers = [500, 302];
    receiver.answer = (response) =>
      void response.writeHead(answers.shift() ?? 200, { location: '/elsewhere' }).end('thanks');
    const target = await cancelled();
    await receiver.of(target, 1);
    await until(async () => (await deliveries(id))[0]!.tries.length === 1);
    const first = (await deliveries(id))[0]!;
    expect(first).toMatchObject({ status: 'pending', finished_at: null });
    const [{ pause }] = (await api.query<{ pause: number }>(
      'SELECT extract(epoch FROM next_at - clock_timestamp())::float8 AS pause FROM webhook_delivery',
    )) as [{ pause: number }];
    expect(pause).toBeLessThan(6.3);
    expect((await stateOf(id)).failing_since).not.toBeNull();
    await skipDelay();
    await until(async () => (await deliveries(id))[0]!.tries.length === 2);
    await skipDelay();
    await until(async () => (await deliveries(id))[0]!.status === 'delivered');
    const [done] = await deliveries(id);
    expect(done!.tries).toMatchObject([
      { status_code: 500, error: 'responded with 500' },
      { status_code: 302, error: 'responded with 302; redirects are not followed' },
      { status_code: 200, error: null },
    ]);
    expect(done).toMatchObject({ next_try_at: null, finished_at: expect.any(Number) as number });
    const all = await receiver.of(target, 3);
    expect(all.map(({ path }) => path)).toEqual(['/hook', '/hook', '/hook']);
    expect(new Set(all.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
    const client = new OpenAI({ apiKey: 'none', webhookSecret: secret });
    await client.webhooks.verifySignature(all[2]!.body, all[2]!.headers as never);
    expect(await stateOf(id)).toMatchObject({
      failing_since: null,
      last_delivered_at: expect.any(Number) as number,
    });
  });

  it('fails after three days; an endpoint that failed for that long is disabled, and other endpoints are notified', async () => {
    const bad = await endpoint({ event_types: ['fine_tuning.job.cancelled'] });
    receiver.answer = (response) => void response.writeHead(503).end();
    await cancelled();
    await until(async () => (await deliveries(bad.id))[0]!.tries.length === 1);
    const good = await WebhookReceiver.open();
    const notified = await endpoint({
      url: good.url,
      event_types: ['graft.webhook_endpoint.disabled'],
    });
    await api.query(
      `UPDATE webhook_delivery SET created_at = created_at - interval '3 days', next_at = clock_timestamp()`,
    );
    await api.query(
      `UPDATE webhook_endpoint SET failing_since = failing_since - interval '3 days' WHERE id = $1`,
      [bad.id],
    );
    const reason = 'Every attempt of the last three days failed';
    await until(async () => !(await stateOf(bad.id)).enabled);
    expect(await stateOf(bad.id)).toMatchObject({ enabled: false, disabled_reason: reason });
    expect(await deliveries(bad.id)).toMatchObject([
      { status: 'failed', next_try_at: null, tries: [{ status_code: 503 }, { status_code: 503 }] },
    ]);
    const [delivered] = await good.of(bad.id);
    expect(delivered!.event.type).toBe('graft.webhook_endpoint.disabled');
    await good.close();
    expect(
      await api.query(`SELECT action, key_id, detail FROM audit WHERE target = $1 ORDER BY id`, [
        bad.id,
      ]),
    ).toMatchObject([
      { action: 'webhook_endpoint.created' },
      { action: 'webhook_endpoint.disabled', key_id: null, detail: { reason } },
    ]);
    // It receives nothing until it is enabled again.
    const missed = await cancelled();
    receiver.answer = (response) => void response.writeHead(204).end();
    const on = await api.post<WebhookEndpointObject>(`/webhook_endpoints/${bad.id}`, {
      enabled: true,
    });
    expect(on).toMatchObject({ enabled: true, disabled_reason: null, failing_since: null });
    const next = await cancelled();
    await receiver.of(next);
    expect(receiver.received.some(({ event }) => event.data.id === missed)).toBe(false);
    expect((await stateOf(notified.id)).enabled).toBe(true);
  });

  it('that gets 410 (Gone) disables the endpoint', async () => {
    const { id } = await endpoint();
    receiver.answer = (response) => void response.writeHead(410).end();
    await cancelled();
    await until(async () => !(await stateOf(id)).enabled);
    expect((await stateOf(id)).disabled_reason).toBe('The endpoint responded with 410 (Gone)');
    const refused = await ask(api, api.apiKey, 'post', `/v1/webhook_endpoints/${id}/test`);
    expect(refused).toMatchObject({ status: 400, code: 'invalid_state' });
  });

  it('is sent to an endpoint one at a time, by any of several API processes', async () => {
    const { id } = await endpoint();
    const waiting: (() => void)[] = [];
    receiver.answer = (response) => void waiting.push(() => response.writeHead(204).end());
    const targets = [await cancelled(), await cancelled(), await cancelled()];
    for (const nth of [1, 2, 3]) {
      await until(() => waiting.length === nth);
      // Both processes have checked meanwhile, and one claims the endpoint.
      await api.post(`/webhook_endpoints/${id}`, { enabled: true });
      await new Promise((resolve) => setTimeout(resolve, 700));
      expect(receiver.received).toHaveLength(nth);
      waiting.at(-1)!();
    }
    await until(async () => (await deliveries(id)).every(({ status }) => status === 'delivered'));
    expect(receiver.mostAtOnce).toBe(1);
    expect(receiver.received.map(({ event }) => event.data.id).sort()).toEqual(targets.sort());
  });

  it('waits while another process claims the endpoint, and continues after the claim expires', async () => {
    const { id } = await endpoint();
    const setOwner = (until: string) =>
      api.query(
        `UPDATE webhook_endpoint SET owner = 'another', owner_until = clock_timestamp() ${until}`,
      );
    await setOwner(`+ interval '1 hour'`);
    const target = await cancelled();
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    expect(receiver.received).toEqual([]);
    await setOwner(`- interval '1 second'`);
    expect(await receiver.of(target)).toHaveLength(1);
    await until(async () => (await deliveries(id))[0]!.status === 'delivered');
  });

  it('is not blocked by slow endpoints of other projects', async () => {
    const [slow, events] = [40, 30];
    receiver.answer = (response, { path }) => {
      const answer = (status: number) => void response.writeHead(status).end();
      if (path.includes('slow')) setTimeout(() => answer(500), 500);
      else answer(204);
    };
    await api.query(
      `INSERT INTO webhook_endpoint (id, project_id, name, url, event_types, secret)
       SELECT 'we_slow' || n, 'others' || n / 20, 'slow', $1 || '?slow' || n, '[]', 'whsec_c2xvdw=='
       FROM generate_series(1, $2::int) AS n`,
      [receiver.url, slow],
    );
    await api.query(
      `INSERT INTO webhook_delivery (endpoint_id, event_id, type, target)
       SELECT 'we_slow' || n, 'evt_' || n || '_' || k, 'fine_tuning.job.failed', 'we_slow' || n
       FROM generate_series(1, $1::int) AS n, generate_series(1, $2::int) AS k`,
      [slow, events],
    );
    // The maximum of concurrent deliveries of both processes.
    await until(() => receiver.mostAtOnce === 32);
    const { id } = await endpoint();
    await api.post(`/webhook_endpoints/${id}/test`);
    await receiver.of(id);
    const countOf = (n: number): number =>
      receiver.received.filter(({ event }) => event.data.id === `we_slow${n}`).length;
    expect(Math.max(...Array.from({ length: slow }, (_, n) => countOf(n + 1)))).toBeLessThan(
      events,
    );
  });

  it('stops when its project is archived, including pending ones', async () => {
    const project = await makeProject(api, 'to archive');
    receiver.answer = (response) => void response.writeHead(500).end();
    const as = (path: string, body: object) => ask(api, project.owner.key, 'post', path, body);
    const { text } = await as('/v1/webhook_endpoints', { name: 'theirs', url: receiver.url });
    const { id } = JSON.parse(text) as Made;
    await as(`/v1/webhook_endpoints/${id}/test`, {});
    await until(() => receiver.received.length === 1);
    await api.post(`/organization/projects/${project.id}/archive`);
    receiver.answer = (response) => void response.writeHead(204).end();
    await skipDelay();
    // Deliveries of other projects continue.
    const ours = await endpoint();
    await receiver.of(await cancelled());
    await skipDelay();
    await receiver.of(await cancelled());
    expect(receiver.received).toHaveLength(3);
    expect(await deliveries(ours.id)).toHaveLength(2);
    const [left] = await api.query<{ status: string }>(
      'SELECT status FROM webhook_delivery WHERE endpoint_id = $1',
      [id],
    );
    expect(left).toEqual({ status: 'pending' });
  });

  it('never reaches an address that is not public, even if the endpoint was created before', async () => {
    const { id } = await endpoint();
    const port = new URL(receiver.url).port;
    // As if a host name now resolved to these addresses.
    for (const host of ['10.255.255.1', '[::1]', '169.254.169.254']) {
      await api.query('UPDATE webhook_endpoint SET url = $1', [`https://${host}:${port}/`]);
      const { id: delivery } = await api.post<WebhookDeliveryObject>(
        `/webhook_endpoints/${id}/test`,
      );
      const now = () =>
        api.get<WebhookDeliveryObject>(`/webhook_endpoints/${id}/deliveries/${delivery}`);
      await until(async () => (await now()).tries.length === 1);
      expect((await now()).tries[0]).toMatchObject({
        status_code: null,
        error: expect.stringContaining('is not an address of the public internet') as string,
      });
    }
    expect(receiver.received).toEqual([]);
  });
});
