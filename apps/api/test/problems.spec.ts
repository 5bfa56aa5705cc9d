// GET /v1/problems: what is wrong now, for a project and for administrators.
import type { JobObject, Page, ProblemObject } from '@graft/contracts';
import request from 'supertest';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { makeProject, type TestProject } from './projects.js';
import { ScriptedWorker } from './scripted-worker.js';

let api: TestApi;
let other: TestProject;
let file: string;
const workers: ScriptedWorker[] = [];
beforeAll(async () => {
  api = await startTestApi({ leaseMs: 2_000, reconcileMs: 200 });
  await importBase(api);
  file = await uploadChats(api);
  other = await makeProject(api, 'other');
});
afterAll(() => api?.close());
afterEach(async () => {
  for (const worker of workers.splice(0)) worker.vanish();
  await api.query(`UPDATE job SET state = 'cancelled', finished_at = NULL`);
  await api.query('DELETE FROM worker');
  await api.query(`UPDATE project SET limits = '{}'`);
});

/** Reads the list after the time for which it is cached. */
async function problems(key = api.apiKey): Promise<readonly ProblemObject[]> {
  await new Promise((resolve) => setTimeout(resolve, 2_100));
  const { status, body } = await request(api.url)
    .get('/v1/problems')
    .set({ authorization: `Bearer ${key}` });
  expect(status).toBe(200);
  return (body as Page<ProblemObject>).data;
}
const of = async (code: string, key?: string): Promise<ProblemObject[]> =>
  (await problems(key)).filter((problem) => problem.code === code);
const create = (pool: string, more: object = {}): Promise<JobObject> =>
  api.post('/fine_tuning/jobs', { model: 'tiny', training_file: file, graft: { pool }, ...more });

it('is empty if nothing is wrong', async () => {
  expect(await problems()).toEqual([]);
  await request(api.url).get('/v1/problems').expect(401);
});

it('names pools whose queued jobs cannot start, and why', async () => {
  await create('empty');
  await create('empty');
  const [none, ...more] = await of('pool_without_workers');
  expect(more).toEqual([]);
  expect(none).toMatchObject({
    object: 'graft.problem',
    severity: 'error',
    title: '2 jobs wait for pool empty, which has no worker',
    subject: { type: 'pool', id: 'empty', name: 'empty' },
    project_id: 'proj-default',
  });
  expect(none?.since).toBeGreaterThan(1e9);
  await api.query(`INSERT INTO pool (name, cordoned) VALUES ('shut', true)`);
  await create('shut');
  expect(await of('pool_cordoned')).toMatchObject([
    { severity: 'warning', title: '1 job waits for pool shut, which is cordoned' },
  ]);
  // Another project sees neither.
  expect(await problems(other.viewer.key)).toEqual([]);
});

it('names workers that are offline, with less severity if others run their jobs', async () => {
  const worker = await new ScriptedWorker(api, { pool: 'small' }).connect();
  worker.vanish();
  await until(
    async () => (await api.query(`SELECT 1 FROM worker WHERE state = 'offline'`)).length > 0,
  );
  const [alone] = await of('worker_offline');
  expect(alone).toMatchObject({ severity: 'warning', subject: { type: 'worker' } });
  expect(alone?.title).toMatch(/^Worker \S+ of pool small is offline$/);
  workers.push(await new ScriptedWorker(api, { pool: 'small' }).connect());
  expect(await of('worker_offline')).toMatchObject([{ severity: 'info' }]);
});

it('names workers that Graft cordoned', async () => {
  const worker = await new ScriptedWorker(api, { pool: 'lemons' }).connect();
  workers.push(worker);
  await api.query(`UPDATE worker SET cordoned = true, cordon_reason = '3 crashes in a row'`);
  const [found] = await of('worker_cordoned');
  expect(found?.title).toMatch(/of pool lemons is cordoned: 3 crashes in a row$/);
  await create('lemons');
  expect(await of('pool_without_workers')).toMatchObject([
    { title: '1 job waits for pool lemons, whose workers accept no jobs' },
  ]);
});

