import { credentials, loadPackageDefinition, type ServiceError } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import type { JobObject } from '@graft/contracts';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { EVAL } from './changes/eval-changes.js';
import { importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { ScriptedWorker } from './scripted-worker.js';

// Calls as KEDA makes them, with its own .proto instead of our generated code.

const PROTO = fileURLToPath(
  new URL('../../../libs/contracts/proto/externalscaler/externalscaler.proto', import.meta.url),
);
type Answer = Record<string, Record<string, unknown>[]> & { result: boolean };
interface Keda {
  [method: string]: (
    request: object,
    callback: (error: ServiceError | null, answer: Answer) => void,
  ) => void;
}

let api: TestApi;
let file: string;
let keda: Keda & { streamIsActive(request: object): NodeJS.EventEmitter & { cancel(): void } };

beforeAll(async () => {
  api = await startTestApi({ scalerPort: 0 });
  await importBase(api);
  file = await uploadChats(api);
  const loaded = loadPackageDefinition(loadSync(PROTO, { longs: Number, defaults: true }));
  const { ExternalScaler } = (loaded as never)['externalscaler'] as {
    ExternalScaler: new (address: string, how: unknown) => typeof keda;
  };
  keda = new ExternalScaler(api.scalerUrl!, credentials.createInsecure());
});
afterAll(async () => {
  (keda as unknown as { close(): void } | undefined)?.close();
  await api?.close();
});

const of = (pool: string, more: object = {}) => ({
  name: 'graft-worker',
  namespace: 'graft',
  scalerMetadata: { pool, ...more },
});
const call = (method: string, request: object): Promise<Answer> =>
  new Promise((resolve, reject) =>
    keda[method]!(request, (error, answer) => (error ? reject(error) : resolve(answer))),
  );
const wanted = async (pool: string): Promise<number> => {
  const { metricValues } = await call('getMetrics', {
    scaledObjectRef: of(pool),
    metricName: 'graft-wanted-slots',
  });
  expect(metricValues).toHaveLength(1);
  const [value] = metricValues!;
  expect(value!['metricName']).toBe('graft-wanted-slots');
  expect(value!['metricValue']).toBe(value!['metricValueFloat']);
  return value!['metricValue'] as number;
};
let jobs = 0;
const submit = (pool: string) =>
  api.post<JobObject>('/fine_tuning/jobs', {
    model: 'tiny',
    training_file: file,
    metadata: { n: String(++jobs) },
    graft: { pool },
  });

it('counts queued and running jobs, and returns the slots per worker', async () => {
  expect(await wanted('counted')).toBe(0);
  expect((await call('isActive', of('counted'))).result).toBe(false);
  for (let n = 0; n < 3; n++) await submit('counted');
  expect(await wanted('counted')).toBe(3);
  expect((await call('isActive', of('counted'))).result).toBe(true);
  const spec = async (more?: object) =>
    (await call('getMetricSpec', of('counted', more)))['metricSpecs'];
  const target = (targetSize: number) => [
    { metricName: 'graft-wanted-slots', targetSize, targetSizeFloat: targetSize },
  ];
  expect(await spec()).toEqual(target(1));
  expect(await spec({ slotsPerWorker: '4' })).toEqual(target(4));
  const worker = await new ScriptedWorker(api, { pool: 'counted', slots: 6 }).connect();
  try {
    worker.keep(await worker.nextAssignment());
    expect(await spec()).toEqual(target(6));
    expect(await wanted('counted')).toBe(3);
  } finally {
    worker.vanish();
  }
});

it('does not count jobs that may not start: the pool is cordoned, or a limit is reached', async () => {
  await api.post('/pools/shut/grants', { project_id: 'proj-default' });
  await submit('shut');
  await submit('shut');
  expect(await wanted('shut')).toBe(2);
  await api.post('/pools/shut/cordon');
  expect(await wanted('shut')).toBe(0);
  expect((await call('isActive', of('shut'))).result).toBe(false);
  await api.post('/pools/shut/uncordon');
  await api.query(`UPDATE project SET limits = '{"running_jobs": 2}'`);
  const running = (
    await api.query<{ n: number }>(`SELECT count(*)::int AS n FROM job WHERE state = 'running'`)
  )[0]!.n;
  expect(await wanted('shut')).toBe(2 - running);
  await api.query(`UPDATE project SET limits = '{}'`);
});

it('counts an eval run that waits for a worker, until it ends', async () => {
  const worker = await new ScriptedWorker(api, { pool: 'asked' }).connect();
  worker.vanish();
  await until(
    async () => (await api.get<{ workers_online: number }>('/overview')).workers_online === 0,
  );
  const { id: evalId } = await api.post<{ id: string }>('/evals', EVAL);
  const { id } = await api.post<{ id: string }>(`/evals/${evalId}/runs`, {
    data_source: {
      type: 'completions',
      model: 'tiny',
      source: { type: 'file_content', content: [{ item: {} }] },
      input_messages: { type: 'template', template: [{ role: 'user', content: 'x' }] },
    },
  });
  await until(async () => (await wanted('asked')) === 1);
  expect((await call('isActive', of('asked'))).result).toBe(true);
  expect(await wanted('default')).toBe(0);
  const metrics = await (await fetch(`${api.url}/metrics`, { headers: api.headers })).text();
  expect(metrics).toMatch(/^graft_pool_wanted_slots\{pool="asked"\} 1$/m);
  const another = await new ScriptedWorker(api, { pool: 'asked' }).connect();
  try {
    const question = await another.nextRequest(60_000);
    // The worker must not be removed while it answers.
    expect(await wanted('asked')).toBe(1);
    another.sendText(question.id, 'A');
    await until(async () => (await wanted('asked')) === 0);
    const { status } = await api.get<{ status: string }>(`/evals/${evalId}/runs/${id}`);
    expect(status).toBe('completed');
  } finally {
    another.vanish();
  }
}, 90_000);

it('streams whether a pool is active, immediately and on each change', async () => {
  const received: boolean[] = [];
  const stream = keda.streamIsActive(of('streamed'));
  stream.on('data', ({ result }: { result: boolean }) => received.push(result));
  stream.on('error', () => undefined);
  await until(() => received.length === 1);
  const { id } = await submit('streamed');
  await until(() => received.length === 2);
  await api.post(`/fine_tuning/jobs/${id}/cancel`);
  await until(() => received.length === 3, 30_000);
  expect(received).toEqual([false, true, false]);
  stream.cancel();
});

it('rejects missing and invalid metadata with its name, and streams it does not support', async () => {
  await expect(call('isActive', of(''))).rejects.toMatchObject({
    code: 3,
    details: expect.stringContaining('pool:'),
  });
  await expect(call('getMetricSpec', of('a', { slotsPerWorker: '0' }))).rejects.toMatchObject({
    code: 3,
    details: expect.stringContaining('slotsPerWorker: expected an integer ≥ 1, got 0'),
  });
  const failed = (method: string, request: object) =>
    new Promise((resolve) =>
      (keda as never as Record<string, (r: object) => NodeJS.EventEmitter>)[method]!(request)
        .on('error', ({ code }: ServiceError) => resolve(code))
        .on('data', () => undefined),
    );
  expect(await failed('streamMetricSpec', of('a'))).toBe(12);
  expect(await failed('streamIsActive', of(''))).toBe(3);
});
