import type { IntegrationObject, JobEventObject, JobObject, Page } from '@graft/contracts';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { ask, makeProject } from './projects.js';
import { evaluated, ScriptedWorker, started, step } from './scripted-worker.js';
import { pythonJson, TrackerServer, type WandbRun } from './tracker-server.js';

// Jobs written to W&B and MLflow by two API processes, with a real server that has their paths.
// test/parity/mlflow.all.spec.ts checks that MLflow accepts the same requests.

const KEY = 'a-key-that-is-never-returned';
const PACE_MS = 500;

let api: TestApi;
let other: TestApi;
let file: string;
let tracker: TrackerServer;
const workers: ScriptedWorker[] = [];

beforeAll(async () => {
  // Checks for pending data and sends every half second.
  api = await startTestApi({ outboundNetworks: ['127.0.0.0/8'], leaseMs: 3 * PACE_MS });
  other = await startTestApi({ beside: api });
  await importBase(api);
  file = await uploadChats(api);
});
afterAll(async () => {
  await other?.close();
  await api?.close();
});
beforeEach(async () => {
  tracker = await TrackerServer.open();
});
afterEach(async () => {
  for (const worker of workers.splice(0)) worker.vanish();
  await api.query('DELETE FROM integration');
  await api.query('DELETE FROM integration_run');
  await tracker.stop();
});

const set = (type: string, more: object = {}): Promise<IntegrationObject> =>
  api.post<IntegrationObject>(`/integrations/${type}`, {
    url: tracker.url,
    api_key: KEY,
    ...more,
  });
const WANDB = [{ type: 'wandb', wandb: { project: 'pirates', tags: ['first'] } }];
const MLFLOW = [{ type: 'mlflow', mlflow: { experiment: 'pirates', tags: { ours: 'yes' } } }];

const jobOf = (id: string): Promise<JobObject> => api.get<JobObject>(`/fine_tuning/jobs/${id}`);
const eventsOf = async (id: string): Promise<readonly JobEventObject[]> =>
  (await api.get<Page<JobEventObject>>(`/fine_tuning/jobs/${id}/events?limit=1000`)).data;
const statusOf = async (id: string): Promise<string | undefined> =>
  (await jobOf(id)).integrations?.[0]?.graft.status;
const isDone = async (id: string): Promise<boolean> => (await statusOf(id)) === 'done';

/** Creates a job that no worker takes. */
async function waiting(integrations: object[]): Promise<string> {
  const graft = { pool: 'unserved' };
  const body = { model: 'tiny', training_file: file, integrations, graft };
  return (await api.post<JobObject>('/fine_tuning/jobs', body)).id;
}

/** Starts a job in its own pool. */
async function training(integrations?: object[] | null, suffix?: string) {
  const pool = `pool-${Math.random().toString(36).slice(2)}`;
  const { id } = await api.post<JobObject>('/fine_tuning/jobs', {
    model: 'tiny',
    training_file: file,
    suffix,
    integrations,
    graft: { pool },
  });
  const worker = await new ScriptedWorker(api, { pool }).connect();
  workers.push(worker);
  const lease = await worker.nextAssignment();
  worker.keep(lease);
  await worker.report(lease, started(0, 10));
  const steps = (...numbers: number[]) => worker.report(lease, ...numbers.map((n) => step(n)));
  const finish = () => worker.finish(lease, 10);
  return { id, worker, lease, steps, finish };
}

type Line = Record<string, number | string>;
const linesOf = ({ history }: WandbRun): Line[] => history.map((line) => pythonJson(line) as Line);
const runOf = async (id: string): Promise<WandbRun> => {
  await until(() => tracker.wandb.has(id));
  return tracker.wandb.get(id)!;
};
const mlflowOf = async (id: string) => {
  const found = () =>
    [...tracker.mlflow.values()].filter(({ tags }) => tags.get('graft.job_id') === id);
  await until(() => found().length > 0);
  expect(found()).toHaveLength(1);
  return found()[0]!;
};
/** Skips the retry delays. */
const skipDelays = async (): Promise<void> => {
  await api.query('UPDATE integration SET next_at = clock_timestamp()');
  await api.query('UPDATE integration_run SET next_at = clock_timestamp()');
};