it('names jobs that failed in the last day, with the reason', async () => {
  const { id } = await create('empty', { suffix: 'sunk' });
  const fail = (age: string) =>
    api.query(
      `UPDATE job SET state = 'failed', finished_at = now() - $2::interval, updated_at = now(),
         error = '{"code": "nonfinite", "message": "step 3: loss NaN.", "param": null}' WHERE id = $1`,
      [id, age],
    );
  await fail('1 hour');
  expect(await of('job_failed')).toMatchObject([
    {
      severity: 'warning',
      title: 'Job sunk failed: step 3: loss NaN',
      action: 'Clone the job with a lower learning rate, or archive it',
      subject: { type: 'job', id, name: 'sunk' },
    },
  ]);
  expect(await of('job_failed', other.viewer.key)).toEqual([]);
  await api.query('UPDATE job SET archived_at = now() WHERE id = $1', [id]);
  expect(await of('job_failed')).toEqual([]);
  await api.query('UPDATE job SET archived_at = NULL WHERE id = $1', [id]);
  await fail('25 hours');
  expect(await of('job_failed')).toEqual([]);
});

it('names a job that waits for more than an hour', async () => {
  const worker = await new ScriptedWorker(api, { pool: 'slow', slots: 1 }).connect();
  workers.push(worker);
  await create('slow');
  await worker.nextAssignment();
  const { id } = await create('slow');
  await api.query(`UPDATE job SET queued_at = now() - interval '50 minutes' WHERE id = $1`, [id]);
  expect(await of('job_waiting')).toEqual([]);
  await api.query(`UPDATE job SET queued_at = now() - interval '2 hours' WHERE id = $1`, [id]);
  expect(await of('job_waiting')).toMatchObject([{ severity: 'info', subject: { id } }]);
});

it('names limits that are reached or near', async () => {
  const limits = (value: object) => api.query('UPDATE project SET limits = $1', [value]);
  await limits({ queued_jobs: 1, storage_bytes: 1e15 });
  expect(await of('limit_reached')).toEqual([]);
  await create('empty');
  expect(await of('limit_reached')).toMatchObject([
    {
      severity: 'error',
      title: 'Project default has reached its limit of queued jobs: new jobs are rejected',
      subject: { type: 'limit', id: 'queued_jobs' },
      since: null,
    },
  ]);
  const [{ used } = { used: '0' }] = await api.query<{ used: string }>(
    `SELECT sum(bytes) AS used FROM storage_change WHERE project_id = 'proj-default'`,
  );
  await limits({ storage_bytes: Math.ceil(Number(used) / 0.95) });
  expect(await of('limit_near')).toMatchObject([
    { severity: 'warning', title: 'Project default has used 95 % of its limit of storage' },
  ]);
});

it('names failed imports, failing webhooks and trackers, to those who may see them', async () => {
  await api.query(
    `INSERT INTO model (id, kind, status, status_details, source) VALUES ('mamba', 'base', 'error', 'Mamba 2 is not supported.', 'hf:a/b')`,
  );
  await api.query(
    `INSERT INTO webhook_endpoint (id, project_id, name, url, event_types, secret, failing_since, disabled_at, disabled_reason)
     VALUES ('we_1', 'proj-default', 'slack', 'http://a', '[]', 's', now(), NULL, NULL),
            ('we_2', 'proj-default', 'old', 'http://a', '[]', 's', now(), now(), 'failed for 3 days')`,
  );
  await api.query(
    `INSERT INTO integration (project_id, type, url, project, failing_since, last_error)
     VALUES ($1, 'mlflow', 'http://a', 'p', now(), '401 Unauthorized')`,
    [other.id],
  );
  const all = await problems();
  expect(all.map(({ code }) => code).toSorted()).toEqual([
    'import_failed',
    'tracker_failing',
    'webhook_disabled',
    'webhook_failing',
  ]);
  expect(all[0]).toMatchObject({
    severity: 'error',
    title: 'Webhook old is disabled: failed for 3 days',
  });
  expect(all.find(({ code }) => code === 'import_failed')?.title).toBe(
    'Import of mamba failed: Mamba 2 is not supported',
  );
  const theirs = await problems(other.viewer.key);
  expect(theirs.map(({ code }) => code).toSorted()).toEqual(['import_failed', 'tracker_failing']);
  await api.query(`DELETE FROM model WHERE id = 'mamba'`);
  await api.query('DELETE FROM webhook_endpoint');
  await api.query('DELETE FROM integration');
});

it('lists errors first, then warnings', async () => {
  await create('empty');
  const { id } = await create('empty', { suffix: 'sunk' });
  await api.query(
    `UPDATE job SET state = 'failed', finished_at = now(), updated_at = now() WHERE id = $1`,
    [id],
  );
  const found = await problems();
  expect(found.map(({ severity }) => severity)).toEqual(['error', 'warning']);
});
