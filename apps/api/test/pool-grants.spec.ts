import type { JobObject, PoolObject } from '@graft/contracts';
import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { ask, clientOf, makeProject, type TestProject } from './projects.js';
import { ScriptedWorker } from './scripted-worker.js';

// Jobs can use only pools that their project may use.

let api: TestApi;
let a: TestProject;
let b: TestProject;
const files = new Map<string, string>();

beforeAll(async () => {
  api = await startTestApi();
  await importBase(api);
  a = await makeProject(api, 'first');
  b = await makeProject(api, 'second');
  for (const { id, member } of [a, b])
    files.set(id, await uploadChats({ ...api, client: clientOf(api, member.key) } as TestApi));
});
afterAll(() => api?.close());

const grant = (pool: string, project: TestProject) =>
  api.post<PoolObject>(`/pools/${pool}/grants`, { project_id: project.id });
const revoke = (pool: string, project: TestProject) =>
  ask(api, api.apiKey, 'delete', `/v1/pools/${pool}/grants/${project.id}`);
let jobs = 0;
const submit = (project: TestProject, pool: string, where = '') =>
  ask(api, project.member.key, 'post', `/v1/fine_tuning/jobs${where}`, {
    model: 'tiny',
    training_file: files.get(project.id),
    metadata: { n: String(++jobs) },
    graft: { pool },
  });
const job = async (project: TestProject, pool: string): Promise<string> =>
  (JSON.parse((await submit(project, pool)).text) as JobObject).id;
const phase = async (project: TestProject, id: string) =>
  (
    JSON.parse(
      (await ask(api, project.viewer.key, 'get', `/v1/fine_tuning/jobs/${id}`)).text,
    ) as JobObject
  ).graft.phase;

const changed = async (id: string): Promise<number> =>
  (
    await api.query<{ at: number }>(
      'SELECT EXTRACT(EPOCH FROM updated_at)::float8 AS at FROM job WHERE id = $1',
      [id],
    )
  )[0]!.at;

it('opens a new pool to all projects, and a granted one only to those with a grant', async () => {
  expect((await submit(a, 'fresh', '/preview')).status).toBe(200);
  expect(await grant('fresh', a)).toMatchObject({
    id: 'fresh',
    open: false,
    grants: [{ project_id: a.id, project_name: 'first' }],
  });
  for (const where of ['', '/preview']) {
    expect((await submit(a, 'fresh', where)).status).toBe(200);
    const refused = await submit(b, 'fresh', where);
    expect([refused.status, JSON.parse(refused.text)]).toEqual([
      404,
      {
        error: {
          message: 'this project has no pool fresh; it may use default',
          type: 'invalid_request_error',
          param: 'graft.pool',
          code: 'not_found',
        },
      },
    ]);
  }
  await grant('fresh', b);
  expect((await submit(b, 'fresh')).status).toBe(200);
  await revoke('fresh', a);
  await revoke('fresh', b);
  expect((await submit(a, 'fresh')).status).toBe(404);
  await api.post('/pools/fresh', { open: true });
  expect((await submit(a, 'fresh')).status).toBe(200);
});

it('shows a project only its pools, and grants only to administrators', async () => {
  await grant('seen', a);
  const pools = async (key: string) =>
    (JSON.parse((await ask(api, key, 'get', '/v1/pools')).text) as { data: PoolObject[] }).data;
  expect((await pools(a.viewer.key)).map(({ id }) => id)).toContain('seen');
  expect((await pools(b.viewer.key)).map(({ id }) => id)).not.toContain('seen');
  for (const pool of await pools(a.viewer.key)) expect(pool).not.toHaveProperty('grants');
  expect(await pools(api.apiKey)).toEqual(
    expect.arrayContaining([
      expect.objectContaining({
        id: 'seen',
        grants: [expect.objectContaining({ project_id: a.id })],
      }),
    ]),
  );
  expect((await ask(api, b.viewer.key, 'get', '/v1/pools/seen')).status).toBe(404);
});

