import type { AuditLogObject, JoinTokenObject, Page } from '@graft/contracts';
import type { AuditLogListParams } from 'openai/resources/admin/organization/audit-logs';
import request from 'supertest';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { evalChanges, type Change } from './changes/eval-changes.js';
import { chats, importBase, startTestApi, uploadChats, type TestApi } from './fixture.js';
import { formOf } from './forms.js';
import { HUB_TOKEN, hubChanges } from './changes/hub-changes.js';
import { Hub } from './hub-server.js';
import { addMember, ask, clientOf, makeProject, type TestProject } from './projects.js';
import { at, ROUTES } from './routes.js';
import { integrationChanges } from './changes/integration-changes.js';
import { ScriptedWorker, started, step } from './scripted-worker.js';
import { jobChanges } from './changes/job-changes.js';
import { responseChanges } from './changes/response-changes.js';
import { sweepChanges } from './changes/sweep-changes.js';
import { webhookChanges } from './changes/webhook-changes.js';

// The audit log: each change writes a row in its own transaction.

let api: TestApi;
let hub: Hub;
beforeAll(async () => {
  hub = await Hub.start(HUB_TOKEN);
  api = await startTestApi({ outboundNetworks: ['127.0.0.0/8'], hubUrl: hub.url });
});
afterAll(() => api?.close().finally(() => hub.stop()));

const rows = (target: string) =>
  api.query<Record<string, unknown>>(`SELECT * FROM audit WHERE target = $1 ORDER BY id`, [target]);

it('records who created and deleted a join token, and from which address', async () => {
  const made = await request(api.url)
    .post('/v1/join_tokens')
    .set(api.headers)
    .send({ name: 'rack 4', pool: 'rack-4' })
    .expect(200);
  const { id, secret } = made.body as JoinTokenObject;
  await request(api.url).delete(`/v1/join_tokens/${id}`).set(api.headers).expect(200);
  const written = await rows(id);
  const [key] = await api.query<{ id: string }>('SELECT id FROM api_key');
  expect(written).toEqual([
    expect.objectContaining({
      action: 'join_token.created',
      key_id: key!.id,
      member_id: null,
      project_id: null,
      detail: { name: 'rack 4', pool: 'rack-4' },
      address: expect.stringContaining('127.0.0.1'),
      request_id: made.headers['x-request-id'],
    }),
    expect.objectContaining({ action: 'join_token.deleted', key_id: key!.id }),
  ]);
  expect(JSON.stringify(written)).not.toContain(secret);
  expect(await api.query(`SELECT open FROM pool WHERE name = 'rack-4'`)).toEqual([{ open: true }]);
});

it('uses x-forwarded-for only behind a trusted proxy', async () => {
  const from = async (of: TestApi): Promise<unknown> => {
    const forwarded = { ...of.headers, 'x-forwarded-for': '203.0.113.7' };
    const { body } = await request(of.url).post('/v1/join_tokens').set(forwarded).send({});
    const sql = 'SELECT address FROM audit WHERE target = $1';
    return (await of.query<{ address: string }>(sql, [(body as JoinTokenObject).id]))[0]!.address;
  };
  expect(await from(api)).toContain('127.0.0.1');
  for (const trustProxy of ['1', 'loopback']) {
    const behind = await startTestApi({ trustProxy });
    try {
      expect(await from(behind)).toBe('203.0.113.7');
    } finally {
      await behind.close();
    }
  }
});

it('has no key for the first join token, which the server creates', async () => {
  const [own] = await api.query<{ id: string }>(`SELECT id FROM join_token WHERE name = 'local'`);
  expect(await rows(own!.id)).toEqual([
    expect.objectContaining({ action: 'join_token.created', key_id: null, request_id: null }),
  ]);
});

