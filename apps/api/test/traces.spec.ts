import type { ChromeTrace, ChromeTraceEvent, JobObject } from '@graft/contracts';
import { startApi } from '@graft/api';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { OtlpCollector, type ReceivedSpan } from './otlp-collector.js';
import { evaluated, saved, ScriptedWorker, started, step } from './scripted-worker.js';

// Where a job's time went: as a trace file for viewers, and sent to a collector by two API processes.

const PACE_MS = 400;
const TRACE = '0af7651916cd43dd8448eb211c80319c';
const PARENT = 'b7ad6b7169203331';

let collector: OtlpCollector;
let api: TestApi;
let other: TestApi;
let file: string;
const workers: ScriptedWorker[] = [];

beforeAll(async () => {
  collector = await OtlpCollector.open();
  process.env['OTEL_EXPORTER_OTLP_ENDPOINT'] = collector.url;
  process.env['OTEL_EXPORTER_OTLP_HEADERS'] = 'x-team=our%20own';
  process.env['OTEL_EXPORTER_OTLP_COMPRESSION'] = 'gzip';
  // timeout of a request to the collector
  process.env['OTEL_EXPORTER_OTLP_TIMEOUT'] = '500';
  process.env['OTEL_RESOURCE_ATTRIBUTES'] = 'deployment.environment.name=test';
  api = await startTestApi({ leaseMs: 3 * PACE_MS, retryBackoffMs: 10 });
  other = await startTestApi({ beside: api });
  await importBase(api);
  file = await uploadChats(api);
});
afterAll(async () => {
  for (const name of Object.keys(process.env))
    if (name.startsWith('OTEL_')) delete process.env[name];
  await other?.close();
  await api?.close();
  await collector?.stop();
});
afterEach(() => {
  for (const worker of workers.splice(0)) worker.vanish();
});

/** Creates a job in its own pool; `headers` are those of the create request. */
async function create(headers: Readonly<Record<string, string>> = {}, suffix?: string) {
  const pool = `pool-${Math.random().toString(36).slice(2)}`;
  const response = await fetch(`${api.url}/v1/fine_tuning/jobs`, {
    method: 'POST',
    headers: { ...api.headers, 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ model: 'tiny', training_file: file, suffix, graft: { pool } }),
  });
  expect(response.status).toBe(200);
  return { id: ((await response.json()) as JobObject).id, pool };
}

async function workerOf(pool: string): Promise<ScriptedWorker> {
  const worker = await new ScriptedWorker(api, { pool }).connect();
  workers.push(worker);
  return worker;
}

/** Waits long enough in the queue for a span; shorter waits than 50 ms have none. */
const longEnough = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 60));

async function cancel(...ids: readonly string[]): Promise<void> {
  await longEnough();
  for (const id of ids) await api.post(`/fine_tuning/jobs/${id}/cancel`);
}

const traceOf = (id: string): Promise<ChromeTrace> =>
  api.get<ChromeTrace>(`/fine_tuning/jobs/${id}/trace`);
const namesOf = (spans: readonly ReceivedSpan[]): string[] => spans.map(({ name }) => name);
const spansOf = ({ traceEvents }: ChromeTrace): ChromeTraceEvent[] =>
  traceEvents.filter(({ ph }) => ph === 'X');
const hasJob = (id: string) => (): boolean => namesOf(collector.of(id)).includes('graft.job');

/** Runs two attempts: one crashes at step 3 after a checkpoint at step 2, the other completes the job. */
async function crashed(id: string, pool: string, sent: () => Promise<unknown> | void) {
  const worker = await workerOf(pool);
  const lease = await worker.nextAssignment();
  worker.keep(lease);
  const loading = { code: 'loading', message: 'loading the base', progress: 0 };
  await worker.report(lease, { kind: 'phase', payload: loading });
  await worker.report(lease, started(0, 6));
  const state = await worker.put(lease, 'adapter.safetensors', 'state');
  await worker.report(
    lease,
    step(1),
    step(2),
    evaluated(2, 1.5),
    saved(2, [state], [state]),
    step(3),
  );
  const failure = { code: 'crash', message: 'by the test', param: '', stderr_tail: '' };
  await worker.report(lease, { kind: 'failed', payload: { ...failure, retryable: true } });
  await sent();
  const again = await worker.nextAssignment();
  worker.keep(again);
  await worker.report(
    again,
    started(2, 6),
    step(3),
    step(4),
    step(5),
    step(6),
    evaluated(6, 1, true),
  );
  await worker.finish(again, 6);
}

