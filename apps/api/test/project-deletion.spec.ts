import type { AuditLogObject, Page, ProjectDeletionObject, ProjectObject } from '@graft/contracts';
import { Command_Action } from '@graft/contracts/grpc';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import pg from 'pg';
import type { DataSource } from 'typeorm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Audit } from '../dist/auth/audit.js';
import { Settings } from '../dist/config.js';
import { dataSource } from '../dist/database/data-source.js';
import { Database } from '../dist/database/database.js';
import { DeletedJobs } from '../dist/retention/deleted-jobs.js';
import { DeletedProjects } from '../dist/retention/deleted-projects.js';
import { chats, importBase, startTestApi, until, type TestApi } from './fixture.js';
import { fillTables, rowsOf, unknownReferences } from './project-rows.js';
import { ask, clientOf, makeProject, type TestProject } from './projects.js';
import { ScriptedWorker } from './scripted-worker.js';

// Projects are deleted after a delay, with all their rows. The tests skip only the delay.

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi({ reconcileMs: 200, retentionMs: 100, projectDeleteDays: 3 });
  await importBase(api);
});
afterAll(() => api?.close());

const path = (id: string, rest = ''): string => `/v1/organization/projects/${id}${rest}`;
const works = async (key: string): Promise<boolean> =>
  (await ask(api, key, 'get', '/v1/models')).status === 200;
const preview = (id: string) => api.get<ProjectDeletionObject>(path(id, '/deletion').slice(3));
const project = (id: string) => api.get<ProjectObject>(path(id).slice(3));

async function remove(id: string): Promise<ProjectObject> {
  const { status, text } = await ask(api, api.apiKey, 'delete', path(id));
  expect([status, text]).toEqual([200, text]);
  return JSON.parse(text) as ProjectObject;
}

async function refusal(method: string, at: string, key = api.apiKey): Promise<unknown[]> {
  const { status, code } = await ask(api, key, method, at);
  return [status, code];
}

const isDue = (id: string): Promise<unknown> =>
  api.query(`UPDATE project SET deletes_at = clock_timestamp() WHERE id = $1`, [id]);
const isGone = (id: string) =>
  until(async () => (await api.query('SELECT 1 FROM project WHERE id = $1', [id])).length === 0);
const auditLog = async (id: string): Promise<AuditLogObject[]> => {
  const { data } = await api.get<Page<AuditLogObject>>(
    `/organization/audit_logs?limit=100&project_ids[]=${id}`,
  );
  return data.filter(({ type }) => type.startsWith('project.')).reverse();
};

/** Creates a file and a job of the project in its own pool. */
async function withJob({ owner }: TestProject, bytes: number) {
  const client = clientOf(api, owner.key);
  const file = await client.files.create({
    file: new File([`${chats(12)}\n${' '.repeat(bytes)}`], 'a.jsonl'),
    purpose: 'fine-tune',
  });
  const body = { model: 'tiny', training_file: file.id, graft: { pool: `pool-${bytes}` } };
  const made = await ask(api, owner.key, 'post', '/v1/fine_tuning/jobs', body);
  expect([made.status, made.text]).toEqual([200, made.text]);
  return { file, job: JSON.parse(made.text) as { id: string }, pool: body.graft.pool };
}