describe('every route that changes something', () => {
  let project: TestProject;
  let file: string;

  /** POST routes that change nothing, or only store what they generate. */
  const ASKS = [
    '/v1/fine_tuning/jobs/preview',
    '/v1/chat/completions',
    '/v1/completions',
    '/v1/responses',
    '/v1/embeddings',
    '/v1/classify',
    '/v1/audio/transcriptions',
    '/v1/fine_tuning/alpha/graders/validate',
    '/v1/fine_tuning/alpha/graders/run',
  ];
  const CHANGING = ROUTES.filter(([method, path]) => method !== 'get' && !ASKS.includes(path));

  beforeAll(async () => {
    await importBase(api);
    project = await makeProject(api, 'audited');
    file = await uploadChats(api);
  });

  const uploadOf = (text: string): object => ({
    bytes: text.length,
    filename: 'a.jsonl',
    mime_type: 'application/jsonl',
    purpose: 'fine-tune',
  });
  const job = async (pool = 'unserved'): Promise<string> =>
    (
      await api.post<{ id: string }>('/fine_tuning/jobs', {
        model: 'tiny',
        training_file: file,
        graft: { pool },
        metadata: { n: String(Math.random()) },
      })
    ).id;
  /** Id of a model that a job trained. */
  const adapter = async (): Promise<string> => {
    const worker = await new ScriptedWorker(api).connect();
    const { id } = await api.post<{ id: string }>('/fine_tuning/jobs', {
      model: 'tiny',
      training_file: file,
    });
    const lease = await worker.nextAssignment();
    await worker.report(lease, started(0, 1), step(1));
    await worker.finish(lease, 1);
    worker.vanish();
    return (await api.get<{ fine_tuned_model: string }>(`/fine_tuning/jobs/${id}`))
      .fine_tuned_model;
  };
  const key = async () => (await api.post<{ id: string }>('/keys', { name: 'some' })).id;
  const workerOf = async (name: string, state: string): Promise<string> => {
    await api.query(
      `INSERT INTO worker (id, instance_id, name, pool, state, slots, devices, memory_bytes, libtorch, trainer_build)
       VALUES ($1, $1, $1, 'default', $2, 1, '[]', 1, '', '')`,
      [`worker-${name}`, state],
    );
    return `worker-${name}`;
  };
  const own = 'proj-default';
  const ofProject = (rest: string): string => `/v1/organization/projects/${project.id}${rest}`;
  const ofNew = async (type: string, rest = '') => {
    const { id } = await makeProject(api, 'short-lived');
    return { path: `/v1/organization/projects/${id}${rest}`, type, target: id, project: id };
  };

  /** One change per route. */
  const CHANGES: Readonly<Record<string, () => Change | Promise<Change>>> = {
    ...evalChanges(() => api, own),
    ...jobChanges(() => api, own, job),
    ...webhookChanges(() => api, own),
    ...sweepChanges(() => api, own),
    ...hubChanges(adapter, own),
    ...integrationChanges(() => api, own),
    ...responseChanges(() => api, own),
    'post /v1/files': () => ({ path: '/v1/files', type: 'file.created', project: own }),
    'delete /v1/files/{id}': async () => {
      const id = await uploadChats(api);
      return { path: `/v1/files/${id}`, type: 'file.deleted', target: id, project: own };
    },
    'post /v1/uploads': () => ({
      path: '/v1/uploads',
      body: uploadOf(chats(12)),
      type: 'upload.created',
      project: own,
    }),
    'post /v1/uploads/{id}/parts': async () => {
      const { id } = await api.post<{ id: string }>('/uploads', uploadOf(chats(12)));
      return {
        path: `/v1/uploads/${id}/parts`,
        type: 'upload.continued',
        target: id,
        project: own,
      };
    },
    'post /v1/uploads/{id}/complete': async () => {
      const { id } = await api.post<{ id: string }>('/uploads', uploadOf(chats(12)));
      const part = await change('post', { path: `/v1/uploads/${id}/parts` } as Change);
      const body = { part_ids: [(JSON.parse(part.text) as { id: string }).id] };
      const path = `/v1/uploads/${id}/complete`;
      return { path, body, type: 'upload.completed', target: id, project: own };
    },
    'post /v1/uploads/{id}/cancel': async () => {
      const { id } = await api.post<{ id: string }>('/uploads', uploadOf(chats(12)));
      return {
        path: `/v1/uploads/${id}/cancel`,
        type: 'upload.cancelled',
        target: id,
        project: own,
      };
    },
    'post /v1/fine_tuning/jobs': () => ({
      path: '/v1/fine_tuning/jobs',
      body: { model: 'tiny', training_file: file, graft: { pool: 'unserved' } },
      type: 'job.created',
      project: own,
    }),
    'post /v1/adapters': () => ({
      path: '/v1/adapters',
      type: 'model.imported',
      project: own,
    }),
    'post /v1/adapters/operations': async () => ({
      path: '/v1/adapters/operations',
      body: { type: 'convert', model: await adapter(), rank: 1, pool: 'unserved' },
      type: 'job.created',
      project: own,
    }),
    'post /v1/models': () => ({
      path: '/v1/models',
      body: { id: 'other', source: `dir:${api.home}/source` },
      type: 'model.imported',
      target: 'other',
      project: null,
    }),
    'delete /v1/models/{id}': async () => {
      await importBase(api, 'third');
      return { path: '/v1/models/third', type: 'model.deleted', target: 'third', project: null };
    },
    'post /v1/keys': () => ({
      path: '/v1/keys',
      body: { name: 'x' },
      type: 'api_key.created',
      project: own,
    }),
    'delete /v1/keys/{id}': async () => {
      const id = await key();
      return { path: `/v1/keys/${id}`, type: 'api_key.deleted', target: id, project: own };
    },
    'post /v1/join_tokens': () => ({
      path: '/v1/join_tokens',
      body: {},
      type: 'join_token.created',
      project: null,
    }),
    'delete /v1/join_tokens/{id}': async () => {
      const { id } = await api.post<JoinTokenObject>('/join_tokens', {});
      return {
        path: `/v1/join_tokens/${id}`,
        type: 'join_token.deleted',
        target: id,
        project: null,
      };
    },
    'post /v1/organization/projects': () => ({
      path: '/v1/organization/projects',
      body: { name: 'new' },
      type: 'project.created',
      project: '*',
    }),
    'post /v1/organization/projects/{id}': () => ({
      path: ofProject(''),
      body: { name: 'renamed', graft: { weight: 3, limits: { running_jobs: 4 } } },
      type: 'project.updated',
      target: project.id,
      project: project.id,
    }),
    'post /v1/organization/projects/{id}/archive': () => ofNew('project.archived', '/archive'),
    'delete /v1/organization/projects/{id}': () => ofNew('project.deletion_requested'),
    'post /v1/organization/projects/{id}/restore': async () => {
      const restored = await ofNew('project.restored', '/restore');
      await ask(api, api.apiKey, 'delete', `/v1/organization/projects/${restored.target}`);
      return restored;
    },
    'post /v1/organization/projects/{project}/users': () => ({
      path: ofProject('/users'),
      body: { name: 'new', role: 'viewer' },
      type: 'user.added',
      project: project.id,
    }),
    'post /v1/organization/projects/{project}/users/{id}': () => ({
      path: ofProject(`/users/${project.viewer.id}`),
      body: { role: 'member' },
      type: 'user.updated',
      target: project.viewer.id,
      project: project.id,
    }),
    'delete /v1/organization/projects/{project}/users/{id}': async () => {
      const { id } = await addMember(api, project.id, 'brief', 'member');
      return {
        path: ofProject(`/users/${id}`),
        type: 'user.deleted',
        target: id,
        project: project.id,
      };
    },
    'post /v1/organization/projects/{project}/api_keys': () => ({
      path: ofProject('/api_keys'),
      body: { name: 'x', member_id: project.member.id },
      type: 'api_key.created',
      project: project.id,
    }),
    'delete /v1/organization/projects/{project}/api_keys/{id}': async () => {
      const { keyId } = await addMember(api, project.id, 'briefer', 'member');
      return {
        path: ofProject(`/api_keys/${keyId}`),
        type: 'api_key.deleted',
        target: keyId,
        project: project.id,
      };
    },
    'post /v1/organization/admin_api_keys': () => ({
      path: '/v1/organization/admin_api_keys',
      body: { name: 'second' },
      type: 'api_key.created',
      project: own,
    }),
    'delete /v1/organization/admin_api_keys/{id}': async () => {
      const { id } = await api.post<{ id: string }>('/organization/admin_api_keys', { name: 'y' });
      return {
        path: `/v1/organization/admin_api_keys/${id}`,
        type: 'api_key.deleted',
        target: id,
        project: own,
      };
    },
    'post /v1/pools/{id}': () => ({
      path: '/v1/pools/default',
      body: { open: true },
      type: 'pool.opened',
      target: 'default',
      project: null,
    }),
    ...Object.fromEntries(
      (['cordon', 'uncordon'] as const).map((verb) => [
        `post /v1/pools/{id}/${verb}`,
        (): Change => ({
          path: `/v1/pools/default/${verb}`,
          type: `pool.${verb}ed`,
          target: 'default',
          project: null,
        }),
      ]),
    ),
    ...Object.fromEntries(
      (
        [
          ['drain', 'worker.drained'],
          ['cordon', 'worker.cordoned'],
          ['uncordon', 'worker.uncordoned'],
        ] as const
      ).map(([verb, type]) => [
        `post /v1/workers/{id}/${verb}`,
        async (): Promise<Change> => {
          const id = await workerOf(verb, 'online');
          return { path: `/v1/workers/${id}/${verb}`, type, target: id, project: null };
        },
      ]),
    ),
    'delete /v1/workers/{id}': async () => {
      const id = await workerOf('delete', 'offline');
      return { path: `/v1/workers/${id}`, type: 'worker.deleted', target: id, project: null };
    },
    'post /v1/pools/{id}/grants': () => ({
      path: '/v1/pools/gold/grants',
      body: { project_id: project.id },
      type: 'pool.granted',
      target: 'gold',
      project: project.id,
    }),
    'delete /v1/pools/{id}/grants/{project}': async () => {
      await api.post('/pools/silver/grants', { project_id: project.id });
      return {
        path: `/v1/pools/silver/grants/${project.id}`,
        type: 'pool.revoked',
        target: 'silver',
        project: project.id,
      };
    },
  };

  const count = async (): Promise<number> =>
    (await api.query<{ n: number }>('SELECT count(*)::int AS n FROM audit'))[0]!.n;

  const change = (
    method: string,
    { path, body }: Change,
  ): Promise<{ status: number; text: string }> => {
    const form = formOf(path);
    if (form === null) return ask(api, api.apiKey, method, path, body);
    const headers = { authorization: `Bearer ${api.apiKey}` };
    return fetch(`${api.url}${path}`, { method: 'POST', headers, body: form }).then(
      async (answer) => ({ status: answer.status, text: await answer.text() }),
    );
  };

  it('is listed in this test', () => {
    expect(Object.keys(CHANGES).sort()).toEqual(
      CHANGING.map(([method, path]) => `${method} ${path}`).sort(),
    );
  });

  it('writes exactly one row with key, target, address and request, and without secrets', async () => {
    for (const [method, path] of CHANGING) {
      const wanted = await CHANGES[`${method} ${path}`]!();
      const before = await count();
      const answer = await change(method, wanted);
      expect([method, path, answer.status]).toEqual([method, path, 200]);
      expect([method, path, (await count()) - before]).toEqual([method, path, 1]);
      const made = JSON.parse(answer.text) as { id: string; secret?: string; value?: string };
      const [row] = await api.query<Record<string, string | null>>(
        'SELECT * FROM audit ORDER BY id DESC LIMIT 1',
      );
      expect(row).toMatchObject({
        action: wanted.type,
        target: wanted.target ?? made.id,
        project_id: wanted.project === '*' ? made.id : wanted.project,
        key_id: api.apiKey.split('-')[2],
        address: expect.stringContaining('127.0.0.1') as string,
        request_id: expect.stringMatching(/^req_/) as string,
      });
      for (const secret of [made.secret, made.value])
        if (secret)
          expect(JSON.stringify(row)).not.toContain(secret.split('-')[3] ?? secret.slice(6));
    }
  });

  it('writes no row for a rejected request', async () => {
    const before = await count();
    for (const [method, path] of CHANGING) {
      // Missing target, missing permission, or invalid body.
      for (const key of [api.apiKey, project.viewer.key])
        expect(
          (await ask(api, key, method, at(path), { nonsense: 1 })).status,
        ).toBeGreaterThanOrEqual(400);
    }
    expect(await count()).toBe(before);
  });

  it('writes no row if nothing changes: an idempotent repeat', async () => {
    const body = { model: 'tiny', training_file: file, graft: { pool: 'unserved', priority: 7 } };
    const send = () =>
      request(api.url)
        .post('/v1/fine_tuning/jobs')
        .set({ ...api.headers, 'idempotency-key': 'once' })
        .send(body)
        .expect(200);
    const first = await send();
    const before = await count();
    expect((await send()).body.id).toBe(first.body.id);
    expect(await count()).toBe(before);
  });
});