describe('a job', () => {
  it('is a W&B run with its spec, its metrics by step and its end', async () => {
    const shown = await set('wandb', { entity: 'crew' });
    expect(shown).toMatchObject({ id: 'wandb', project: 'graft', entity: 'crew' });
    const { id, worker, lease, finish } = await training(WANDB, 'parrot');
    await worker.report(lease, step(1), step(2, NaN), evaluated(2, 1.5));
    const run = await runOf(id);
    await until(() => run.history.length === 3);
    await worker.report(lease, step(3));
    await finish();
    await until(() => isDone(id));

    expect(run).toMatchObject({
      project: 'pirates',
      entity: 'crew',
      displayName: 'parrot',
      tags: ['first'],
      exitcode: 0,
    });
    const { spec } = (
      await api.query<{ spec: object }>('SELECT spec FROM job WHERE id = $1', [id])
    )[0]!;
    const { _wandb, ...config } = run.config;
    expect(Object.fromEntries(Object.entries(config).map(([k, { value }]) => [k, value]))).toEqual(
      expect.objectContaining({ ...spec, fine_tuning_job: id, training_file: file }),
    );
    const { m } = _wandb!.value as { m: Record<string, unknown>[] };
    expect(m[0]).toEqual({ 1: 'train/global_step', 6: [3] });
    expect(m).toContainEqual({ 1: 'train/loss', 5: 1, 6: [1] });
    expect(m).toContainEqual({ 1: 'valid/loss', 5: 1, 6: [1] });
    const lines = linesOf(run);
    expect(lines).toMatchObject([
      { _step: 0, 'train/global_step': 1, 'train/loss': 3.9, 'train/tokens_per_second': 200 },
      { _step: 1, 'train/global_step': 2, 'train/loss': 'NaN', 'train/learning_rate': 1e-4 },
      { _step: 2, 'train/global_step': 2, 'valid/loss': 1.5 },
      { _step: 3, 'train/global_step': 3, 'train/loss': 3.7 },
    ]);
    for (const { _timestamp: at, _runtime: runtime } of lines) {
      expect(Math.abs(Number(at) - Date.now() / 1000)).toBeLessThan(60);
      expect(runtime).toBeGreaterThanOrEqual(0);
    }
    const job = await jobOf(id);
    expect(run.summary).toMatchObject({
      'train/loss': 3.7,
      'valid/loss': 1.5,
      fine_tuned_model: job.fine_tuned_model,
    });

    const url = `${tracker.url}/crew/pirates/runs/${id}`;
    expect(job.integrations).toEqual([
      {
        type: 'wandb',
        wandb: { project: 'pirates', name: null, entity: 'crew', tags: ['first'] },
        graft: { status: 'done', url, error: null },
      },
    ]);
    const linked = (await eventsOf(id)).filter(({ message }) => message.includes('run:'));
    expect(linked.map(({ message }) => message)).toEqual([`Weights & Biases run: ${url}`]);
    const basic = `Basic ${Buffer.from(`api:${KEY}`).toString('base64')}`;
    expect(new Set(tracker.requests.map(({ authorization }) => authorization))).toEqual(
      new Set([basic]),
    );
  });

  it('is an MLflow run, which ends as the job does', async () => {
    await set('mlflow', { every_job: true, project: 'all of them' });
    const named = await training(MLFLOW);
    await named.worker.report(named.lease, step(1), step(2, NaN), evaluated(2, 1.5));
    await named.finish();
    const failing = await training();
    await failing.steps(1);
    await failing.worker.report(failing.lease, {
      kind: 'failed',
      payload: { code: 'user_error', message: 'as the test wants', retryable: false, param: '' },
    } as never);
    const ending = await training(null);
    await ending.steps(1);
    await mlflowOf(ending.id);
    await api.post(`/fine_tuning/jobs/${ending.id}/cancel`);
    const without = await training([]);
    for (const { id } of [named, failing, ending]) await until(() => isDone(id));
    expect((await jobOf(without.id)).integrations).toBeNull();

    const run = await mlflowOf(named.id);
    expect(run).toMatchObject({ name: named.id, status: 'FINISHED' });
    expect(run.experiment).toBe(tracker.experiments.get('pirates'));
    const { fine_tuned_model: model } = await jobOf(named.id);
    expect(Object.fromEntries(run.tags)).toMatchObject({
      ours: 'yes',
      'graft.job_id': named.id,
      'graft.fine_tuned_model': model,
    });
    expect(Object.fromEntries(run.params)).toMatchObject({
      'peft.peft_type': 'LORA',
      'peft.r': '16',
      training_file: file,
    });
    const metrics = [...run.metrics.values()];
    const losses = metrics.filter(({ key }) => key.endsWith('/loss'));
    expect(losses.map(({ key, step: at, value }) => [key, at, value])).toEqual([
      ['train/loss', 1, 3.9],
      ['train/loss', 2, 'NaN'],
      ['valid/loss', 2, 1.5],
    ]);
    expect((await mlflowOf(failing.id)).status).toBe('FAILED');
    const cancelled = await mlflowOf(ending.id);
    expect(cancelled.status).toBe('KILLED');
    expect(cancelled.experiment).toBe(tracker.experiments.get('all of them'));
    expect(tracker.requests[0]!.authorization).toBe(`Bearer ${KEY}`);
  });

  it('that ended early on a sample has one evaluation per step, on the full data', async () => {
    await set('wandb');
    const { id, worker, lease, finish } = await training(WANDB);
    await worker.report(
      lease,
      step(1),
      evaluated(1, 1.9),
      step(2),
      evaluated(2, 1.5),
      evaluated(2, 1.25, true),
    );
    await finish();
    await until(() => isDone(id));
    const losses = linesOf(await runOf(id)).map((line) => [
      line['train/global_step'],
      line['valid/loss'],
    ]);
    expect(losses.filter(([, loss]) => loss !== undefined)).toEqual([
      [1, 1.9],
      [2, 1.25],
    ]);
  });

  it('has no run if it ends before training', async () => {
    await set('wandb');
    const id = await waiting(WANDB);
    expect(await statusOf(id)).toBe('open');
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    await until(() => isDone(id));
    expect(tracker.requests).toEqual([]);
  });
});

