import type { ApiKeyObject, JobObject, OwnKeyObject, ProjectObject } from '@graft/contracts';
import { Command_Action } from '@graft/contracts/grpc';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApiKeysService } from '../dist/auth/keys/api-keys.service.js';
import { Audit } from '../dist/auth/audit.js';
import { dataSource } from '../dist/database/data-source.js';
import { Database } from '../dist/database/database.js';
import { caught, importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { addMember, ask, clientOf, makeProject, type TestProject } from './projects.js';
import { ScriptedWorker, step, started } from './scripted-worker.js';

// Projects, members and keys, through OpenAI's client and Graft's extensions.

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
  await importBase(api);
});
afterAll(() => api?.close());

const ownKey = async (key: string): Promise<OwnKeyObject> =>
  JSON.parse((await ask(api, key, 'get', '/v1/keys/me')).text) as OwnKeyObject;
const works = async (key: string): Promise<boolean> =>
  (await ask(api, key, 'get', '/v1/models')).status === 200;

describe("OpenAI's administration client", () => {
  it('creates, lists, renames and archives projects', async () => {
    const { projects } = clientOf(api, api.apiKey).admin.organization;
    const made = await projects.create({ name: 'by the SDK' });
    expect(made).toMatchObject({
      object: 'organization.project',
      id: expect.stringMatching(/^proj-/),
      name: 'by the SDK',
      status: 'active',
      archived_at: null,
    });
    expect(await projects.update(made.id, { name: 'renamed' })).toMatchObject({ name: 'renamed' });
    const all: string[] = [];
    for await (const one of projects.list({ limit: 1 })) all.push(one.id);
    expect(all).toEqual(expect.arrayContaining(['proj-default', made.id]));
    const gone = await projects.archive(made.id);
    expect(gone).toMatchObject({
      status: 'archived',
      archived_at: expect.any(Number),
      graft: { pools: [] },
    });
    const listed = async (query: object) => (await projects.list(query)).data.map(({ id }) => id);
    expect(await listed({})).not.toContain(made.id);
    expect(await listed({ include_archived: true })).toContain(made.id);
    const refused = await caught(projects.update(made.id, { name: 'again' }));
    expect([refused.status, refused.code]).toEqual([409, 'conflict']);
    expect((await caught(projects.archive('proj-default'))).status).toBe(409);
    expect((await caught(projects.retrieve('proj-none'))).status).toBe(404);
  });

  it('adds members, changes their role and removes them, and sees and deletes their keys', async () => {
    const project = await makeProject(api, 'sdk members');
    const { users, apiKeys } = clientOf(api, project.owner.key).admin.organization.projects;
    const within = { project_id: project.id };
    const added = await users.create(project.id, { email: 'eve@example.org', role: 'viewer' });
    expect(added).toMatchObject({
      object: 'organization.project.user',
      name: 'eve@example.org',
      email: 'eve@example.org',
      role: 'viewer',
    });
    expect((await users.list(project.id)).data).toHaveLength(4);
    expect(await users.update(added.id, { ...within, role: 'member' })).toMatchObject({
      role: 'member',
    });
    expect(await users.delete(added.id, within)).toMatchObject({ deleted: true });
    expect((await caught(users.retrieve(added.id, within))).status).toBe(404);
    const keys = (await apiKeys.list(project.id)).data;
    expect(keys).toHaveLength(3);
    const one = keys.find(({ id }) => id === project.viewer.keyId);
    expect(one).toMatchObject({
      object: 'organization.project.api_key',
      redacted_value: `sk-graft-${project.viewer.keyId}-…`,
      owner: { type: 'user', user: { id: project.viewer.id, role: 'viewer', email: '' } },
    });
    expect(await apiKeys.retrieve(one!.id, within)).toEqual(one);
    await apiKeys.delete(one!.id, within);
    expect(await works(project.viewer.key)).toBe(false);
  });

  it('creates, lists and deletes admin keys, which can expire', async () => {
    const { adminAPIKeys } = clientOf(api, api.apiKey).admin.organization;
    const made = await adminAPIKeys.create({ name: 'on call', expires_in_seconds: 3600 });
    expect(made).toMatchObject({ object: 'organization.admin_api_key', name: 'on call' });
    expect(made.expires_at! - Math.floor(Date.now() / 1000)).toBeOneOf([3598, 3599, 3600, 3601]);
    expect((await ownKey(made.value)).scopes).toEqual(['admin']);
    expect((await adminAPIKeys.list()).data.map(({ id }) => id)).toContain(made.id);
    expect((await adminAPIKeys.retrieve(made.id)).name).toBe('on call');
    await adminAPIKeys.delete(made.id);
    expect(await works(made.value)).toBe(false);
  });
});

