// Limits of evals per project: runs created concurrently, unfinished runs, and storage.
import type { LimitsObject } from '@graft/contracts';
import type OpenAI from 'openai';
import type { APIError } from 'openai';
import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { EVAL } from './changes/eval-changes.js';
import { caught, startTestApi, until, type TestApi } from './fixture.js';

let api: TestApi;
let evals: OpenAI['evals'];
let evalId: string;
beforeAll(async () => {
  api = await startTestApi();
  evals = api.client.evals;
  ({ id: evalId } = await evals.create(EVAL as never));
});
afterAll(() => api?.close());

const answers = (count: number, text = 'A') =>
  Array.from({ length: count }, (_, n) => ({
    item: { word: `w${n}` },
    sample: { output_text: text },
  }));
const create = (content: object[] = answers(1)) =>
  evals.runs.create(evalId, {
    data_source: { type: 'jsonl', source: { type: 'file_content', content } },
  } as never);

it('creates one run of a project at a time, with a bounded queue', async () => {
  const lock = new pg.Client({ connectionString: api.databaseUrl });
  await lock.connect();
  try {
    await lock.query('BEGIN');
    // The run that is being created waits for this row.
    await lock.query('SELECT 1 FROM eval WHERE id = $1 FOR UPDATE', [evalId]);
    const refused: APIError[] = [];
    const asked = Array.from({ length: 18 }, () =>
      create().catch((error: unknown) => void refused.push(error as APIError)),
    );
    await until(() => refused.length === 1);
    expect(refused[0]).toMatchObject({
      status: 503,
      message: expect.stringContaining('too many eval runs are being created for this project'),
    });
    await lock.query('ROLLBACK');
    expect((await Promise.all(asked)).filter(Boolean)).toHaveLength(17);
    expect(refused).toHaveLength(1);
  } finally {
    await lock.end();
  }
});

it('rejects runs beyond eval_runs, and accepts more after some have ended', async () => {
  const { project } = await api.get<{ project: { id: string } }>('/keys/me');
  const limit = (eval_runs: number | null) =>
    api.post(`/organization/projects/${project.id}`, { graft: { limits: { eval_runs } } });
  const used = async () =>
    (await api.get<LimitsObject>('/limits')).data.find(({ name }) => name === 'eval_runs');
  const open = (runs: number) =>
    api.query(
      `INSERT INTO eval_run (id, eval_id, project_id, key_id, name, model, data_source, owner, owner_until, status)
       SELECT 'open-' || n, $1, $2, '', '', '', '{}', 'another', 'infinity', 'in_progress'
       FROM generate_series(1, $3) AS n ON CONFLICT DO NOTHING`,
      [evalId, project.id, runs],
    );
  await until(async () => (await used())?.used === 0);
  await open(2);
  await limit(2);
  expect(await used()).toEqual({ name: 'eval_runs', limit: 2, used: 2 });
  expect(await caught(create())).toMatchObject({
    status: 429,
    code: 'insufficient_quota',
    message: expect.stringContaining(
      'This project has 2 unfinished eval runs; its limit (eval_runs) is 2.',
    ),
  });
  // The limit is checked before the items are read.
  const source = { type: 'file_id', id: 'file-none' };
  const unread = evals.runs.create(evalId, { data_source: { type: 'jsonl', source } } as never);
  expect((await caught(unread)).code).toBe('insufficient_quota');
  await evals.runs.cancel('open-1', { eval_id: evalId });
  expect((await create()).object).toBe('eval.run');
  await limit(null);
  await open(1000);
  await api.query(`UPDATE eval_run SET status = 'in_progress' WHERE id = 'open-1'`);
  expect(await caught(create())).toMatchObject({ status: 429, code: 'queue_full' });
  await api.query(`DELETE FROM eval_run WHERE owner = 'another'`);
});