describe('a tracker that is down', () => {
  it('receives everything after it is up again, each point once and in order', async () => {
    await set('wandb');
    await set('mlflow', { username: 'ours' });
    const { id, steps, finish } = await training([...WANDB, ...MLFLOW]);
    await steps(1, 2);
    const run = await runOf(id);
    const mlflowRun = await mlflowOf(id);
    await until(() => run.history.length === 2 && mlflowRun.metrics.size > 0);
    const sizeOfTwo = mlflowRun.metrics.size;
    await tracker.stop();
    await steps(3, 4);
    const failing = () => api.get<IntegrationObject>('/integrations/wandb');
    await until(async () => (await failing()).failing_since !== null);
    expect((await failing()).last_error).toContain('ECONNREFUSED');
    expect((await jobOf(id)).integrations![1]!.graft.error).toContain('ECONNREFUSED');
    await steps(5);
    await finish();
    await tracker.start();
    await skipDelays();
    await until(async () =>
      (await jobOf(id)).integrations!.every(({ graft }) => graft.status === 'done'),
    );
    expect(linesOf(run).map((line) => [line['_step'], line['train/global_step']])).toEqual([
      [0, 1],
      [1, 2],
      [2, 3],
      [3, 4],
      [4, 5],
    ]);
    expect(run.exitcode).toBe(0);
    expect(mlflowRun.metrics.size).toBe((sizeOfTwo / 2) * 5);
    expect(mlflowRun.status).toBe('FINISHED');
    expect(await failing()).toMatchObject({ failing_since: null, last_error: null });
    expect((await jobOf(id)).integrations!.map(({ graft }) => graft.error)).toEqual([null, null]);
  });

  it('gets keep-alives for a run without data, so that it does not mark the run as crashed', async () => {
    await set('wandb');
    const { id, steps } = await training(WANDB);
    await steps(1);
    const run = await runOf(id);
    await until(() => run.history.length === 1);
    await new Promise((resolve) => setTimeout(resolve, 3 * PACE_MS));
    const { beats } = run;
    await api.query(`UPDATE integration_run SET sent_at = sent_at - interval '31 seconds'`);
    await until(() => run.beats === beats + 1);
    await new Promise((resolve) => setTimeout(resolve, 2 * PACE_MS));
    expect(run.beats).toBe(beats + 1);
  });
});