describe('a job’s trace', () => {
  it('exists from the request on, includes lost attempts, and survives a restart', async () => {
    const { id, pool } = await create({}, 'parrot');
    await longEnough();
    const waiting = spansOf(await traceOf(id));
    expect(waiting.map(({ cat }) => cat)).toEqual(['job', 'submit', 'queue']);
    expect(waiting.map(({ args }) => args['unfinished'])).toEqual([1, undefined, 1]);
    await crashed(id, pool, () => undefined);

    const trace = await traceOf(id);
    const names = spansOf(trace).map(({ cat, name }) => [cat, name]);
    // Several start in the same millisecond.
    expect(names.filter(([cat]) => cat !== 'job').sort()).toEqual(
      [
        ['submit', 'submit'],
        ['queue', 'queue'],
        ['attempt', 'attempt 1 on scripted'],
        ['load', 'load'],
        ['phase', 'loading the base'],
        ['train', 'train'],
        ...[1, 2].map((n) => ['steps', `step ${n}`]),
        ['evaluation', 'evaluation at step 2'],
        ['checkpoint', 'checkpoint at step 2'],
        ['steps', 'step 3'],
        ['queue', 'queue'],
        ['attempt', 'attempt 3 on scripted'],
        ['load', 'load'],
        ['train', 'train'],
        ['replay', 'step 3, again'],
        ...[4, 5, 6].map((n) => ['steps', `step ${n}`]),
        ['evaluation', 'evaluation at step 6'],
        ['upload', 'upload'],
      ].sort(),
    );
    const [attempt] = spansOf(trace).filter(({ cat }) => cat === 'attempt');
    expect(attempt!.args).toMatchObject({ 'graft.worker': 'scripted', error: 'crash' });
    const instants = trace.traceEvents.filter(({ ph }) => ph === 'i').map(({ name }) => name);
    expect(instants).toEqual([expect.stringContaining('by the test; retrying')]);
    const job = await api.get<JobObject>(`/fine_tuning/jobs/${id}`);
    const [whole] = spansOf(trace);
    expect(whole).toMatchObject({ cat: 'job', name: `parrot (${id})` });
    expect(Math.abs((whole!.ts! + whole!.dur!) / 1e6 - job.finished_at!)).toBeLessThan(2);
    await other.restart();
    expect(await other.get(`/fine_tuning/jobs/${id}/trace`)).toEqual(trace);
  });

  it('distinguishes pauses from waiting', async () => {
    const { id, pool } = await create();
    const worker = await workerOf(pool);
    const lease = await worker.nextAssignment();
    worker.keep(lease);
    await worker.report(lease, started(0, 6), step(1));
    await api.post(`/fine_tuning/jobs/${id}/pause`);
    await worker.report(lease, { kind: 'stopped', payload: { reason: 'pause', step: 0 } });
    await new Promise((resolve) => setTimeout(resolve, 100));
    await api.post(`/fine_tuning/jobs/${id}/resume`);
    await worker.nextAssignment();
    const cats = spansOf(await traceOf(id)).map(({ cat }) => cat);
    expect(cats.filter((cat) => cat === 'queue' || cat === 'paused' || cat === 'attempt')).toEqual([
      'queue',
      'attempt',
      'paused',
      'queue',
      'attempt',
    ]);
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
  });

  it('is a downloadable file, and groups the steps of a long job', async () => {
    const { id, pool } = await create();
    const worker = await workerOf(pool);
    const lease = await worker.nextAssignment();
    worker.keep(lease);
    await worker.report(lease, started(0, 1000));
    await worker.report(lease, ...Array.from({ length: 1000 }, (_, n) => step(n + 1, 1)));
    await worker.finish(lease, 1000);
    const { headers } = await fetch(`${api.url}/v1/fine_tuning/jobs/${id}/trace`, {
      headers: api.headers,
    });
    expect(headers.get('content-disposition')).toBe(`attachment; filename=${id}.trace.json`);
    const steps = spansOf(await traceOf(id)).filter(({ cat }) => cat === 'steps');
    expect(steps).toHaveLength(200);
    expect(steps.map(({ args }) => args['graft.tokens'])).toEqual(steps.map(() => 500));
    expect(steps.map(({ name }) => name)).toContain('steps 6–10');
  });
});

