import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EVAL, RUN } from './changes/eval-changes.js';
import { chats, importBase, startTestApi, until, type TestApi } from './fixture.js';
import { addMember, ask, clientOf, makeProject, type TestProject } from './projects.js';
import { at, ROUTES } from './routes.js';
import { sweepOf } from './changes/sweep-changes.js';
import { HOOK } from './changes/webhook-changes.js';

// Every route, called by keys without access: objects of another project do not exist, and calls beyond a
// role's scopes are rejected.

let api: TestApi;
/** Project that owns the objects. */
let a: TestProject;
/** Project whose keys request them. */
let b: TestProject;
let objects: Record<
  | 'sweep'
  | 'upload'
  | 'file'
  | 'job'
  | 'model'
  | 'checkpoint'
  | 'eval'
  | 'run'
  | 'item'
  | 'endpoint'
  | 'delivery'
  | 'response'
  | 'batch',
  string
>;

beforeAll(async () => {
  api = await startTestApi({ outboundNetworks: ['127.0.0.0/8'] });
  await importBase(api);
  a = await makeProject(api, 'aardvark');
  b = await makeProject(api, 'badger');
  await api.post('/pools/gold/grants', { project_id: a.id });
  const mine = clientOf(api, a.member.key);
  const file = await mine.files.create({
    file: new File([chats(12)], 'aardvark-secret.jsonl'),
    purpose: 'fine-tune',
  });
  const job = await mine.fineTuning.jobs.create({
    model: 'tiny',
    training_file: file.id,
    graft: { pool: 'gold' },
  } as never);
  const model = `ft:tiny:${a.id}::abcd1234`;
  await api.query(
    `INSERT INTO model (id, project_id, kind, base_id, job_id, family, status) VALUES ($1, $2, 'adapter', 'tiny', $3, 'llama', 'ready')`,
    [model, a.id, job.id],
  );
  await api.query(
    `INSERT INTO worker (id, instance_id, name, pool, state, slots, devices, memory_bytes, libtorch, trainer_build, connected_at, last_seen_at)
     VALUES ('worker-gold', 'gold-1', 'aardvark-rack', 'gold', 'online', 7, '["cpu"]', 1, 'x', 'x', now(), now() + interval '1 hour')`,
  );
  const sweep = await ask(api, a.member.key, 'post', '/v1/sweeps', sweepOf(file.id, 'gold'));
  const upload = await mine.uploads.create({
    bytes: 9,
    filename: 'aardvark-part.jsonl',
    mime_type: 'application/jsonl',
    purpose: 'fine-tune',
  });
  const made = await mine.evals.create(EVAL as never);
  const run = await mine.evals.runs.create(made.id, RUN as never);
  const of = { eval_id: made.id };
  await until(async () => (await mine.evals.runs.retrieve(run.id, of)).status === 'completed');
  const items = await mine.evals.runs.outputItems.list(run.id, of);
  const hook = '/v1/webhook_endpoints';
  const given = (text: string) => (JSON.parse(text) as { id: string }).id;
  await ask(api, a.owner.key, 'post', '/v1/integrations/mlflow', { url: 'http://127.0.0.1:9/' });
  const endpoint = given((await ask(api, a.owner.key, 'post', hook, HOOK)).text);
  const [sent] = await api.query<{ number: string }>(
    `INSERT INTO webhook_delivery (endpoint_id, event_id, type, target, status)
     VALUES ($1, 'evt_aardvark', 'eval.run.succeeded', $2, 'delivered') RETURNING number`,
    [endpoint, run.id],
  );
  const delivery = `whd_${sent!.number}`;
  await api.query(
    `INSERT INTO response (id, project_id, response, input) VALUES ('resp_aardvark', $1, $2, '[]')`,
    [a.id, { id: 'resp_aardvark', output: [] }],
  );
  await api.query(
    `INSERT INTO batch (id, project_id, key_id, endpoint, input_file, completion_window, status, expires_at)
     VALUES ('batch_aardvark', $1, '', '/v1/embeddings', $2, '24h', 'completed', now())`,
    [a.id, file.id],
  );
  objects = {
    batch: 'batch_aardvark',
    sweep: given(sweep.text),
    endpoint,
    delivery,
    eval: made.id,
    run: run.id,
    item: items.data[0]!.id,
    upload: upload.id,
    file: file.id,
    job: job.id,
    model,
    checkpoint: `${model}:ckpt-step-3`,
    response: 'resp_aardvark',
  };
});
afterAll(() => api?.close());