describe('data that a process sent but could not record', () => {
  /** Makes another process claim the tracker after the first request to each path. */
  const lose = (): (() => number) => {
    const lost = new Set<string>();
    tracker.done = async (path) => {
      if (lost.has(path)) return;
      lost.add(path);
      await api.query(`UPDATE integration SET owner = 'another', owner_until = clock_timestamp()`);
    };
    return () => lost.size;
  };

  it('are sent again by the other process, without duplicates', async () => {
    await set('wandb');
    await set('mlflow');
    const lost = lose();
    const { id, steps, finish } = await training([...WANDB, ...MLFLOW]);
    await steps(1, 2, 3);
    await finish();
    await until(
      async () => (await jobOf(id)).integrations!.every(({ graft }) => graft.status === 'done'),
      60_000,
    );
    // graphql, file_stream; experiments/create followed by get-by-name; runs/search, /create, /log-batch,
    // /set-tag, /update
    expect(lost()).toBe(9);
    const run = await runOf(id);
    expect(linesOf(run).map((line) => line['train/global_step'])).toEqual([1, 2, 3]);
    const mlflowRun = await mlflowOf(id);
    const losses = [...mlflowRun.metrics.values()].filter(({ key }) => key === 'train/loss');
    expect(losses.map(({ step: at }) => at)).toEqual([1, 2, 3]);
    const linked = (await eventsOf(id)).filter(({ message }) => message.includes('run:'));
    expect(linked).toHaveLength(2);
  });

  it('are sent by one process at a time', async () => {
    await set('mlflow', { every_job: true });
    tracker.done = () => new Promise((resolve) => setTimeout(resolve, 50));
    const jobs = await Promise.all([training(), training(), training()]);
    for (const { steps, finish } of jobs) {
      await steps(1, 2);
      await finish();
    }
    for (const { id } of jobs) await until(() => isDone(id), 30_000);
    expect(tracker.mostAtOnce).toBe(1);
  });
});