describe('the collector', () => {
  it('gets the spans of an attempt when it ends and the rest with the job, each once', async () => {
    const { id, pool } = await create();
    await crashed(id, pool, async () => {
      await until(() => namesOf(collector.of(id)).includes('attempt'));
      expect(namesOf(collector.of(id))).not.toContain('graft.job');
    });
    await until(hasJob(id));
    const spans = collector.of(id);
    expect(namesOf(spans).sort()).toEqual(
      [
        ...['graft.job', 'submit', 'queue', 'queue', 'attempt', 'attempt', 'load', 'load', 'phase'],
        ...['train', 'train', 'replay', 'steps', 'steps', 'steps', 'steps', 'steps', 'steps'],
        ...['evaluation', 'evaluation', 'checkpoint', 'upload'],
      ].sort(),
    );
    expect(new Set(spans.map(({ id: span }) => span)).size).toBe(spans.length);
    expect(new Set(spans.map(({ trace }) => trace)).size).toBe(1);
    const [root] = spans.filter(({ name }) => name === 'graft.job');
    expect(root).toMatchObject({
      parent: '',
      error: null,
      attributes: { 'graft.job.state': 'succeeded', 'graft.model': 'tiny', 'graft.steps': 6 },
      resource: {
        'service.name': 'graft',
        'deployment.environment.name': 'test',
        'telemetry.sdk.language': 'nodejs',
      },
    });
    const byId = new Map(spans.map((span) => [span.id, span]));
    for (const span of spans.filter(({ name }) => name !== 'graft.job')) {
      const parent = byId.get(span.parent)!;
      expect([span.name, span.start >= parent.start, span.end <= parent.end]).toEqual([
        span.name,
        true,
        true,
      ]);
    }
    const attempts = spans.filter(({ name }) => name === 'attempt');
    expect(attempts.map(({ error }) => error)).toEqual(['crash', null]);
    expect(attempts[0]!.events).toEqual([expect.stringContaining('by the test')]);
    const { path, headers } = collector.requests.at(-1)!;
    expect([path, headers['x-team'], headers['content-encoding']]).toEqual([
      '/v1/traces',
      'our own',
      'gzip',
    ]);
  });

  it('gets a job as part of the trace of its create request', async () => {
    const traceparent = `00-${TRACE}-${PARENT}-01`;
    const { id } = await create({ traceparent, tracestate: 'vendor=1,ours=2' });
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    await until(hasJob(id));
    const spans = collector.of(id);
    expect(new Set(spans.map(({ trace, state }) => `${trace} ${state}`))).toEqual(
      new Set([`${TRACE} vendor=1,ours=2`]),
    );
    expect(spans.find(({ name }) => name === 'graft.job')!.parent).toBe(PARENT);
  });

  it('receives no unsampled trace; an invalid header is ignored', async () => {
    const hidden = await create({ traceparent: `00-${TRACE}-${PARENT}-00` });
    const wrong = await create({ traceparent: `00-${'0'.repeat(32)}-${PARENT}-01` });
    for (const { id } of [hidden, wrong]) await api.post(`/fine_tuning/jobs/${id}/cancel`);
    await until(hasJob(wrong.id));
    expect(collector.of(wrong.id).find(({ name }) => name === 'graft.job')!.parent).toBe('');
    await new Promise((resolve) => setTimeout(resolve, 2 * PACE_MS));
    expect(collector.of(hidden.id)).toEqual([]);
  });

  it('gets everything after an outage', async () => {
    await collector.stop();
    const { id } = await create();
    const busy = await create();
    await cancel(id, busy.id);
    await new Promise((resolve) => setTimeout(resolve, 4 * PACE_MS));
    expect(collector.of(id)).toEqual([]);
    const waiting = async (): Promise<string | undefined> => {
      const scraped = await fetch(`${api.url}/metrics`, { headers: api.headers });
      return /^graft_traces_waiting (\d+)$/m.exec(await scraped.text())?.[1];
    };
    expect(await waiting()).toBe('2');
    await collector.start();
    await until(() => hasJob(id)() && hasJob(busy.id)(), 30_000);
    await until(async () => (await waiting()) === '0');
    for (const one of [id, busy.id])
      expect(namesOf(collector.of(one)).sort()).toEqual(['graft.job', 'queue', 'submit']);
  }, 60_000);

  it('gets the same spans again if a process could not record that it sent them', async () => {
    let lost = 0;
    const { id } = await create();
    collector.done = async (spans) => {
      if (lost > 0 || !spans.some(({ attributes }) => attributes['graft.job.id'] === id)) return;
      lost++;
      await api.query(`UPDATE trace_export SET owner = 'another', owner_until = clock_timestamp()`);
    };
    await cancel(id);
    const done = `SELECT 1 FROM trace_export WHERE job_id = $1 AND status = 'done'`;
    await until(async () => (await api.query(done, [id])).length === 1);
    collector.done = () => undefined;
    expect(lost).toBe(1);
    const spans = collector.of(id);
    expect(spans).toHaveLength(6);
    expect(spans.slice(3)).toEqual(spans.slice(0, 3));
  });

  it('gets spans of other jobs after it rejects those of one', async () => {
    const bad = await create();
    collector.refuse = 400;
    await api.post(`/fine_tuning/jobs/${bad.id}/cancel`);
    const refused = `SELECT error FROM trace_export WHERE job_id = $1 AND status = 'refused'`;
    await until(async () => (await api.query(refused, [bad.id])).length === 1);
    expect(await api.query(refused, [bad.id])).toEqual([{ error: 'answered 400: Bad Request' }]);
    collector.refuse = null;
    const good = await create();
    await api.post(`/fine_tuning/jobs/${good.id}/cancel`);
    await until(hasJob(good.id));
    expect(collector.of(bad.id)).toEqual([]);
  });

  it('gets the traces behind one that cannot be built, and that one after it can', async () => {
    const bad = await create();
    const good = [await create(), await create()];
    const ids = [bad, ...good].map(({ id }) => id);
    // All are claimed by one process, the bad one first.
    await api.query(
      `UPDATE trace_export SET owner = 'held', owner_until = clock_timestamp() + interval '1 hour' WHERE job_id = ANY($1)`,
      [ids],
    );
    for (const id of ids) await api.post(`/fine_tuning/jobs/${id}/cancel`);
    const setEvent = (kind: string | null, data: object | null) =>
      api.query('UPDATE event SET kind = $2, data = $3 WHERE job_id = $1 AND number = 1', [
        bad.id,
        kind,
        data,
      ]);
    await setEvent('checkpoint', { step: 'none' });
    await api.query(
      'UPDATE trace_export SET owner_until = NULL, owner = NULL WHERE job_id = ANY($1)',
      [ids],
    );
    await until(() => good.every(({ id }) => hasJob(id)()));
    const state = async () => {
      const [row] = await api.query<Record<string, unknown>>(
        `SELECT status, failures, error, owner, next_at > clock_timestamp() AS waits FROM trace_export WHERE job_id = $1`,
        [bad.id],
      );
      return row;
    };
    const error = 'invalid input syntax for type integer: "none"';
    await until(async () => (await state())?.['owner'] === null);
    expect(await state()).toEqual({ status: 'open', failures: 1, error, owner: null, waits: true });
    const again = 'UPDATE trace_export SET next_at = clock_timestamp() WHERE job_id = $1';
    await api.query(again, [bad.id]);
    await until(async () => (await state())?.['failures'] === 2);
    await setEvent(null, null);
    await api.query(again, [bad.id]);
    await until(hasJob(bad.id));
    await until(async () => (await state())?.['status'] === 'done');
    expect(await state()).toMatchObject({ failures: 0, error: null });
  });

  it('is not used without an endpoint; invalid settings are rejected at start', async () => {
    delete process.env['OTEL_EXPORTER_OTLP_ENDPOINT'];
    await api.restart();
    const { id } = await create();
    process.env['OTEL_EXPORTER_OTLP_ENDPOINT'] = collector.url;
    expect(await api.query('SELECT 1 FROM trace_export WHERE job_id = $1', [id])).toEqual([]);
    const refusal = (): Promise<unknown> => startApi(api.config).catch((error: unknown) => error);
    process.env['OTEL_EXPORTER_OTLP_ENDPOINT'] = 'collector:4318';
    expect(String(await refusal())).toContain(
      'OTEL_EXPORTER_OTLP_ENDPOINT: expected an http:// or https:// address, got collector:4318',
    );
    process.env['OTEL_EXPORTER_OTLP_ENDPOINT'] = collector.url;
    process.env['OTEL_EXPORTER_OTLP_PROTOCOL'] = 'grpc';
    expect(String(await refusal())).toContain(
      'OTEL_EXPORTER_OTLP_PROTOCOL: expected http/protobuf',
    );
    delete process.env['OTEL_EXPORTER_OTLP_PROTOCOL'];
  });
});