describe('a role', () => {
  let project: TestProject;
  beforeAll(async () => (project = await makeProject(api, 'roles')));
  const at = (rest: string): string => `/v1/organization/projects/${project.id}${rest}`;

  it('applies immediately to keys that were created before it changed', async () => {
    const cy = await addMember(api, project.id, 'cy', 'owner');
    expect((await ownKey(cy.key)).scopes).toContain('project:admin');
    await api.post(at(`/users/${cy.id}`).slice(3), { role: 'viewer' });
    expect(await ownKey(cy.key)).toMatchObject({
      scopes: ['jobs:read', 'files:read', 'models:read'],
      member: { name: 'cy', role: 'viewer' },
      project: { id: project.id, name: 'roles' },
    });
    expect((await ask(api, cy.key, 'get', at('/users'))).code).toBe('insufficient_scope');
    await api.post(at(`/users/${cy.id}`).slice(3), { role: 'owner' });
    expect((await ask(api, cy.key, 'get', at('/users'))).status).toBe(200);
  });

  it('limits the scopes of keys', async () => {
    const create = (body: object, key = project.owner.key) =>
      ask(api, key, 'post', at('/api_keys'), { name: 'x', ...body });
    const viewer = { member_id: project.viewer.id };
    expect(await create({ ...viewer, scopes: ['jobs:write'] })).toMatchObject({
      status: 400,
      text: expect.stringContaining(
        'a key of a viewer can have jobs:read, files:read, models:read, not jobs:write',
      ),
    });
    for (const scope of ['admin', 'metrics:read']) {
      expect((await create({ scopes: [scope] })).status).toBe(400);
      // Neither for a key of a member nor for a service key.
      const service = await api.post<{ value: string }>(at('/api_keys').slice(3), {
        name: 'service',
        scopes: ['project:admin'],
      });
      expect(await create({ scopes: [scope] }, service.value)).toMatchObject({
        status: 403,
        code: 'insufficient_scope',
      });
    }
    expect(JSON.parse((await create({ ...viewer })).text)).toMatchObject({
      graft: { scopes: ['jobs:read', 'files:read', 'models:read'] },
    });
    expect((await create({ member_id: 'member-none' })).status).toBe(404);
  });

  it('ties keys that an owner creates to the owner, so they end with the membership', async () => {
    const dee = await addMember(api, project.id, 'dee', 'owner');
    const made = JSON.parse(
      (await ask(api, dee.key, 'post', '/v1/keys', { name: 'mine' })).text,
    ) as ApiKeyObject;
    expect(made.member).toEqual({ id: dee.id, name: 'dee', role: 'owner' });
    expect(await works(made.secret!)).toBe(true);
    await clientOf(api, api.apiKey).admin.organization.projects.users.delete(dee.id, {
      project_id: project.id,
    });
    expect([await works(dee.key), await works(made.secret!)]).toEqual([false, false]);
    expect(
      (await ask(api, project.owner.key, 'post', at('/api_keys'), { name: 'x', member_id: dee.id }))
        .status,
    ).toBe(404);
  });

  it('reserves weight and limits for administrators; owners can change the name', async () => {
    const modify = (key: string, body: object) => ask(api, key, 'post', at(''), body);
    expect(await modify(project.owner.key, { graft: { weight: 9 } })).toMatchObject({
      status: 403,
      code: 'insufficient_scope',
    });
    expect((await modify(project.owner.key, { name: 'roles 2' })).status).toBe(200);
    const limits = { running_jobs: 2, tokens_per_day: 5_000_000_000 };
    expect((await modify(api.apiKey, { graft: { weight: 9, limits } })).status).toBe(200);
    const after = JSON.parse(
      (await modify(api.apiKey, { graft: { limits: { running_jobs: null } } })).text,
    ) as ProjectObject;
    expect(after).toMatchObject({ name: 'roles 2', graft: { weight: 9 } });
    expect(after.graft.limits).toEqual({ tokens_per_day: 5_000_000_000 });
    for (const wrong of [{ running_jobs: -1 }, { running_jobs: 3e9 }, { jobs: 1 }, { chats: 1.5 }])
      expect((await modify(api.apiKey, { graft: { limits: wrong } })).status).toBe(400);
  });
});