describe('an error response', () => {
  it.each([
    ["a proxy's error page", { status: 404, body: null }, 'answered 404'],
    [
      'JSON of another service',
      { status: 200, body: { here: [] } },
      'answered with unexpected JSON',
    ],
  ] as const)(
    '(%s) is an error of the tracker, not of the run, which continues after it',
    async (_, refuse, error) => {
      await set('wandb');
      await set('mlflow');
      // An existing W&B run would not detect it, because W&B's response to lines has no schema.
      tracker.refuse = refuse;
      const { id, steps } = await training([...WANDB, ...MLFLOW]);
      await steps(1);
      for (const type of ['wandb', 'mlflow']) {
        const failing = () => api.get<IntegrationObject>(`/integrations/${type}`);
        await until(async () => (await failing()).last_error?.startsWith(error) === true);
      }
      const job = await jobOf(id);
      expect(job.integrations!.map(({ graft }) => graft.status)).toEqual(['open', 'open']);
      tracker.refuse = null;
      await skipDelays();
      await until(async () => (await runOf(id)).history.length === 1);
      await until(async () => (await mlflowOf(id)).metrics.size > 0);
    },
  );

  it('to one run fails only the tracking of that job', async () => {
    await set('wandb');
    const refused = await training(WANDB);
    await refused.steps(1);
    const run = await runOf(refused.id);
    await until(() => run.history.length === 1);
    tracker.wandb.delete(refused.id);
    await refused.steps(2);
    const good = await training(WANDB);
    await good.steps(1);
    await until(async () => (await statusOf(refused.id)) === 'failed');
    expect((await jobOf(refused.id)).integrations![0]!.graft.error).toBe(
      'answered 404: run not found',
    );
    expect(
      (await eventsOf(refused.id)).map(({ level, message }) => [level, message]),
    ).toContainEqual([
      'warn',
      "Weights & Biases rejected this job's run; nothing more is sent to it: answered 404: run not found",
    ]);
    const goodRun = await runOf(good.id);
    await until(() => goodRun.history.length === 1);
    expect((await api.get<IntegrationObject>('/integrations/wandb')).failing_since).toBeNull();
  });

  it('for missing access to one run delays no other runs, and the run continues after access is granted', async () => {
    await set('wandb');
    await set('mlflow');
    const refused = await training([...WANDB, ...MLFLOW]);
    await refused.steps(1);
    const run = await runOf(refused.id);
    const mlflowRun = await mlflowOf(refused.id);
    await until(() => run.history.length === 1 && mlflowRun.metrics.size > 0);
    const size = mlflowRun.metrics.size;
    tracker.forbidden.add(refused.id);
    await refused.steps(2);
    const errors = async () =>
      (await jobOf(refused.id)).integrations!.map(({ graft }) => graft.error);
    await until(async () => (await errors()).every((error) => error?.startsWith('answered 403')));
    const good = await training([...WANDB, ...MLFLOW]);
    await good.steps(1);
    const goodRun = await runOf(good.id);
    const other = await mlflowOf(good.id);
    await until(() => goodRun.history.length === 1 && other.metrics.size > 0);
    expect((await jobOf(refused.id)).integrations!.map(({ graft }) => graft.status)).toEqual([
      'open',
      'open',
    ]);
    tracker.forbidden.clear();
    await skipDelays();
    await until(() => run.history.length === 2 && mlflowRun.metrics.size === 2 * size);
  });

  it('for missing access to all runs marks the tracker as failing until a request succeeds', async () => {
    await set('mlflow');
    const { id, steps } = await training(MLFLOW);
    await steps(1);
    const run = await mlflowOf(id);
    await until(() => run.metrics.size > 0);
    const size = run.metrics.size;
    const body = { error_code: 'PERMISSION_DENIED', message: 'permission denied' };
    tracker.refuse = { status: 403, body };
    await steps(2);
    const state = () => api.get<IntegrationObject>('/integrations/mlflow');
    await until(async () => (await state()).failing_since !== null);
    const { failing_since: since } = await state();
    expect(await state()).toMatchObject({ last_error: 'answered 403: permission denied' });
    // A run without requests does not reset the state of the tracker.
    const withoutRun = await waiting(MLFLOW);
    await api.post(`/fine_tuning/jobs/${withoutRun}/cancel`);
    await until(() => isDone(withoutRun));
    expect(await state()).toMatchObject({ failing_since: since });
    await steps(3);
    tracker.refuse = null;
    await skipDelays();
    await until(async () => (await state()).failing_since === null);
    expect(await state()).toMatchObject({ last_error: null });
    await until(() => run.metrics.size === 3 * size);
  });

  it('for missing access to all runs ends a turn after three runs', async () => {
    await set('wandb');
    await api.query(`UPDATE integration SET next_at = clock_timestamp() + interval '1 hour'`);
    const jobs = await Promise.all(Array.from({ length: 7 }, () => training(WANDB)));
    tracker.refuse = { status: 403, body: { error: 'permission denied' } };
    // Each turn of a process has its own owner name.
    const turns = new Map<string, number>();
    tracker.asked = async () => {
      const [{ owner } = { owner: '' }] = await api.query<{ owner: string }>(
        'SELECT owner FROM integration',
      );
      turns.set(owner, (turns.get(owner) ?? 0) + 1);
    };
    await skipDelays();
    const refused = `SELECT 1 FROM integration_run WHERE error = 'answered 403: permission denied'`;
    await until(async () => (await api.query(refused)).length === jobs.length);
    expect(Math.max(...turns.values())).toBe(3);
    expect([...turns.values()].reduce((sum, one) => sum + one, 0)).toBeGreaterThanOrEqual(7);
  });

  it('for an invalid key marks the tracker as failing until it is configured again, even at another URL', async () => {
    await set('wandb');
    const { id, steps } = await training(WANDB);
    const echoed = `wrong key ${KEY}`;
    tracker.refuse = { status: 401, body: { error: echoed } };
    await steps(1);
    const state = () => api.get<IntegrationObject>('/integrations/wandb');
    await until(async () => (await state()).failing_since !== null);
    expect((await state()).last_error).toBe('answered 401: wrong key …');
    expect(await statusOf(id)).toBe('open');
    const moved = await TrackerServer.open();
    await set('wandb', { url: moved.url, api_key: 'another' });
    await until(() => moved.wandb.get(id)?.history.length === 1);
    await moved.stop();
  });

  it('is immediate if the tracker is not configured, or its settings are invalid', async () => {
    const job = (integrations: object[]) =>
      ask(api, api.apiKey, 'post', '/v1/fine_tuning/jobs', {
        model: 'tiny',
        training_file: file,
        integrations,
      });
    const absent = await job(WANDB);
    expect([absent.status, absent.text]).toEqual([
      400,
      expect.stringContaining('the project has not set up Weights & Biases'),
    ]);
    const put = (type: string, body: object) =>
      ask(api, api.apiKey, 'post', `/v1/integrations/${type}`, body);
    expect((await put('comet', {})).status).toBe(404);
    expect((await put('wandb', {})).text).toContain('api_key is required');
    expect((await put('mlflow', {})).text).toContain('url is required');
    expect((await put('mlflow', { url: 'http://10.0.0.1/' })).text).toContain(
      'url: 10.0.0.1 is not an address of the public internet',
    );
    expect((await put('mlflow', { url: tracker.url, entity: 'x' })).text).toContain(
      'unknown field entity',
    );
  });
});