/** Returns a route's URLs with ids of aardvark's objects. */
function urlsOf(method: string, path: string): string[] {
  const filled = (id: string, project = a.id): string =>
    path.replace('{project}', project).replace('{id}', encodeURIComponent(id));
  // Neither aardvark's objects through badger's project nor the reverse.
  const crossed = (theirs: string, ours: string): string[] =>
    path.includes('{id}')
      ? [filled(theirs), filled(ours), filled(theirs, b.id)]
      : [filled(theirs), filled(ours)];
  if (path.includes('/users')) return crossed(a.viewer.id, b.viewer.id);
  if (path.includes('/projects/{project}/api_keys')) return crossed(a.viewer.keyId, b.viewer.keyId);
  if (path.startsWith('/v1/organization/projects')) return [filled(a.id)];
  if (path.startsWith('/v1/organization/admin_api_keys'))
    return [filled(api.apiKey.split('-')[2]!)];
  if (path.startsWith('/v1/keys/')) return [filled(a.viewer.keyId)];
  if (path.startsWith('/v1/evals'))
    return [filled(objects.eval).replace('{run}', objects.run).replace('{item}', objects.item)];
  if (path.startsWith('/v1/webhook_endpoints'))
    return [filled(objects.endpoint).replace('{delivery}', objects.delivery)];
  // a type that aardvark has configured
  if (path.startsWith('/v1/integrations/') && method === 'get')
    return [path.replace('{type}', 'mlflow')];
  if (path.startsWith('/v1/sweeps')) return [filled(objects.sweep)];
  if (path.startsWith('/v1/uploads')) return [filled(objects.upload)];
  if (path.startsWith('/v1/files')) return [filled(objects.file)];
  if (path.startsWith('/v1/responses')) return [filled(objects.response)];
  if (path.startsWith('/v1/batches')) return [filled(objects.batch)];
  if (path.endsWith('/receipt/comparison')) return [`${filled(objects.job)}?with=${objects.job}`];
  if (path.startsWith('/v1/fine_tuning')) return [filled(objects.job)];
  if (path.startsWith('/v1/models')) return [filled(objects.model), filled(objects.checkpoint)];
  if (path.endsWith('/what_if')) return [`${filled('gold')}?front=${objects.job}`];
  if (path.startsWith('/v1/organization/usage')) return [`${path}?start_time=1`];
  if (path.startsWith('/v1/pools')) return [filled('gold')];
  return [at(path)];
}

/** Request bodies with ids of aardvark's objects, for routes that have a body. */
const bodies = (path: string): object[] => {
  const job = { model: 'tiny', training_file: objects.file };
  if (path.startsWith('/v1/fine_tuning/jobs') && !path.includes('{id}'))
    return [job, { ...job, model: objects.model }];
  if (path === '/v1/sweeps') return [sweepOf(objects.file)];
  if (path === '/v1/chat/completions')
    return [{ model: objects.model, messages: [{ role: 'user', content: 'hi' }] }];
  if (path === '/v1/completions') return [{ model: objects.model, prompt: 'hi' }];
  if (path === '/v1/responses')
    return [
      { model: objects.model, input: 'hi' },
      { model: 'tiny', input: 'hi', previous_response_id: objects.response },
    ];
  if (path === '/v1/batches')
    return [{ input_file_id: objects.file, endpoint: '/v1/embeddings', completion_window: '24h' }];
  if (path.endsWith('/api_keys') || path === '/v1/keys')
    return [{ name: 'x', member_id: a.viewer.id }];
  if (path.endsWith('/users')) return [{ name: 'intruder', role: 'owner' }];
  if (path.endsWith('/users/{id}')) return [{ role: 'owner' }];
  if (path.endsWith('/grants')) return [{ project_id: b.id }];
  if (path.endsWith('/revisions')) return [{ records: [{ line: 1, record: null }] }];
  return [{}];
};

