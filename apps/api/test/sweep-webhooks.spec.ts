import type { SweepObject, WebhookEventType } from '@graft/contracts';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { EVAL, RUN } from './changes/eval-changes.js';
import { importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { ScriptedWorker, started, step } from './scripted-worker.js';
import { WebhookReceiver } from './webhook-receiver.js';

// Webhooks about the end of sweeps, to a real server.

let api: TestApi;
let file: string;
let receiver: WebhookReceiver;
const workers: ScriptedWorker[] = [];

beforeAll(async () => {
  api = await startTestApi({ outboundNetworks: ['127.0.0.0/8'], leaseMs: 1_500, reconcileMs: 200 });
  await importBase(api);
  file = await uploadChats(api);
});
afterAll(() => api?.close());
beforeEach(async () => {
  receiver = await WebhookReceiver.open();
  await api.post('/webhook_endpoints', { name: 'ours', url: receiver.url, event_types: SWEEPS });
});
afterEach(async () => {
  for (const worker of workers.splice(0)) worker.vanish();
  await api.query('DELETE FROM webhook_endpoint');
  await api.query('DELETE FROM webhook_delivery');
  await receiver.close();
});

const SWEEPS: WebhookEventType[] = [
  'graft.sweep.succeeded',
  'graft.sweep.failed',
  'graft.sweep.cancelled',
];
const eventTypesOf = (id: string): string[] =>
  receiver.received.filter(({ event }) => event.data.id === id).map(({ event }) => event.type);
/** Starts a sweep of two trials in its own pool, with a worker for each trial. */
async function sweep() {
  const pool = `pool-${Math.random().toString(36).slice(2)}`;
  const { id } = await api.post<SweepObject>('/sweeps', {
    model: 'tiny',
    training_file: file,
    graft: { pool },
    search: { algorithm: 'grid', parameters: { 'peft.r': [4, 8] } },
  });
  const open = await Promise.all([0, 1].map(() => new ScriptedWorker(api, { pool }).connect()));
  workers.push(...open);
  const trials = [];
  for (const worker of open) {
    const lease = await worker.nextAssignment();
    worker.keep(lease);
    await worker.report(lease, started(0, 1), step(1));
    trials.push({ worker, lease });
  }
  return { id, trials: trials as [(typeof trials)[0], (typeof trials)[0]] };
}
const fails = ({ worker, lease }: Awaited<ReturnType<typeof sweep>>['trials'][0]) =>
  worker.report(lease, {
    kind: 'failed',
    payload: { code: 'user_error', message: 'by the test', retryable: false, param: '' },
  } as never);
const statusOf = async (id: string) => (await api.get<SweepObject>(`/sweeps/${id}`)).status;

it('the end of a sweep is sent once, after the last trial', async () => {
  const one = await sweep();
  await fails(one.trials[0]);
  await until(
    async () => (await api.get<SweepObject>(`/sweeps/${one.id}`)).trial_counts.failed === 1,
  );
  expect(await api.query('SELECT 1 FROM webhook_delivery')).toEqual([]);
  await one.trials[1].worker.finish(one.trials[1].lease, 1);
  await receiver.of(one.id);
  expect(await statusOf(one.id)).toBe('succeeded');
  expect(eventTypesOf(one.id)).toEqual(['graft.sweep.succeeded']);

  // Concurrently: neither may count the other as open.
  const two = await sweep();
  await Promise.all(two.trials.map(fails));
  await receiver.of(two.id);
  const three = await sweep();
  await api.post(`/sweeps/${three.id}/cancel`);
  await receiver.of(three.id);
  expect([eventTypesOf(two.id), eventTypesOf(three.id)]).toEqual([
    ['graft.sweep.failed'],
    ['graft.sweep.cancelled'],
  ]);
  expect(receiver.received).toHaveLength(3);
});

it('the end of a sweep waits for pending scores', async () => {
  const scored = await api.post<{ id: string }>('/evals', EVAL);
  const one = await sweep();
  for (const { worker, lease } of one.trials) await worker.finish(lease, 1);
  await receiver.of(one.id);
  // as if trials were compared by scores, two of which are pending
  const runs = [];
  for (const { lease } of one.trials) {
    const { id } = await api.post<{ id: string }>(`/evals/${scored.id}/runs`, RUN);
    runs.push(`/evals/${scored.id}/runs/${id}`);
    await api.query(
      `UPDATE eval_run SET status = 'in_progress', owner = 'another', job_id = $2, step = 1,
         owner_until = clock_timestamp() + interval '1 hour' WHERE id = $1`,
      [id, lease.jobId],
    );
  }
  await api.query(
    `UPDATE sweep SET ended_at = NULL, search = search || '{"metric": "eval_score"}' WHERE id = $1`,
    [one.id],
  );
  const written = () => api.query('SELECT type FROM webhook_delivery WHERE target = $1', [one.id]);
  await api.post(runs[0]!);
  expect(await statusOf(one.id)).toBe('running');
  expect(await written()).toHaveLength(1);
  await api.post(runs[1]!);
  expect(await written()).toHaveLength(2);
  await receiver.of(one.id, 2);
  expect(await statusOf(one.id)).toBe('succeeded');
  expect(eventTypesOf(one.id)).toEqual(['graft.sweep.succeeded', 'graft.sweep.succeeded']);
});