describe("an administrator's key", () => {
  it('is neither shown to nor revoked by owners of the project that it acts in', async () => {
    const owner = await addMember(api, 'proj-default', 'default owner', 'owner');
    const id = api.apiKey.split('-')[2]!;
    const listed = await ask(api, owner.key, 'get', '/v1/keys');
    expect([listed.status, listed.text.includes(id)]).toEqual([200, false]);
    for (const path of [`/v1/keys/${id}`, `/v1/organization/projects/proj-default/api_keys/${id}`])
      expect(await ask(api, owner.key, 'delete', path)).toMatchObject({ status: 404 });
    expect(await works(api.apiKey)).toBe(true);
  });

  it('cannot be deleted if it is the last one, or the last one without an expiry', async () => {
    const own = api.apiKey.split('-')[2]!;
    const soon = Math.floor(Date.now() / 1000) + 3600;
    const brief = await api.post<ApiKeyObject>('/keys', {
      name: 'brief',
      scopes: ['admin'],
      expires_at: soon,
    });
    const { status, text } = await ask(api, brief.secret!, 'delete', `/v1/keys/${own}`);
    expect([status, text]).toEqual([
      409,
      expect.stringContaining('the last key with the admin scope that does not expire'),
    ]);
    // A key that acts in another project also counts; then that project cannot be archived.
    const elsewhere = await makeProject(api, 'elsewhere');
    const other = await api.post<{ id: string; value: string }>(
      `/organization/projects/${elsewhere.id}/api_keys`,
      { name: 'other', scopes: ['admin'] },
    );
    await api.query('UPDATE api_key SET revoked_at = now() WHERE id = $1', [own]);
    try {
      const archived = await ask(
        api,
        other.value,
        'post',
        `/v1/organization/projects/${elsewhere.id}/archive`,
      );
      expect([archived.status, archived.text]).toEqual([
        409,
        expect.stringContaining('the last key with the admin scope'),
      ]);
      expect(
        await ask(api, other.value, 'delete', `/v1/organization/admin_api_keys/${other.id}`),
      ).toMatchObject({ status: 409 });
    } finally {
      await api.query('UPDATE api_key SET revoked_at = NULL WHERE id = $1', [own]);
    }
    expect(
      (await ask(api, api.apiKey, 'delete', `/v1/organization/admin_api_keys/${other.id}`)).status,
    ).toBe(200);
    expect((await ask(api, api.apiKey, 'delete', `/v1/keys/${brief.id}`)).status).toBe(200);
  });
});