const TABLES = [
  'response',
  'file',
  'upload',
  'eval',
  'eval_run',
  'webhook_endpoint',
  'sweep',
  'job',
  'model',
  'member',
  'api_key',
  'project',
];

/** All rows of aardvark. */
const state = () =>
  Promise.all(
    [...TABLES].map(async (table) =>
      (
        await api.query<{ row: Record<string, unknown> }>(
          `SELECT to_jsonb(one) - 'last_used_at' - 'updated_at' - 'reissued_at' AS row FROM ${table} one
           WHERE ${table === 'project' ? 'id' : 'project_id'} = $1 ORDER BY id`,
          [a.id],
        )
      ).map(({ row }) => row),
    ),
  );

const noTrace = (text: string): void => {
  const secret = [
    a.id,
    ...Object.values(objects),
    ...[a.owner, a.member, a.viewer].flatMap(({ id, keyId, key }) => [id, keyId, key]),
    'aardvark',
    'gold',
  ];
  expect(secret.filter((word) => text.includes(word))).toEqual([]);
};

describe('every route', () => {
  it("neither shows nor changes objects of another project, whatever the key's scopes in its own", async () => {
    const before = await state();
    for (const [method, path, scope] of ROUTES) {
      if ((path === '/v1/files' || path === '/v1/uploads') && method === 'post') continue; // multipart, without ids
      for (const url of urlsOf(method, path))
        for (const body of method === 'post' ? bodies(path) : [undefined]) {
          const answer = await ask(api, b.owner.key, method, url, body);
          const actual = [method, url, JSON.stringify(body), answer.status, answer.code];
          if (scope === 'admin' || scope === 'metrics:read')
            expect(actual).toEqual([method, url, JSON.stringify(body), 403, 'insufficient_scope']);
          else if (
            path.includes('{') ||
            (method === 'post' && bodies(path)[0] !== undefined && JSON.stringify(body) !== '{}')
          )
            expect([...actual.slice(0, 3), answer.status]).toEqual([...actual.slice(0, 3), 404]);
          else expect(actual[3]).toBeOneOf([200, 400]);
          // Errors repeat the requested id; successful responses must not contain it.
          if (answer.status === 200) noTrace(answer.text);
        }
    }
    expect(await state()).toEqual(before);
  });

  it('allows each role its scopes, and rejects the rest', async () => {
    const may = {
      viewer: ['jobs:read', 'files:read', 'models:read'],
      member: [
        'jobs:read',
        'files:read',
        'models:read',
        'jobs:write',
        'files:write',
        'models:write',
      ],
      owner: [
        ...['jobs:read', 'files:read', 'models:read', 'jobs:write', 'files:write', 'models:write'],
        'project:admin',
      ],
    } as const;
    for (const role of ['viewer', 'member', 'owner'] as const)
      for (const [method, path, scope] of ROUTES) {
        const allowed =
          scope === null ||
          scope.split(' or ').some((one) => (may[role] as readonly string[]).includes(one));
        // Routes that change something get ids that do not exist.
        const url = method === 'get' ? urlsOf(method, path)[0]! : at(path);
        const answer = await ask(api, a[role].key, method, url);
        const actual = [role, method, path, answer.code === 'insufficient_scope'];
        expect(actual).toEqual([role, method, path, !allowed]);
        const found =
          !allowed || method !== 'get' || path.includes('/content') ? null : answer.status;
        // An adapter's archive has no files here, a base has no jobs, and the job waits in another pool.
        if (found !== null && !/archive|what_if/.test(path))
          expect([role, url, found]).toEqual([role, url, 200]);
      }
  });

  it('rejects keys of removed members and of archived projects', async () => {
    const gone = await makeProject(api, 'gone');
    const left = await addMember(api, b.id, 'left', 'owner');
    expect((await ask(api, left.key, 'get', '/v1/keys/me')).status).toBe(200);
    await clientOf(api, b.owner.key).admin.organization.projects.users.delete(left.id, {
      project_id: b.id,
    });
    await api.post(`/organization/projects/${gone.id}/archive`);
    for (const key of [left.key, gone.owner.key, gone.member.key, gone.viewer.key])
      for (const [method, path] of ROUTES) {
        const answer = await ask(api, key, method, at(path));
        expect([method, path, answer.status]).toEqual([method, path, 401]);
      }
  });

  it('lists, returns and deletes only models of the own project, and lists bases', async () => {
    const list = await clientOf(api, b.owner.key).models.list();
    expect(list.data.map(({ id }) => id)).toEqual(['tiny']);
    const own = await clientOf(api, a.viewer.key).models.list();
    expect(own.data.map(({ id }) => id).sort()).toEqual([objects.model, 'tiny'].sort());
    for (const method of ['get', 'delete'] as const) {
      const url = `/v1/models/${encodeURIComponent(objects.model)}`;
      expect(await ask(api, b.member.key, method, url)).toMatchObject({ status: 404 });
    }
  });

  it("does not revoke another project's key", async () => {
    expect(await ask(api, b.owner.key, 'delete', `/v1/keys/${a.viewer.keyId}`)).toMatchObject({
      status: 404,
    });
    expect((await ask(api, a.viewer.key, 'get', '/v1/models')).status).toBe(200);
    expect((await ask(api, a.owner.key, 'delete', `/v1/keys/${b.viewer.keyId}`)).status).toBe(404);
    expect((await ask(api, b.viewer.key, 'get', '/v1/models')).status).toBe(200);
  });
});