it('an integration belongs to one project, and its key is never returned', async () => {
  await set('wandb');
  const { id, steps } = await training(WANDB);
  await steps(1);
  await runOf(id);
  const theirs = await makeProject(api, 'elsewhere');
  const seen = await ask(api, theirs.owner.key, 'get', '/v1/integrations');
  expect(JSON.parse(seen.text)).toMatchObject({ data: [] });
  expect((await ask(api, theirs.owner.key, 'get', '/v1/integrations/wandb')).status).toBe(404);
  expect((await ask(api, theirs.owner.key, 'delete', '/v1/integrations/wandb')).status).toBe(404);
  const shown = await api.get<Page<IntegrationObject>>('/integrations');
  expect(shown.data).toMatchObject([{ id: 'wandb', last_error: null }]);
  const written = await api.query(`SELECT * FROM audit WHERE action LIKE 'integration.%'`);
  expect(written.length).toBeGreaterThan(0);
  const everywhere = [shown, written, await jobOf(id), await eventsOf(id)];
  expect(JSON.stringify(everywhere)).not.toContain(KEY);
  const gone = await ask(api, api.apiKey, 'delete', '/v1/integrations/wandb');
  expect(gone.status).toBe(200);
  expect((await jobOf(id)).integrations![0]!.graft).toMatchObject({
    status: 'failed',
    error: 'The integration was deleted',
  });
});