it('is found by name in the list, which is empty if the project may not see it', async () => {
  await grant('named', a);
  const worker = await new ScriptedWorker(api, { pool: 'named' }).connect();
  try {
    const named = async (key: string, name: string): Promise<PoolObject[]> => {
      const { status, text } = await ask(api, key, 'get', `/v1/pools?name=${name}`);
      expect(status).toBe(200);
      return (JSON.parse(text) as { data: PoolObject[] }).data;
    };
    const [pool, ...others] = await named(a.viewer.key, 'named');
    expect(pool).toMatchObject({ id: 'named', workers: { online: 1 }, queued: 0 });
    expect(others).toEqual([]);
    expect(await named(b.viewer.key, 'named')).toEqual([]);
    expect(await named(a.viewer.key, 'nowhere')).toEqual([]);
  } finally {
    worker.vanish();
  }
});

it("is created by a worker that joins, and truncates the worker's long name", async () => {
  const long = 'w'.repeat(5000);
  const worker = await new ScriptedWorker(api, { pool: 'by-worker', name: long }).connect();
  try {
    expect(await api.get('/pools/by-worker')).toMatchObject({ open: true });
    const { data } = await api.get<{ data: { name: string; pool: string }[] }>('/workers');
    expect(data.find(({ pool }) => pool === 'by-worker')!.name).toBe('w'.repeat(200));
  } finally {
    worker.vanish();
  }
});

it('keeps jobs queued with the reason while their grant is revoked', async () => {
  await grant('shut', a);
  const id = await job(a, 'shut');
  expect(await phase(a, id)).toEqual({
    code: 'queued',
    message: 'Waiting for a worker in pool shut',
  });
  await revoke('shut', a);
  expect(await phase(a, id)).toEqual({
    code: 'pool_not_granted',
    message: expect.stringContaining('the project may no longer use pool shut'),
  });
  const worker = await new ScriptedWorker(api, { pool: 'shut' }).connect();
  try {
    // A job of a project with a grant overtakes it; then the worker has no other job.
    await grant('shut', b);
    const passing = await job(b, 'shut');
    expect((await worker.nextAssignment()).jobId).toBe(passing);
    worker.pull();
    await api.post(`/pools/shut/grants`, { project_id: a.id });
    await until(() => worker.assignments.length === 2, 30_000);
    expect(worker.assignments[1]!.jobId).toBe(id);
  } finally {
    worker.vanish();
  }
});

it('revokes a grant without waiting for locked jobs', async () => {
  await grant('busy', a);
  const [held, id] = [await job(a, 'busy'), await job(a, 'busy')];
  const before = await changed(id);
  const client = new pg.Client({ connectionString: api.databaseUrl });
  await client.connect();
  try {
    await client.query('BEGIN');
    await client.query('SELECT 1 FROM job WHERE id = $1 FOR UPDATE', [held]);
    expect(await revoke('busy', a)).toMatchObject({ status: 200 });
    expect(await changed(id)).toBeGreaterThan(before);
  } finally {
    await client.end();
  }
});

it('reports to jobs in a cordoned pool that it is cordoned', async () => {
  await grant('cordoned', a);
  const id = await job(a, 'cordoned');
  await api.post('/pools/cordoned/cordon');
  expect(await phase(a, id)).toEqual({
    code: 'pool_cordoned',
    message:
      'Waiting: pool cordoned is cordoned and starts no new jobs until an administrator uncordons it',
  });
  await api.post('/pools/cordoned/uncordon');
  expect(await phase(a, id)).toMatchObject({ code: 'queued' });
});

it('sends a new waiting reason to the streams of a job', async () => {
  await grant('watched', a);
  const id = await job(a, 'watched');
  const leaving = new AbortController();
  const stream = await fetch(`${api.url}/v1/fine_tuning/jobs/${id}/stream`, {
    headers: { authorization: `Bearer ${a.viewer.key}` },
    signal: leaving.signal,
  });
  const reader = stream.body!.getReader();
  let seen = '';
  const readUntil = async (sign: string): Promise<void> => {
    while (!seen.includes(sign)) seen += new TextDecoder().decode((await reader.read()).value);
  };
  await readUntil('Waiting for a worker in pool watched');
  await revoke('watched', a);
  await readUntil('pool_not_granted');
  leaving.abort();
});