describe("a project's view of the installation", () => {
  it('includes only workers of pools that it may use', async () => {
    const workers = async (key: string): Promise<unknown> =>
      (
        JSON.parse((await ask(api, key, 'get', '/v1/workers')).text) as { data: { id: string }[] }
      ).data.map(({ id }) => id);
    expect(await workers(a.viewer.key)).toEqual(['worker-gold']);
    expect(await workers(b.viewer.key)).toEqual([]);
    expect(await workers(api.apiKey)).toEqual(['worker-gold']);
    const slots = async (key: string): Promise<unknown> =>
      (JSON.parse((await ask(api, key, 'get', '/v1/overview')).text) as { slots: number }).slots;
    expect([await slots(a.viewer.key), await slots(b.viewer.key), await slots(api.apiKey)]).toEqual(
      [7, 0, 7],
    );
  });

  it('includes no server paths, not even in the error of an import', async () => {
    const source = `dir:${api.home}/not-there`;
    await api.post('/models', { id: 'broken', source });
    await until(
      async () =>
        (await api.get<{ graft: { status: string } }>('/models/broken')).graft.status === 'error',
    );
    expect(await api.get('/models/broken')).toMatchObject({
      graft: { source, status_details: expect.stringContaining(api.home) },
    });
    for (const path of ['/v1/models', '/v1/models/broken', '/v1/models/tiny']) {
      const { status, text } = await ask(api, b.viewer.key, 'get', path);
      expect(status).toBe(200);
      expect(text).not.toContain(api.home);
    }
    const job = { model: 'broken', training_file: objects.file };
    const refused = await ask(api, a.member.key, 'post', '/v1/fine_tuning/jobs', job);
    expect(refused).toMatchObject({ status: 400, code: 'invalid_model' });
    expect(refused.text).not.toContain(api.home);
  });
});
