import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, it } from 'vitest';
import { importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { WebhookReceiver } from './webhook-receiver.js';

// An API process that is killed, or loses an endpoint, during its deliveries: another process sends them
// again, and none is lost.

/** More than the number of concurrent deliveries of one process. */
const ENDPOINTS = 20;

let api: TestApi;
let receiver: WebhookReceiver;
let kill = (): void => undefined;
afterEach(async () => {
  kill();
  await receiver?.close();
  await api?.close();
});

it('deliveries of a killed process are sent by another, as the same event', async () => {
  api = await startTestApi({ outboundNetworks: ['127.0.0.0/8'], leaseMs: 1_500 });
  receiver = await WebhookReceiver.open();
  await importBase(api);
  const job = await api.post<{ id: string }>('/fine_tuning/jobs', {
    model: 'tiny',
    training_file: await uploadChats(api),
    graft: { pool: 'unserved' },
  });
  const child = spawn(
    process.execPath,
    [fileURLToPath(new URL('process.mjs', import.meta.url)), JSON.stringify(api.config)],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  );
  kill = () => void child.kill('SIGKILL');
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
  await until(() => text.startsWith('ready'), 60_000);
  for (let n = 0; n < ENDPOINTS; n++)
    await api.post('/webhook_endpoints', { name: `${n}`, url: `${receiver.url}?${n}` });

  const waiting: ServerResponse[] = [];
  receiver.answer = (response) => void waiting.push(response);
  await api.post(`/fine_tuning/jobs/${job.id}/cancel`);
  await until(() => waiting.length === ENDPOINTS, 30_000);
  kill();
  await once(child, 'exit');
  const destroyed = (): number => waiting.filter((response) => response.destroyed).length;
  // Its connections end with it, but the sockets do not all close at the same time.
  let cut = 0;
  await until(async () => {
    cut = destroyed();
    await new Promise((resolve) => setTimeout(resolve, 250));
    return cut > 0 && destroyed() === cut;
  });
  expect(cut).toBeLessThan(ENDPOINTS);

  receiver.answer = (response) => void response.writeHead(204).end();
  for (const response of waiting) if (!response.destroyed) response.writeHead(204).end();
  const pending = () =>
    api
      .query(`SELECT 1 FROM webhook_delivery WHERE status = 'pending'`)
      .then((rows) => rows.length);
  await until(async () => (await pending()) === cut);
  // Expires its claims.
  await api.query(
    'UPDATE webhook_endpoint SET owner_until = clock_timestamp() WHERE owner IS NOT NULL',
  );
  await until(async () => (await pending()) === 0);
  expect(
    await api.query(
      `SELECT DISTINCT status, jsonb_array_length(tries) AS tries FROM webhook_delivery`,
    ),
  ).toEqual([{ status: 'delivered', tries: 1 }]);
  const all = await receiver.of(job.id, ENDPOINTS + cut);
  expect(all).toHaveLength(ENDPOINTS + cut);
  expect(new Set(all.map(({ path }) => path)).size).toBe(ENDPOINTS);
  expect(new Set(all.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
});

it('deliveries are sent again if their endpoint went to another process before the response', async () => {
  api = await startTestApi({ outboundNetworks: ['127.0.0.0/8'], leaseMs: 1_500 });
  receiver = await WebhookReceiver.open();
  let answered = (): void => undefined;
  receiver.answer = (response) => void (answered = () => response.writeHead(204).end());
  const { id } = await api.post<{ id: string }>('/webhook_endpoints', {
    name: 'ours',
    url: receiver.url,
  });
  await api.post(`/webhook_endpoints/${id}/test`);
  await receiver.of(id);
  const setOwner = (until: string): Promise<unknown> =>
    api.query(
      `UPDATE webhook_endpoint SET owner = 'another', owner_until = clock_timestamp() ${until}`,
    );
  await setOwner(`+ interval '1 hour'`);
  receiver.answer = (response) => void response.writeHead(204).end();
  answered();
  // Long enough for a process that wrongly recorded the result.
  await new Promise((resolve) => setTimeout(resolve, 700));
  await setOwner(`- interval '1 second'`);
  const all = await receiver.of(id, 2);
  expect(new Set(all.map(({ event }) => event.id)).size).toBe(1);
});