describe('deleting a project', () => {
  it('reports what is deleted and when, stops the project immediately, and can be undone', async () => {
    const team = await makeProject(api, 'to be restored');
    const { file, job, pool } = await withJob(team, 1);
    const worker = await new ScriptedWorker(api, { pool }).connect();
    worker.keep(await worker.nextAssignment());
    const before = await preview(team.id);
    expect(before).toMatchObject({
      name: 'to be restored',
      requested_at: null,
      deletes: {
        jobs: { running: 1, queued: 0, succeeded: 0 },
        files: 1,
        members: 3,
        api_keys: 3,
        models: 0,
        stored_bytes: file.bytes,
      },
      keeps: { audit_logs: expect.any(Number) },
      at_least: [],
    });
    expect((await project(team.id)).graft.deletes_at).toBeNull();

    const asked = await remove(team.id);
    expect(asked).toMatchObject({ status: 'archived', graft: { running_jobs: 0 } });
    expect(asked).toEqual(await project(team.id));
    const { requested_at, deletes_at } = await preview(team.id);
    expect(deletes_at).toBe(asked.graft.deletes_at);
    expect((deletes_at - requested_at!) / 86_400).toBeCloseTo(3, 3);
    await until(() =>
      worker.commands.some(
        ({ jobId, action }) => jobId === job.id && action === Command_Action.ACTION_CANCEL,
      ),
    );
    expect((await preview(team.id)).deletes.jobs).toMatchObject({ running: 0, cancelled: 1 });
    expect(await works(team.owner.key)).toBe(false);
    // A repeated request returns the same deletion.
    expect((await remove(team.id)).graft.deletes_at).toBe(deletes_at);

    await api.post(path(team.id, '/restore').slice(3));
    expect(await project(team.id)).toMatchObject({
      status: 'active',
      archived_at: null,
      graft: { deletes_at: null },
    });
    expect(await works(team.owner.key)).toBe(true);
    const client = clientOf(api, team.owner.key);
    expect((await client.fineTuning.jobs.retrieve(job.id)).status).toBe('cancelled');
    expect((await client.files.retrieve(file.id)).bytes).toBe(file.bytes);
    expect((await auditLog(team.id)).map(({ type, actor }) => [type, actor !== null])).toEqual([
      ['project.created', true],
      ['project.deletion_requested', true],
      ['project.restored', true],
    ]);
    worker.vanish();
  });

  it('counts up to a limit, and lists what may exceed it', async () => {
    const { id } = await makeProject(api, 'large');
    await api.query(
      `INSERT INTO file (id, project_id, filename, purpose, bytes, sha256, status)
       SELECT $1 || n, $1, 'a', 'fine-tune', 1, $1 || n, 'processed' FROM generate_series(1, 10001) AS n`,
      [id],
    );
    await fillTables(api, id);
    await api.query(
      `INSERT INTO job SELECT copy.* FROM job, generate_series(1, 10001) AS n,
         jsonb_populate_record(job, jsonb_build_object('id', job.id || n)) AS copy WHERE job.id = $1`,
      [`${id} job.id`],
    );
    await api.query('UPDATE job SET event_counter = 2 WHERE project_id = $1', [id]);
    const { deletes, at_least } = await preview(id);
    expect(deletes).toMatchObject({ files: 10_000, events: 20_000, jobs: { succeeded: 10_000 } });
    expect([...at_least].sort()).toEqual(['checkpoints', 'events', 'files', 'jobs']);
  });

  it('is accepted without counting', async () => {
    const { id } = await makeProject(api, 'not to be counted');
    const other = new pg.Client({ connectionString: api.databaseUrl });
    await other.connect();
    try {
      await other.query('BEGIN; LOCK TABLE webhook_endpoint');
      expect(await remove(id)).toMatchObject({ status: 'archived' });
    } finally {
      await other.end();
    }
  });

  it('cancels the jobs of an archived project while one of its eval runs is locked, and later all runs', async () => {
    const team = await makeProject(api, 'many runs');
    const { job } = await withJob(team, 4);
    await api.query(
      `INSERT INTO eval_run (id, eval_id, project_id, key_id, name, model, data_source, owner, owner_until, status)
       SELECT 'many-' || n, 'none', $1, '', '', '', '{}', 'another', 'infinity', 'in_progress' FROM generate_series(1, 25) AS n`,
      [team.id],
    );
    const lock = new pg.Client({ connectionString: api.databaseUrl });
    await lock.connect();
    const open = async () =>
      (
        await api.query<{ id: string }>(
          `SELECT id FROM eval_run WHERE project_id = $1 AND status <> 'canceled'`,
          [team.id],
        )
      ).map(({ id }) => id);
    try {
      await lock.query('BEGIN');
      await lock.query(`SELECT 1 FROM eval_run WHERE id = 'many-1' FOR UPDATE`);
      await api.post(path(team.id, '/archive').slice(3));
      const jobs = await api.query('SELECT state FROM job WHERE id = $1', [job.id]);
      expect(jobs).toEqual([{ state: 'cancelled' }]);
      await until(async () => String(await open()) === 'many-1');
    } finally {
      await lock.end();
    }
    await until(async () => (await open()).length === 0);
  });

  it('keeps a project archived that was archived before, and restores nothing that is not deleted', async () => {
    const { id } = await makeProject(api, 'archived before');
    await api.post(path(id, '/archive').slice(3));
    const { archived_at } = await project(id);
    await remove(id);
    await api.post(path(id, '/restore').slice(3));
    expect(await project(id)).toMatchObject({ archived_at, graft: { deletes_at: null } });
    await api.post(path(id, '/restore').slice(3));
    expect(await project(id)).toMatchObject({ archived_at, status: 'archived' });
  });

  it('rejects an upload that ends after the project was stopped', async () => {
    const team = await makeProject(api, 'in the middle of an upload');
    const incoming = join(api.home, 'blobs', 'incoming');
    const stop = new AbortController();
    const stopped = once(stop.signal, 'abort');
    const head = (name: string) => `--part\r\nContent-Disposition: form-data; name="${name}"`;
    async function* body() {
      yield Buffer.from(`${head('purpose')}\r\n\r\nfine-tune\r\n`);
      yield Buffer.from(`${head('file')}; filename="a.jsonl"\r\n\r\n${chats(12)}\n`);
      await stopped;
      yield Buffer.from(`${chats(2)}\r\n--part--\r\n`);
    }
    const upload = fetch(`${api.url}/v1/files`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${team.owner.key}`,
        'content-type': 'multipart/form-data; boundary=part',
      },
      body: Readable.toWeb(Readable.from(body())) as unknown as BodyInit,
      duplex: 'half',
    } as RequestInit);
    await until(() => readdirSync(incoming).length > 0);
    await remove(team.id);
    stop.abort();
    const refused = await upload;
    expect([refused.status, await refused.json()]).toEqual([
      409,
      { error: expect.objectContaining({ code: 'conflict', param: 'project_id' }) },
    ]);
    expect((await preview(team.id)).deletes.files).toBe(0);
  });

  it('requires an administrator, and is impossible for the default project or the project of the last admin key', async () => {
    const team = await makeProject(api, 'of others');
    for (const [method, rest] of [
      ['get', '/deletion'],
      ['delete', ''],
      ['post', '/restore'],
    ] as const) {
      expect(await refusal(method, path(team.id, rest), team.owner.key)).toEqual([
        403,
        'insufficient_scope',
      ]);
      expect(await refusal(method, path('proj-none', rest))).toEqual([404, 'not_found']);
    }
    expect(await refusal('delete', path('proj-default'))).toEqual([409, 'conflict']);
    await api.query('UPDATE api_key SET project_id = $1 WHERE scopes @> $2', [
      team.id,
      '["admin"]',
    ]);
    expect(await refusal('delete', path(team.id))).toEqual([409, 'conflict']);
    await api.query('UPDATE api_key SET project_id = $1 WHERE scopes @> $2', [
      'proj-default',
      '["admin"]',
    ]);
    expect((await project(team.id)).status).toBe('active');
  });

  /** Names of users and keys in the audit log. */
  const namesIn = (project: string) =>
    api.query(
      `SELECT detail->>'name' AS name FROM audit WHERE project_id = $1 AND action ~ '^(user|api_key)[.]' AND detail ? 'name'`,
      [project],
    );

  it('deletes the rows of every table that belong to the project, and no others', async () => {
    expect(await unknownReferences(api)).toEqual([]);
    const [doomed, neighbour] = [
      await makeProject(api, 'doomed'),
      await makeProject(api, 'neighbour'),
    ];
    const { file } = await withJob(doomed, 2);
    await withJob(neighbour, 3);
    await remove(doomed.id);
    const filled = await fillTables(api, doomed.id);
    await fillTables(api, neighbour.id);
    expect(Object.keys(await rowsOf(api, doomed.id))).toEqual(expect.arrayContaining(filled));
    expect(Object.keys(await rowsOf(api, doomed.id))).toEqual(
      expect.arrayContaining(['blob_ref', 'project_blob']),
    );
    const before = await rowsOf(api, neighbour.id);
    await isDue(doomed.id);
    await isGone(doomed.id);
    expect(Object.keys(await rowsOf(api, doomed.id))).toEqual(['audit']);
    expect(await namesIn(doomed.id)).toEqual([]);
    expect(await namesIn(neighbour.id)).not.toEqual([]);
    expect(await rowsOf(api, neighbour.id)).toEqual(before);
    expect(await api.query('SELECT 1 FROM file WHERE id = $1', [file.id])).toEqual([]);
    const last = (await auditLog(doomed.id)).at(-1);
    expect(last).toMatchObject({
      type: 'project.deleted',
      actor: null,
      graft: { target: doomed.id, detail: { name: 'doomed' } },
    });
    expect(await refusal('get', path(doomed.id))).toEqual([404, 'not_found']);
  });
});

async function deleter({ home, databaseUrl }: TestApi, source: DataSource) {
  const database = new Database(await source.initialize());
  const jobs = new DeletedJobs(database, new Settings({ home }, databaseUrl));
  return new DeletedProjects(database, jobs, new Audit());
}

describe('a project with many rows', () => {
  it('is deleted in batches, each of which continues where the last one stopped', async () => {
    const other = await startTestApi();
    const source = dataSource(other.databaseUrl);
    try {
      const { id } = await makeProject(other, 'many rows');
      await fillTables(other, id);
      await other.query(
        `INSERT INTO file (id, project_id, filename, purpose, bytes, sha256, status)
         SELECT $1 || n, $1, 'a', 'fine-tune', 1, $1 || n, 'processed' FROM generate_series(1, 1200) AS n`,
        [id],
      );
      await other.query(
        `INSERT INTO audit (project_id, action, target, detail, request_id)
         SELECT $1, 'user.added', 'user', '{"name": "ada"}', $1 || n FROM generate_series(1, 6000) AS n`,
        [id],
      );
      await other.query(
        'UPDATE project SET archived_at = now(), deleted_at = now(), deletes_at = now() WHERE id = $1',
        [id],
      );
      const rows = async (table: string): Promise<number> => (await rowsOf(other, id))[table] ?? 0;
      const projects = await deleter(other, source);
      while ((await rows('file')) > 1000) await projects.batch();
      expect(await rows('eval')).toBe(0);
      await other.query(
        `INSERT INTO eval (id, project_id, name, data_source_config, testing_criteria) VALUES ('late', $1, '', '{}', '[]')`,
        [id],
      );
      await projects.batch();
      expect(await rows('eval')).toBe(1);
      while ((await projects.batch()).more);
      expect(Object.keys(await rowsOf(other, id))).toEqual(['audit']);
      const named = `SELECT 1 FROM audit WHERE project_id = $1 AND action ~ '^user' AND detail ? 'name'`;
      expect(await other.query(named, [id])).toEqual([]);
    } finally {
      if (source.isInitialized) await source.destroy();
      await other.close();
    }
  });
});

describe('two processes that delete the same projects', () => {
  it('delete everything, with one audit entry per project', async () => {
    const other = await startTestApi();
    const sources = [dataSource(other.databaseUrl), dataSource(other.databaseUrl)];
    try {
      const ids: string[] = [];
      for (let n = 0; n < 3; n++) {
        const { id } = await makeProject(other, `shared ${n}`);
        await fillTables(other, id);
        await other.query(
          `INSERT INTO event (job_id, number, level, type, message)
           SELECT $1, number, 'info', 'message', 'one of many' FROM generate_series(2, 6000) AS number`,
          [`${id} job.id`],
        );
        await other.query(
          `INSERT INTO eval_item (run_id, number, item) SELECT $1, number, '{}' FROM generate_series(2, 2000) AS number`,
          [`${id} eval_run.id`],
        );
        await other.query(
          'UPDATE project SET archived_at = now(), deleted_at = now(), deletes_at = now() WHERE id = $1',
          [id],
        );
        ids.push(id);
        // A project that is due cannot be restored because its deletion may have started.
        const restored = await ask(other, other.apiKey, 'post', path(id, '/restore'));
        expect([restored.status, restored.code]).toEqual([409, 'conflict']);
      }
      const deleted = await Promise.all(
        sources.map(async (source) => {
          const projects = await deleter(other, source);
          let count = 0;
          for (let more = true; more;) {
            const done = await projects.batch();
            count += done.deleted;
            more = done.more;
          }
          return count;
        }),
      );
      expect(deleted[0]! + deleted[1]!).toBe(3);
      for (const id of ids) {
        expect(Object.keys(await rowsOf(other, id))).toEqual(['audit']);
        const entries = `SELECT 1 FROM audit WHERE target = $1 AND action = 'project.deleted'`;
        expect(await other.query(entries, [id])).toHaveLength(1);
      }
    } finally {
      for (const source of sources) if (source.isInitialized) await source.destroy();
      await other.close();
    }
  });
});
