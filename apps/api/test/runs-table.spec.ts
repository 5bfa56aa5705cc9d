import {
  NAMED_METHODS,
  type DeletedJobObject,
  type JobObject,
  type MetricsObject,
  type Page,
} from '@graft/contracts';
import pg from 'pg';
import request from 'supertest';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EVAL } from './changes/eval-changes.js';
import { importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { ask, makeProject, type TestProject } from './projects.js';
import { evaluated, saved, ScriptedWorker, started, step } from './scripted-worker.js';
import { StreamClient } from './stream-client.js';

// The table of runs: names, tags and notes of jobs, filters and order of lists, and deletion with restore.

let api: TestApi;
let project: TestProject;
let file: string;
beforeAll(async () => {
  api = await startTestApi({ retentionMs: 100, leaseMs: 3000 });
  await importBase(api);
  project = await makeProject(api, 'readers');
  file = await uploadChats(api);
});
afterAll(() => api?.close());

const JOBS = '/fine_tuning/jobs';
const create = (graft: object = {}, more: object = {}): Promise<JobObject> =>
  api.post<JobObject>(JOBS, {
    model: 'tiny',
    training_file: file,
    graft: { pool: 'unserved', ...graft },
    ...more,
  });
const get = (id: string): Promise<JobObject> => api.get<JobObject>(`${JOBS}/${id}`);
const change = (id: string, body: object): Promise<JobObject> =>
  api.post<JobObject>(`${JOBS}/${id}`, body);
const remove = (id: string) => ask(api, api.apiKey, 'delete', `/v1${JOBS}/${id}`);
const list = async (query: string): Promise<string[]> =>
  (await api.get<Page<JobObject>>(`${JOBS}?${query}`)).data.map(({ id }) => id);
/** Ids of all pages, two jobs per page. */
async function pages(query: string): Promise<string[]> {
  const ids: string[] = [];
  for (let more = true; more;) {
    const after = ids.length === 0 ? '' : `&after=${ids.at(-1)}`;
    const page = await api.get<Page<JobObject>>(`${JOBS}?limit=2&${query}${after}`);
    ids.push(...page.data.map(({ id }) => id));
    more = page.has_more;
  }
  return ids;
}

/** Trains a job, with a checkpoint and a model; returns it. */
async function trained(suffix: string): Promise<JobObject> {
  const pool = `pool-${suffix}`;
  const worker = await new ScriptedWorker(api, { pool }).connect();
  const { id } = await create({ pool }, { suffix });
  const lease = await worker.nextAssignment();
  const config = await worker.put(lease, 'adapter_config.json', '{"peft_type":"LORA"}');
  const state = await worker.put(lease, 'state.safetensors', `state of ${id}`);
  await worker.report(lease, started(0, 2), step(1), evaluated(1, 2.5, true, 0));
  await worker.report(lease, saved(1, [config, state], [config]), step(2));
  await worker.finish(lease, 2);
  worker.vanish();
  await until(async () => (await get(id)).status === 'succeeded');
  return get(id);
}

describe('the priority of a job', () => {
  it('moves it within its queue, with an event', async () => {
    const pool = 'moving';
    const [first, second] = [await create({ pool }), await create({ pool })];
    const moved = await change(second.id, { graft: { priority: 10 } });
    expect(moved.graft.priority).toBe(10);
    await until(async () => (await get(second.id)).graft.queue_position === 1);
    const events = await api.get<Page<{ message: string }>>(`${JOBS}/${second.id}/events`);
    expect(events.data[0]?.message).toBe('Priority changed from 100 to 10');
    const worker = await new ScriptedWorker(api, { pool }).connect();
    expect((await worker.nextAssignment()).jobId).toBe(second.id);
    expect((await worker.nextAssignment()).jobId).toBe(first.id);
    worker.vanish();
    for (const { id } of [first, second]) await api.post(`${JOBS}/${id}/cancel`);
    await expect(change(first.id, { graft: { priority: 5 } })).rejects.toThrow(
      `400 job ${first.id} is cancelled; only the priority of an unfinished job can be changed`,
    );
    expect((await get(first.id)).graft.priority).toBe(100);
  });

  it("has the limits of a new job's priority", async () => {
    const { id } = await create();
    for (const priority of [0, 1001, 1.5])
      await expect(change(id, { graft: { priority } })).rejects.toThrow('graft.priority');
    const { project: own } = await api.get<{ project: { id: string } }>('/keys/me');
    const limits = (priority: number | null) =>
      api.post(`/organization/projects/${own.id}`, { graft: { limits: { priority } } });
    await limits(50);
    await expect(change(id, { graft: { priority: 49 } })).rejects.toThrow(
      '400 graft.priority: expected at least 50 in this project, got 49',
    );
    expect((await change(id, { graft: { priority: 50 } })).graft.priority).toBe(50);
    await limits(null);
  });
});

describe('the labels of a job', () => {
  it('are its name, tags, note and whether it is archived; missing fields remain unchanged', async () => {
    const { id, graft } = await create({}, { suffix: 'first', metadata: { a: '1' } });
    expect(graft).toMatchObject({ name: 'first', tags: [], note: null, archived: false });
    const labels = { name: ' pirate, r 8 ', tags: ['b', ' a ', 'b'], note: 'line\nline' };
    const shown = { name: 'pirate, r 8', tags: ['b', 'a'], note: 'line\nline', archived: false };
    expect((await change(id, { graft: labels })).graft).toMatchObject(shown);
    const archived = await change(id, { metadata: { c: '2' }, graft: { archived: true } });
    expect(archived).toMatchObject({ metadata: { c: '2' }, graft: { ...shown, archived: true } });
    expect(archived.user_provided_suffix).toBe('first');
    const bare = { name: null, note: '', tags: [], archived: false };
    const cleared = await change(id, { metadata: null, graft: bare });
    expect(cleared.metadata).toBeNull();
    expect(cleared.graft).toMatchObject({ ...bare, name: 'first', note: null });
  });

  it("are sent to the project's streams", async () => {
    const { id } = await create();
    const stream = new StreamClient(api, '/stream');
    await until(() => stream.seen.some(({ kind }) => kind === 'ready'));
    await change(id, { graft: { tags: ['seen'] } });
    await api.post(`${JOBS}/${id}/cancel`);
    await remove(id);
    const last = () => stream.seen.findLast(({ data }) => data['id'] === id)?.data['graft'];
    await until(() => (last() as JobObject['graft'] | undefined)?.restorable_until != null);
    expect(last()).toMatchObject({ tags: ['seen'] });
    stream.leave();
  });

  it('are rejected with the param if they are too long, and for keys that may only read', async () => {
    const { id } = await create();
    const refused = async (body: object) => {
      const { status, text } = await ask(api, api.apiKey, 'post', `/v1${JOBS}/${id}`, body);
      return [status, (JSON.parse(text) as { error: { param: string } }).error.param];
    };
    for (const [graft, param] of [
      [{ tags: Array.from({ length: 21 }, (_, n) => `t${n}`) }, 'graft.tags'],
      [{ tags: ['a,b'] }, 'graft.tags.0'],
      [{ tags: [''] }, 'graft.tags.0'],
      [{ tags: ['x'.repeat(65)] }, 'graft.tags.0'],
      [{ name: '  ' }, 'graft.name'],
      [{ name: 'x'.repeat(129) }, 'graft.name'],
      [{ note: 'x'.repeat(10_001) }, 'graft.note'],
      [{ archived: 'yes' }, 'graft.archived'],
      [{ label: 'x' }, 'graft.label'],
    ] as const)
      expect(await refused({ graft })).toEqual([400, param]);
    expect(await refused({ suffix: 'x' })).toEqual([400, 'suffix']);
    for (const [method, path] of [
      ['post', `/v1${JOBS}/${id}`],
      ['delete', `/v1${JOBS}/${id}`],
      ['post', `/v1${JOBS}/${id}/restore`],
    ] as const) {
      expect((await ask(api, project.viewer.key, method, path)).code).toBe('insufficient_scope');
      expect((await ask(api, project.member.key, method, path)).status).toBe(404);
    }
  });
});

describe('a list of jobs', () => {
  let ids: string[];
  beforeAll(async () => {
    ids = [];
    for (const suffix of ['delta', 'Alpha', 'charlie', 'bravo', 'echo'])
      ids.push((await create({ priority: 900 }, { suffix, metadata: { of: 'list' } })).id);
    const [delta, alpha, charlie, bravo, echo] = ids;
    await change(delta!, { graft: { tags: ['red', 'big'] } });
    await change(alpha!, { graft: { tags: ['red'], note: 'the one with 50% more' } });
    await change(echo!, { graft: { archived: true, tags: ['red'] } });
    await change(bravo!, { graft: { name: 'zulu' } });
    // as their workers would have left them
    for (const [id, loss, best] of [
      [delta, 0.5, 3],
      [alpha, 'NaN', null],
      [charlie, 0.25, 1],
      [bravo, null, 2],
    ] as const)
      await api.query('UPDATE job SET train_loss = $2, best = $3 WHERE id = $1', [
        id,
        loss,
        best && JSON.stringify({ step: 1, valid_loss: best }),
      ]);
  });
  const named = (found: readonly string[]) =>
    found.map((id) => ['delta', 'alpha', 'charlie', 'zulu', 'echo'][ids.indexOf(id)]);
  const own = 'metadata[of]=list';

  it('filters by tags, words of notes and names, method and model, and omits archived jobs', async () => {
    expect(named(await list(own))).toEqual(['zulu', 'charlie', 'alpha', 'delta']);
    expect(named(await list(`${own}&archived=any`))).toEqual(['echo', 'zulu', 'charlie', 'alpha', 'delta']); // prettier-ignore
    expect(named(await list(`${own}&archived=true`))).toEqual(['echo']);
    expect(named(await list(`${own}&tag=red`))).toEqual(['alpha', 'delta']);
    expect(named(await list(`${own}&tag=red&tag=big`))).toEqual(['delta']);
    expect(named(await list(`${own}&tag=re`))).toEqual([]);
    expect(named(await list(`${own}&search=50%25`))).toEqual(['alpha']);
    expect(named(await list(`${own}&search=zulu`))).toEqual(['zulu']);
    expect(named(await list(`${own}&search=big`))).toEqual(['delta']);
    // parts of a method or a file's name, and words that match nothing
    for (const words of ['lOr', 'chats.js', 'lora+queued', 'tin+LORA+chats'])
      expect(await list(`${own}&search=${words}`), words).toHaveLength(4);
    for (const words of ['ia3', 'loraa', 'lora+nowhere', 'chats.json_'])
      expect(await list(`${own}&search=${words}`), words).toEqual([]);
    expect(await list(`${own}&method=lora`)).toHaveLength(4);
    expect(await list(`${own}&method=ia3`)).toEqual([]);
    expect(await list(`${own}&model=tiny`)).toHaveLength(4);
    expect(await list(`${own}&model=tin`)).toEqual([]);
    expect(await list(`${own}&status=queued`)).toHaveLength(4);
    await expect(list(`${own}&status=bogus`)).rejects.toThrow(
      '400 status: expected one of queued, running, succeeded, failed, cancelled, paused, got bogus',
    );
    expect(await list(`${own}&status=&tag=&method=&model=&archived=&order_by=`)).toHaveLength(4);
  });

  it('finds a LoRA by the name of its variant', async () => {
    const made = async (peft: object, graft: object = {}) => {
      const body = { peft: { peft_type: 'LORA', ...peft }, metadata: { of: 'variants' } };
      return (await create({ priority: 900, ...graft }, body)).id;
    };
    const plain = await made({});
    const dora = await made({ use_dora: true });
    const fast = await made({ init_lora_weights: 'pissa_niter_4' });
    const packed = await made({ use_dora: true }, { quantization: 'nf4' });
    const found = (query: string) => list(`metadata[of]=variants&${query}`);
    expect(await found('method=lora')).toEqual([packed, fast, dora, plain]);
    for (const query of ['method=DoRA', 'method=dora', 'search=dora'])
      expect(await found(query), query).toEqual([packed, dora]);
    expect(await found('method=pissa')).toEqual([fast]);
    expect(await found('search=qlora')).toEqual([packed]);
    for (const { name } of NAMED_METHODS)
      expect(await found(`method=${name}&status=failed`), name).toEqual([]);
  });

  it('is sorted by any column, across pages, with missing values last', async () => {
    const by = async (query: string) => named(await pages(`${own}&order_by=${query}`));
    expect(await by('name&order=asc')).toEqual(['alpha', 'charlie', 'delta', 'zulu']);
    expect(await by('name')).toEqual(['zulu', 'delta', 'charlie', 'alpha']);
    expect(await by('created_at&order=asc')).toEqual(['delta', 'alpha', 'charlie', 'zulu']);
    expect(await by('best_valid_loss&order=asc')).toEqual(['charlie', 'zulu', 'delta', 'alpha']);
    expect(await by('best_valid_loss')).toEqual(['delta', 'zulu', 'charlie', 'alpha']);
    // Null and NaN count as missing and are ordered by id.
    for (const order of ['asc', 'desc']) {
      const found = await by(`train_loss&order=${order}`);
      expect(found.slice(0, 2)).toEqual(order === 'asc' ? ['charlie', 'delta'] : ['delta', 'charlie']); // prettier-ignore
      expect(found.slice(2).sort()).toEqual(['alpha', 'zulu']);
    }
    for (const order of ['finished_at', 'status', 'model', 'method', 'pool', 'valid_loss', 'eval_score', 'trained_tokens']) // prettier-ignore
      for (const way of ['asc', 'desc'])
        expect((await by(`${order}&order=${way}`)).sort()).toEqual(['alpha', 'charlie', 'delta', 'zulu']); // prettier-ignore
  });

  it('rejects unknown values with the param', async () => {
    for (const [query, param] of [
      ['order_by=colour', 'order_by'],
      ['order=up', 'order'],
      ['archived=maybe', 'archived'],
      ['deleted=1', 'deleted'],
      ['tag[a]=b', 'tag'],
      ['model[a]=b', 'model'],
    ]) {
      const { status, text } = await ask(api, api.apiKey, 'get', `/v1${JOBS}?${query}`);
      expect([query, status, text]).toEqual([query, 400, expect.stringContaining(`"param":"${param}"`)]); // prettier-ignore
    }
  });
});

it('returns tokens, training time and peak memory per step', async () => {
  const { id } = await trained('measured');
  const { steps, tokens, seconds, peak_rss_bytes } = await api.get<MetricsObject>(
    `${JOBS}/${id}/metrics`,
  );
  expect(steps).toEqual([1, 2]);
  expect({ tokens, seconds, peak_rss_bytes }).toEqual({
    tokens: [100, 200],
    seconds: [0.5, 1],
    peak_rss_bytes: 1e6,
  });
});

describe('a deleted job', () => {
  const models = async () =>
    (await api.get<Page<{ id: string }>>('/models')).data.map(({ id }) => id);
  const status = async (path: string, method = 'get') =>
    (await ask(api, api.apiKey, method, `/v1${path}`)).status;

  it('is hidden with its results, and can be restored with all of them', async () => {
    const job = await trained('undo');
    const [model, checkpoint] = [job.fine_tuned_model!, `${job.fine_tuned_model}:ckpt-step-1`];
    const seen = [
      `${JOBS}/${job.id}`,
      `${JOBS}/${job.id}/metrics`,
      `${JOBS}/${job.id}/checkpoints`,
      `/models/${encodeURIComponent(model)}`,
      `/models/${encodeURIComponent(checkpoint)}`,
      ...job.result_files.flatMap((id) => [`/files/${id}`, `/files/${id}/content`]),
    ];
    expect(await Promise.all(seen.map((path) => status(path)))).toEqual(seen.map(() => 200));
    const { jobs: before } = await api.get<{ jobs: Record<string, number> }>('/overview');

    const answer = await remove(job.id);
    const deleted = JSON.parse(answer.text) as DeletedJobObject;
    const week = Math.floor(Date.now() / 1000) + 7 * 86_400;
    expect(deleted).toMatchObject({ id: job.id, object: 'fine_tuning.job', deleted: true });
    expect(Math.abs(deleted.graft.restorable_until - week)).toBeLessThan(60);
    expect(await Promise.all(seen.map((path) => status(path)))).toEqual(seen.map(() => 404));
    expect(await models()).not.toContain(model);
    expect(await list('search=undo&archived=any')).toEqual([]);
    const { jobs: after } = await api.get<{ jobs: Record<string, number> }>('/overview');
    expect(after['succeeded']).toBe(before['succeeded']! - 1);
    for (const start of [model, checkpoint]) {
      const body = { model: 'tiny', training_file: file, graft: { init_adapter: start } };
      expect((await ask(api, api.apiKey, 'post', `/v1${JOBS}`, body)).status).toBe(404);
    }
    expect(await status(`${JOBS}/${job.id}`, 'delete')).toBe(404);
    const [gone] = (await api.get<Page<JobObject>>(`${JOBS}?deleted=true&search=undo`)).data;
    expect(gone?.graft.restorable_until).toBe(deleted.graft.restorable_until);

    const back = await api.post<JobObject>(`${JOBS}/${job.id}/restore`);
    expect(back).toEqual(job);
    expect(await Promise.all(seen.map((path) => status(path)))).toEqual(seen.map(() => 200));
    expect(await list('deleted=true&search=undo')).toEqual([]);

    const auditLog = () =>
      api.query(
        `SELECT (SELECT count(*)::int FROM audit WHERE target = $1 AND action = 'job.restored') AS restored,
           updated_at FROM job WHERE id = $1`,
        [job.id],
      );
    const done = await auditLog();
    expect(done).toMatchObject([{ restored: 1 }]);
    // It is not deleted: nothing changes, and there is no audit entry.
    expect(await api.post(`${JOBS}/${job.id}/restore`)).toEqual(job);
    expect(await auditLog()).toEqual(done);
  });

  it('cannot be changed by a request that waited for its deletion', async () => {
    const { id } = await create();
    const client = new pg.Client({ connectionString: api.databaseUrl });
    await client.connect();
    await client.query('BEGIN');
    await client.query('UPDATE job SET deleted_at = now() WHERE id = $1', [id]);
    const [cancelled, changed] = [
      ask(api, api.apiKey, 'post', `/v1${JOBS}/${id}/cancel`),
      ask(api, api.apiKey, 'post', `/v1${JOBS}/${id}`, { graft: { note: 'late' } }),
    ];
    await until(async () => {
      const [row] = await api.query<{ waiting: number }>(
        `SELECT count(*)::int AS waiting FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
      );
      return (row?.waiting ?? 0) >= 2;
    });
    await client.query('COMMIT');
    await client.end();
    expect(await cancelled).toMatchObject({ status: 404, code: 'fine_tune_not_found' });
    expect(await changed).toMatchObject({ status: 404, code: 'fine_tune_not_found' });
    expect(await api.query('SELECT note FROM job WHERE id = $1', [id])).toEqual([{ note: null }]);
  });

  it('is not returned to a repeated request: its idempotency key is free', async () => {
    const body = { model: 'tiny', training_file: file, graft: { pool: 'unserved' } };
    const send = async (headers: Record<string, string>, more: object = {}) => {
      const answer = await request(api.url)
        .post(`/v1${JOBS}`)
        .set({ ...api.headers, ...headers })
        .send({ ...body, ...more });
      return [answer.status, answer.body.id ?? answer.body.error.code] as const;
    };
    const key = { 'idempotency-key': 'again' };
    const drop = async (id: string) => {
      await api.post(`${JOBS}/${id}/cancel`);
      expect((await remove(id)).status).toBe(200);
    };
    const [, first] = await send(key);
    await drop(first);
    const [second, beside] = await Promise.all([send(key), send(key)]);
    expect(second).toEqual([200, expect.not.stringMatching(first)]);
    expect(beside).toEqual(second);
    expect(await send(key, { seed: 1 })).toEqual([422, 'idempotency_mismatch']);
    await drop(second[1]);
    expect(await send(key, { seed: 1 })).toEqual([200, expect.stringMatching(/^ftjob-/)]);
    // an SDK's retry, which has no key
    const retry = { 'x-stainless-retry-count': '1' };
    const [, third] = await send(retry, { seed: 2 });
    expect(await send(retry, { seed: 2 })).toEqual([200, third]);
    await drop(third);
    expect(await send(retry, { seed: 2 })).toEqual([200, expect.not.stringMatching(third)]);
  });

  it('cannot be deleted while it is open, or while others need its results; the error names them', async () => {
    const job = await trained('needed');
    const refusal = async (id: string): Promise<string> => {
      const { status, text } = await remove(id);
      expect(status).toBe(409);
      return (JSON.parse(text) as { error: { message: string } }).error.message;
    };
    const model = job.fine_tuned_model!;
    const heir = await create({ init_adapter: `${model}:ckpt-step-1` });
    expect(await refusal(heir.id)).toBe(`${heir.id} is queued; cancel it first`);
    expect(await refusal(job.id)).toBe(`${job.id} is in use by job ${heir.id}`);
    await api.post(`${JOBS}/${heir.id}/cancel`);

    const { id: of } = await api.post<{ id: string }>('/evals', EVAL);
    await api.query(
      `INSERT INTO eval_run (id, eval_id, project_id, key_id, name, model, data_source, status, owner, owner_until)
       VALUES ('evalrun_needs', $1, 'proj-default', '', '', $2, '{}', 'in_progress', 'x', now() + interval '1 hour')`,
      [of, model],
    );
    expect(await refusal(job.id)).toContain('eval run evalrun_needs');
    await api.query(`UPDATE eval_run SET status = 'completed' WHERE id = 'evalrun_needs'`);

    await api.query(
      `INSERT INTO model (id, project_id, kind, base_id, family, status) VALUES ('ft:child', 'proj-default', 'adapter', $1, 'llama', 'ready')`,
      [model],
    );
    expect(await refusal(job.id)).toContain('model ft:child');
    await api.query(`UPDATE model SET deleted_at = '2026-01-02T03:04:05Z' WHERE id = 'ft:child'`);
    expect(await refusal(job.id)).toBe(
      `${job.id} is in use by model ft:child, which was deleted with its job and can be restored until 2026-01-09 03:04 UTC`,
    );
    await api.query(`DELETE FROM model WHERE id = 'ft:child'`);
    expect((await remove(job.id)).status).toBe(200);
  });

  it('is deleted in batches, and does not block other deletions if that fails', async () => {
    const [large, other] = [await trained('large'), await trained('other')];
    await api.query(
      `INSERT INTO event (job_id, number, level, type, message)
       SELECT $1, 10000 + n, 'info', 'log', 'line' FROM generate_series(1, 5000) AS n`,
      [large.id],
    );
    // as if a statement timed out: if it deletes more than 2000 rows, or a certain row
    await api.query(`CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      IF (SELECT count(*) > 2000 OR count(*) FILTER (WHERE number = 15000) > 0 FROM gone)
      THEN RAISE EXCEPTION 'canceling statement due to statement timeout' USING ERRCODE = '57014'; END IF;
      RETURN NULL; END $$`);
    await api.query(
      'CREATE TRIGGER slow AFTER DELETE ON event REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION slow()',
    );
    await api.query(
      `INSERT INTO data_report (key, outcome, created_at) VALUES ('old', '{}', now() - interval '31 days')`,
    );
    for (const { id } of [large, other]) await remove(id);
    const past = `UPDATE job SET deleted_at = deleted_at - interval '8 days' WHERE id = $1`;
    for (const { id } of [large, other]) await api.query(past, [id]);
    const count = async (table: string, where: string, value: string) =>
      (await api.query(`SELECT 1 FROM ${table} WHERE ${where} = $1`, [value])).length;
    await until(async () => (await count('job', 'id', other.id)) === 0);
    await until(async () => (await count('data_report', 'key', 'old')) === 0);
    await until(async () => (await count('event', 'job_id', large.id)) <= 2000);
    // It is partly deleted and cannot be restored.
    expect(await status(`${JOBS}/${large.id}/restore`, 'post')).toBe(404);
    expect(await list('deleted=true&search=large')).toEqual([]);
    await api.query('DROP TRIGGER slow ON event');
    await until(async () => (await count('job', 'id', large.id)) === 0);
    expect(await count('event', 'job_id', large.id)).toBe(0);
    await api.query('DROP FUNCTION slow');
  });

  it('is deleted permanently after a week, with its rows and blobs', async () => {
    const job = await trained('gone');
    const named = await api.query<{ sha256: string }>(
      `SELECT DISTINCT sha256 FROM blob_ref WHERE owner_id = ANY($1)`,
      [[job.fine_tuned_model, ...job.result_files]],
    );
    expect(named.length).toBeGreaterThan(3);
    await remove(job.id);
    await api.query(`UPDATE job SET deleted_at = deleted_at - interval '6 days' WHERE id = $1`, [
      job.id,
    ]);
    await new Promise((resolve) => setTimeout(resolve, 500));
    const rows = () => api.query('SELECT 1 FROM job WHERE id = $1', [job.id]);
    expect(await rows()).toHaveLength(1);
    await api.query(`UPDATE job SET deleted_at = deleted_at - interval '25 hours' WHERE id = $1`, [
      job.id,
    ]);
    await until(async () => (await rows()).length === 0);
    expect(await status(`${JOBS}/${job.id}/restore`, 'post')).toBe(404);
    for (const table of ['event', 'metric', 'evaluation', 'checkpoint', 'artifact', 'attempt', 'model', 'file']) // prettier-ignore
      expect([table, await api.query(`SELECT 1 FROM ${table} WHERE job_id = $1`, [job.id])]).toEqual([table, []]); // prettier-ignore
    expect(
      await api.query(`SELECT 1 FROM blob_ref WHERE owner_id = ANY($1)`, [
        [job.fine_tuned_model, ...job.result_files],
      ]),
    ).toEqual([]);
  });
});