describe('archiving a project', () => {
  /**
   * Advisory lock of the reconciler (dispatch/reconciler). While a test holds it, the reconciler cannot
   * finish.
   */
  const RECONCILERS = 7_240_251;

  it('revokes its keys, cancels open jobs and eval runs, notifies the worker, and deletes nothing', async () => {
    const project = await makeProject(api, 'to archive');
    const mine = clientOf(api, project.member.key);
    const file = await uploadChats({ ...api, client: mine } as TestApi);
    const create = (pool: string): Promise<JobObject> =>
      mine.fineTuning.jobs.create({
        model: 'tiny',
        training_file: file,
        metadata: { pool },
        graft: { pool },
      } as never) as never;
    const running = await create('archive-test');
    const waiting = await create('unserved');
    const ended = await create('unserved');
    await mine.fineTuning.jobs.cancel(ended.id);
    const worker = await new ScriptedWorker(api, { pool: 'archive-test' }).connect();
    try {
      const assignment = await worker.nextAssignment();
      await worker.report(assignment, started(), step(1));
      await api.query(
        `INSERT INTO eval_run (id, eval_id, project_id, key_id, name, model, data_source, status, owner, owner_until, job_id, step)
         VALUES ('evalrun_archived', '', $1, '', '', '', '{}', 'in_progress', 'x', now() + interval '1 hour', NULL, NULL),
           ('evalrun_archived_ended', '', $1, '', '', '', '{}', 'queued', NULL, NULL, $2, 10),
           ('evalrun_archived_open', '', $1, '', '', '', '{}', 'queued', NULL, NULL, $3, 10)`,
        [project.id, ended.id, running.id],
      );
      await api.post(`/organization/projects/${project.id}/archive`);
      const runs = await api.query(
        'SELECT id FROM eval_run WHERE project_id = $1 AND status = $2',
        [project.id, 'canceled'],
      );
      expect(runs).toHaveLength(3);
      const states = () =>
        api.query<{ state: string }>('SELECT state FROM job WHERE id = ANY($1)', [
          [running.id, waiting.id],
        ]);
      expect(await states()).toEqual([{ state: 'cancelled' }, { state: 'cancelled' }]);
      await until(() => worker.commands.length > 0);
      expect(worker.commands[0]).toMatchObject({
        jobId: running.id,
        action: Command_Action.ACTION_CANCEL,
      });
    } finally {
      worker.vanish();
    }
    expect(await works(project.owner.key)).toBe(false);
    expect(await api.query('SELECT 1 FROM file WHERE id = $1', [file])).toHaveLength(1);
    for (const [path, body] of [
      ['users', { name: 'x', role: 'viewer' }],
      ['api_keys', { name: 'x' }],
      [`users/${project.viewer.id}`, { role: 'owner' }],
    ] as const)
      expect(
        await ask(api, api.apiKey, 'post', `/v1/organization/projects/${project.id}/${path}`, body),
      ).toMatchObject({ status: 409, code: 'conflict' });
    expect(
      await ask(api, api.apiKey, 'post', '/v1/pools/gold/grants', { project_id: project.id }),
    ).toMatchObject({ status: 409 });
  });

  it('responds after cancelling the first hundred jobs, running ones first, and cancels the rest later', async () => {
    const project = await makeProject(api, 'many jobs');
    const mine = clientOf(api, project.member.key);
    const file = await uploadChats({ ...api, client: mine } as TestApi);
    const body = { model: 'tiny', training_file: file, graft: { pool: 'many' } };
    const { id } = await mine.fineTuning.jobs.create(body as never);
    const names = await api.query<{ name: string }>(
      `SELECT quote_ident(column_name) AS name FROM information_schema.columns
       WHERE table_schema = 'public' AND table_name = 'job' AND column_name <> 'id'`,
    );
    const columns = names.map(({ name }) => name).join();
    await api.query(
      `INSERT INTO job (id, ${columns}) SELECT 'ftjob-copy-' || lpad(n::text, 4, '0'), ${columns}
       FROM job, generate_series(1, 450) AS n WHERE id = $1`,
      [id],
    );
    await api.query(
      `UPDATE job SET state = 'running', attempt = 1, lease_until = now() + interval '1 hour' WHERE id = 'ftjob-copy-0450'`,
    );
    const open = async () =>
      (
        await api.query<{ state: string; jobs: number }>(
          `SELECT state, count(*)::int AS jobs FROM job WHERE project_id = $1 AND state <> 'cancelled' GROUP BY state`,
          [project.id],
        )
      ).map(({ state, jobs }) => [state, jobs]);
    const reconciling = new pg.Client({ connectionString: api.databaseUrl });
    await reconciling.connect();
    try {
      await reconciling.query(`SELECT pg_advisory_lock(${RECONCILERS})`);
      const archived = await api.post(`/organization/projects/${project.id}/archive`);
      expect(archived).toMatchObject({ graft: { running_jobs: 0, queued_jobs: 351 } });
    } finally {
      await reconciling.end();
    }
    await until(async () => (await open()).length === 0, 60_000);
  });

  it('leaves no job that was being created meanwhile', async () => {
    const project = await makeProject(api, 'archived under a create call');
    const mine = clientOf(api, project.member.key);
    const file = await uploadChats({ ...api, client: mine } as TestApi);
    const client = new pg.Client({ connectionString: api.databaseUrl });
    await client.connect();
    try {
      // The first statements of archiving, stopped before the update.
      await client.query('BEGIN');
      await client.query('SELECT 1 FROM project WHERE id = $1 FOR UPDATE', [project.id]);
      let settled = false;
      const body = { model: 'tiny', training_file: file, graft: { pool: 'unserved' } };
      const created = ask(api, project.member.key, 'post', '/v1/fine_tuning/jobs', body);
      void created.then(() => (settled = true));
      const waiting = `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`;
      await until(async () => settled || (await api.query(waiting)).length > 0);
      await client.query('UPDATE project SET archived_at = now() WHERE id = $1', [project.id]);
      await client.query('COMMIT');
      expect(await created).toMatchObject({ status: 409, code: 'conflict' });
      expect(await api.query('SELECT 1 FROM job WHERE project_id = $1', [project.id])).toEqual([]);
    } finally {
      await client.end();
    }
  });

  it('finishes after a restart if it was interrupted; until then its jobs are not assigned', async () => {
    const project = await makeProject(api, 'half archived');
    const other = await makeProject(api, 'not archived');
    const create = async ({ member }: TestProject): Promise<string> => {
      const mine = clientOf(api, member.key);
      const file = await uploadChats({ ...api, client: mine } as TestApi);
      const body = { model: 'tiny', training_file: file, graft: { pool: 'half' } };
      return (await mine.fineTuning.jobs.create(body as never)).id;
    };
    const left = await create(project);
    await api.query('UPDATE project SET archived_at = now() WHERE id = $1', [project.id]);
    const later = await create(other);
    const worker = await new ScriptedWorker(api, { pool: 'half' }).connect();
    try {
      expect((await worker.nextAssignment()).jobId).toBe(later);
    } finally {
      worker.vanish();
    }
    await api.restart();
    await until(async () => {
      const [job] = await api.query<{ state: string }>('SELECT state FROM job WHERE id = $1', [
        left,
      ]);
      return job?.state === 'cancelled';
    }, 60_000);
  });
});

