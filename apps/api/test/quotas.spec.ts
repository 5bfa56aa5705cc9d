import type { LimitsObject, ProjectLimits } from '@graft/contracts';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { REDIS_PORT } from '../../../test/servers.js';
import {
  caught,
  importBase,
  listens,
  startTestApi,
  until,
  uploadChats,
  type TestApi,
} from './fixture.js';
import { saved, ScriptedWorker, started, step } from './scripted-worker.js';

// Limits of a project on jobs and tokens: which requests are rejected, which jobs wait, and what is counted.

type Limits = { readonly [name in keyof ProjectLimits]: number | null };

const NONE: Limits = {
  running_jobs: null,
  queued_jobs: null,
  tokens_per_day: null,
  priority: null,
};

function quotas(redis: boolean): void {
  let api: TestApi;
  let file: string;
  let project: string;
  let pools = 0;
  let pool: string;

  beforeAll(async () => {
    api = await startTestApi({ redis, leaseMs: 1500, reconcileMs: 200, retryBackoffMs: 50 });
    await importBase(api);
    file = await uploadChats(api);
    project = (await api.get<{ project: { id: string } }>('/keys/me')).project.id;
  });
  afterAll(() => api?.close());
  beforeEach(() => {
    pool = `quota-${pools++}`;
  });
  afterEach(async () => {
    await limit(NONE);
    const open = await api.query<{ id: string }>(
      `SELECT id FROM job WHERE state IN ('queued', 'running', 'paused')`,
    );
    for (const { id } of open) await api.post(`/fine_tuning/jobs/${id}/cancel`);
  });

  const limit = (limits: Limits) =>
    api.post(`/organization/projects/${project}`, { graft: { limits } });
  const body = (graft: object = {}) => ({
    model: 'tiny',
    training_file: file,
    graft: { pool, ...graft },
  });
  const create = (graft: object = {}) =>
    api.post<{ id: string; status: string; graft: { priority: number } }>(
      '/fine_tuning/jobs',
      body(graft),
    );
  const state = async (id: string) =>
    (await api.get<{ status: string }>(`/fine_tuning/jobs/${id}`)).status;
  const used = async (name: string) =>
    (await api.get<LimitsObject>('/limits')).data.find((one) => one.name === name);

  it('rejects jobs beyond queued_jobs, also in concurrent requests', async () => {
    await limit({ queued_jobs: 3 });
    const answers = await Promise.allSettled(Array.from({ length: 10 }, () => create()));
    const refused = answers.filter((answer) => answer.status === 'rejected');
    expect(refused).toHaveLength(7);
    expect(String(refused[0]?.reason)).toContain(
      '3 jobs of this project are queued; its limit (queued_jobs) is 3. Wait until some have started',
    );
    expect(await used('queued_jobs')).toMatchObject({ limit: 3, used: 3 });
    const error = await caught(
      api.client.fineTuning.jobs.create({ model: 'tiny', training_file: file }),
    );
    expect(error).toMatchObject({ status: 429, code: 'insufficient_quota' });
    expect(error.headers?.get('x-should-retry')).toBe('false');
  });

  it('keeps jobs beyond running_jobs queued, across all pools, and rejects none', async () => {
    await limit({ running_jobs: 1 });
    const first = await create();
    const second = await create();
    const worker = await new ScriptedWorker(api, { pool }).connect();
    worker.pull(2);
    await until(() => worker.assignments.length === 1);
    const lease = worker.assignments[0];
    if (!lease) throw new Error('no lease');
    worker.keep(lease);
    expect(lease.jobId).toBe(first.id);
    const elsewhere = await new ScriptedWorker(api, { pool: `${pool}-b` }).connect();
    const third = await create({ pool: `${pool}-b` });
    elsewhere.pull();
    await new Promise((resolve) => setTimeout(resolve, 2500));
    expect(worker.assignments).toHaveLength(1);
    expect(elsewhere.assignments).toHaveLength(0);
    expect([await state(second.id), await state(third.id)]).toEqual(['queued', 'queued']);
    expect(await used('running_jobs')).toMatchObject({ limit: 1, used: 1 });
    await worker.report(lease, started(0, 2), step(1), step(2));
    await worker.finish(lease, 2);
    // The first pool that asks gets the slot; the other keeps waiting.
    await until(() => worker.assignments.length + elsewhere.assignments.length === 2);
    await limit({ running_jobs: 2 });
    await until(() => worker.assignments.length === 2 && elsewhere.assignments.length === 1);
    worker.vanish();
    elsewhere.vanish();
  });

  it('counts the tokens of a step once, even if it is repeated, and rejects new jobs after the daily limit', async () => {
    const before = (await used('tokens_per_day'))?.used ?? 0;
    const job = await create();
    const worker = await new ScriptedWorker(api, { pool }).connect();
    const lease = await worker.nextAssignment();
    const events = [
      worker.event(lease, started(0, 4)),
      worker.event(lease, step(1)),
      worker.event(lease, step(2)),
    ];
    for (let n = 0; n < 3; n++) await worker.batch(events);
    await worker.batch([...events.slice(1), worker.event(lease, step(3))]);
    await worker.report(lease, saved(1, [await worker.put(lease, 'state', 'one')]));
    expect((await used('tokens_per_day'))?.used).toBe(before + 300);
    // Another attempt repeats steps 2 and 3, which do not count again.
    worker.vanish();
    const next = await new ScriptedWorker(api, { pool }).connect();
    const again = await next.nextAssignment(30_000);
    next.keep(again);
    expect(again).toMatchObject({ jobId: job.id, checkpointStep: 1 });
    await next.report(again, started(1, 4), step(2), step(3));
    expect((await used('tokens_per_day'))?.used).toBe(before + 300);

    await limit({ tokens_per_day: before + 350 });
    const last = await create();
    await next.report(again, step(4));
    expect((await used('tokens_per_day'))?.used).toBe(before + 400);
    const refusal = await caught(
      api.client.fineTuning.jobs.create({ model: 'tiny', training_file: file }),
    );
    expect(refusal).toMatchObject({ status: 429, code: 'insufficient_quota' });
    expect(refusal.message).toMatch(
      new RegExp(
        `this project has used ${before + 400} tokens today; its limit \\(tokens_per_day\\) is ${before + 350}\\. It resets at \\d{4}-\\d\\d-\\d\\dT00:00:00\\.000Z`,
      ),
    );
    const limits = await used('tokens_per_day');
    const midnight = Math.ceil((Date.now() / 1000 + 1) / 86_400) * 86_400;
    expect(Math.abs((limits?.resets_at ?? 0) - midnight)).toBeLessThanOrEqual(86_400);
    expect((limits?.resets_at ?? 1) % 86_400).toBe(0);
    // Running and queued jobs continue.
    await next.finish(again, 4);
    expect(await state(job.id)).toBe('succeeded');
    expect((await next.nextAssignment()).jobId).toBe(last.id);
    next.vanish();
  });

  it('rejects a priority that the project may not use, with its field', async () => {
    await limit({ priority: 50 });
    for (const path of ['/fine_tuning/jobs', '/fine_tuning/jobs/preview'])
      await expect(api.post(path, body({ priority: 49 }))).rejects.toThrow(
        '400 graft.priority: expected at least 50 in this project, got 49; jobs with a lower number start first',
      );
    expect((await create({ priority: 50 })).graft.priority).toBe(50);
    expect((await create()).graft.priority).toBe(100);
    await limit({ priority: 300 });
    expect((await create()).graft.priority).toBe(300);
    expect((await api.get<LimitsObject>('/limits')).highest_priority).toBe(300);
  });

  it('limits other projects to the default priority unless an administrator allows more', async () => {
    expect((await create({ priority: 1 })).graft.priority).toBe(1);
    const other = await api.post<{ id: string }>('/organization/projects', { name: 'other' });
    const { secret, id } = await api.post<{ id: string; secret: string }>('/keys', { name: 'o' });
    await api.query('UPDATE api_key SET project_id = $2 WHERE id = $1', [id, other.id]);
    const theirs = { url: api.url, headers: { authorization: `Bearer ${secret}` } };
    const answer = async (path: string, content: object): Promise<Record<string, unknown>> => {
      const response = await fetch(`${theirs.url}/v1${path}`, {
        method: 'POST',
        headers: { ...theirs.headers, 'content-type': 'application/json' },
        body: JSON.stringify(content),
      });
      return (await response.json()) as Record<string, unknown>;
    };
    const refused = {
      error: {
        param: 'graft.priority',
        message: expect.stringContaining('expected at least 100 in this project') as string,
      },
    };
    expect(await answer('/fine_tuning/jobs', body({ priority: 99 }))).toMatchObject(refused);
    const limits = await fetch(`${theirs.url}/v1/limits`, theirs);
    expect(await limits.json()).toMatchObject({ highest_priority: 100 });
    await api.post(`/organization/projects/${other.id}`, { graft: { limits: { priority: 5 } } });
    // The next error is that the file belongs to another project.
    expect(await answer('/fine_tuning/jobs', body({ priority: 5 }))).toMatchObject({
      error: { param: 'training_file' },
    });
    expect(await answer('/fine_tuning/jobs', body({ priority: 4 }))).toMatchObject({
      error: { param: 'graft.priority' },
    });
  });
}

describe('quotas, queue tokens in PostgreSQL', () => quotas(false));
describe.skipIf(!(await listens(REDIS_PORT)))('quotas, queue tokens in Redis', () => quotas(true));