describe('the audit log', () => {
  let project: TestProject;
  const read = (key: string, query = '') =>
    ask(api, key, 'get', `/v1/organization/audit_logs${query}`).then(
      ({ text }) => JSON.parse(text) as Page<AuditLogObject>,
    );

  beforeAll(async () => {
    project = await makeProject(api, 'readers');
    const form = { file: new File([chats(12)], 'a.jsonl'), purpose: 'fine-tune' as const };
    const { id } = await clientOf(api, project.member.key).files.create(form);
    await clientOf(api, project.owner.key).files.delete(id);
  });

  it('shows an owner all entries of the project, and only those', async () => {
    const { data, has_more } = await read(project.owner.key, '?limit=100');
    expect(has_more).toBe(false);
    expect(new Set(data.map((one) => one.project?.id))).toEqual(new Set([project.id]));
    const types = data.map(({ type }) => type);
    expect(types.slice(0, 2)).toEqual(['file.deleted', 'file.created']);
    expect(types.at(-1)).toBe('project.created');
    expect(types.slice(2, -1).sort()).toEqual(
      ['api_key.created', 'user.added'].flatMap((type) => [type, type, type]),
    );
    const [deleted] = data;
    expect(deleted!.actor).toEqual({
      type: 'api_key',
      api_key: {
        id: project.owner.keyId,
        type: 'user',
        user: { id: project.owner.id, name: "readers's owner" },
      },
    });
  });

  it("filters by project, type, actor, target and time, as OpenAI's client requests", async () => {
    const admin = clientOf(api, api.apiKey).admin.organization.auditLogs;
    const types = async (query: AuditLogListParams) =>
      (await admin.list(query)).data.map(({ type }) => type as string);
    expect(await types({ project_ids: [project.id], limit: 2 })).toEqual([
      'file.deleted',
      'file.created',
    ]);
    expect(await types({ actor_ids: [project.member.id] })).toEqual(['file.created']);
    expect(await types({ actor_ids: [project.owner.keyId] })).toEqual(['file.deleted']);
    expect(await types({ resource_ids: [project.viewer.id] })).toEqual(['user.added']);
    expect(
      await types({ project_ids: [project.id], event_types: ['project.created', 'user.added'] }),
    ).toEqual(['user.added', 'user.added', 'user.added', 'project.created']);
    const now = Math.floor(Date.now() / 1000);
    expect(await types({ effective_at: { gt: now + 1000 } })).toEqual([]);
    expect((await types({ effective_at: { lte: now + 1000, gte: now - 1000 } })).length).toBe(20);
  });

  it('has pages in both directions', async () => {
    const all = await read(api.apiKey, '?limit=100');
    const admin = clientOf(api, api.apiKey).admin.organization.auditLogs;
    const seen: string[] = [];
    for await (const one of admin.list({ limit: 7 })) {
      seen.push(one.id);
      if (seen.length === all.data.length) break;
    }
    expect(seen).toEqual(all.data.map(({ id }) => id));
    const back = await read(api.apiKey, `?limit=3&before=${seen[5]}`);
    expect(back.data.map(({ id }) => id)).toEqual(seen.slice(2, 5));
    for (const bad of [
      '?after=x',
      '?before=audit_log-x',
      '?limit=101',
      '?limit[toString]=1',
      '?effective_at[gt]=soon',
      '?effective_at[gt][toString]=1',
    ])
      expect((await ask(api, api.apiKey, 'get', `/v1/organization/audit_logs${bad}`)).status).toBe(
        400,
      );
  });
});