it('does not lock the count while it writes the items of a run, and counts again before the commit', async () => {
  const { project } = await api.get<{ project: { id: string } }>('/keys/me');
  const other = new pg.Client({ connectionString: api.databaseUrl });
  await other.connect();
  const open = `SELECT 1 FROM eval_run WHERE status IN ('queued', 'in_progress')`;
  await until(async () => (await api.query(open)).length === 0);
  const waiting = `SELECT 1 FROM pg_stat_activity WHERE datname = current_database()
    AND wait_event_type = 'Lock' AND query LIKE '%INSERT INTO eval_item%'`;
  try {
    await other.query('BEGIN');
    await other.query('LOCK TABLE eval_item IN SHARE MODE');
    const making = caught(create());
    await until(async () => (await api.query(waiting)).length === 1);
    const { rows } = await other.query(
      'SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0)) AS free',
      [`eval runs ${project.id}`],
    );
    expect(rows).toEqual([{ free: true }]);
    // Another process has created the last run within the limit.
    await other.query(
      `INSERT INTO eval_run (id, eval_id, project_id, key_id, name, model, data_source, owner, owner_until, status)
       VALUES ('other', $1, $2, '', '', '', '{}', 'another', 'infinity', 'in_progress')`,
      [evalId, project.id],
    );
    await other.query(`UPDATE project SET limits = '{"eval_runs": 1}' WHERE id = $1`, [project.id]);
    await other.query('COMMIT');
    expect(await making).toMatchObject({ status: 429, code: 'insufficient_quota' });
    expect((await api.query(`DELETE FROM eval_run WHERE id = 'other' RETURNING id`)).length).toBe(
      1,
    );
    expect((await create()).object).toBe('eval.run');
  } finally {
    await other.end();
    await api.query(`UPDATE project SET limits = '{}' WHERE id = $1`, [project.id]);
  }
});

it('counts the items of a run as storage, with answers after its end, until it is deleted', async () => {
  const { project } = await api.get<{ project: { id: string } }>('/keys/me');
  const limit = (storage_bytes: number | null) =>
    api.post(`/organization/projects/${project.id}`, { graft: { limits: { storage_bytes } } });
  const stored = async () =>
    (await api.get<LimitsObject>('/limits')).data.find(({ name }) => name === 'storage_bytes')!
      .used;
  const taken = async () =>
    (
      await api.query<{ taken: number }>(
        `SELECT sum(pg_column_size(item) + pg_column_size(sample) + pg_column_size(results))::int AS taken FROM eval_item`,
      )
    )[0]?.taken;
  const over = async ({ id }: { id: string }) =>
    (await evals.runs.retrieve(id, { eval_id: evalId })).status === 'completed';
  await api.query(`DELETE FROM eval_item`);
  await api.query(`DELETE FROM eval_run`);
  const before = await stored();
  const run = await create(answers(1000, 'x'.repeat(100)));
  await until(() => over(run));
  expect((await stored()) - before).toBe(await taken());
  expect((await stored()) - before).toBeGreaterThan(100_000);
  // The results of the items are included.
  await api.query(`UPDATE eval_run SET to_erase = true WHERE id = $1`, [run.id]);
  await api.query(`UPDATE eval_item SET sample = NULL, results = '[]'`);
  await api.query(`UPDATE eval_run SET to_erase = false WHERE id = $1`, [run.id]);
  expect((await stored()) - before).toBeLessThan(100_000);

  await limit(await stored());
  const rows = async () => (await api.query('SELECT 1 FROM eval_item')).length;
  expect(await rows()).toBe(1000);
  expect(await caught(create())).toMatchObject({ status: 429, code: 'insufficient_quota' });
  expect(await rows()).toBe(1000);
  await evals.runs.delete(run.id, { eval_id: evalId });
  expect(await stored()).toBe(before);
  expect((await create()).object).toBe('eval.run');
  await limit(null);
});

it('rejects a file that is too large before it reads one', async () => {
  const line = JSON.stringify({ item: { word: 'w' } });
  const { id } = await api.client.files.create({
    file: new File([line], 'i.jsonl'),
    purpose: 'evals',
  });
  const source = { type: 'file_id', id };
  const run = () => evals.runs.create(evalId, { data_source: { type: 'jsonl', source } } as never);
  await api.query('UPDATE file SET bytes = 67108865 WHERE id = $1', [id]);
  expect(await caught(run())).toMatchObject({
    status: 400,
    param: 'data_source.source.id',
    message: expect.stringContaining('expected at most 67108864 bytes, got 67108865') as string,
  });
  await api.query('UPDATE file SET bytes = $2 WHERE id = $1', [id, line.length]);
  expect((await run()).object).toBe('eval.run');
});