it('reports whether a key is still valid, for streams that outlive a request', async () => {
  const source = await dataSource(api.databaseUrl).initialize();
  try {
    const keys = new ApiKeysService(new Database(source), new Audit());
    const project = await makeProject(api, 'streams');
    const good = () =>
      Promise.all(
        [project.owner, project.member, project.viewer].map(async ({ keyId }) =>
          (await keys.stillGood([keyId])).has(keyId),
        ),
      );
    expect(await good()).toEqual([true, true, true]);
    const at = `/v1/organization/projects/${project.id}`;
    await ask(api, api.apiKey, 'delete', `${at}/api_keys/${project.owner.keyId}`);
    await ask(api, api.apiKey, 'delete', `${at}/users/${project.member.id}`);
    expect(await good()).toEqual([false, false, true]);
    await api.query(`UPDATE api_key SET expires_at = now() WHERE id = $1`, [project.viewer.keyId]);
    expect(await good()).toEqual([false, false, false]);
    await api.query(`UPDATE api_key SET expires_at = NULL WHERE id = $1`, [project.viewer.keyId]);
    expect(await good()).toEqual([false, false, true]);
    // A key is invalid once its member is removed, however the key was created.
    const removed = (at: string) =>
      api.query(`UPDATE member SET removed_at = ${at} WHERE id = $1`, [project.viewer.id]);
    await removed('now()');
    expect([await good(), await works(project.viewer.key)]).toEqual([[false, false, false], false]);
    await removed('NULL');
    expect([await good(), await works(project.viewer.key)]).toEqual([[false, false, true], true]);
    await ask(api, api.apiKey, 'post', `${at}/archive`);
    expect(await good()).toEqual([false, false, false]);
    expect((await keys.stillGood(['none'])).size).toBe(0);
  } finally {
    await source.destroy();
  }
});
