import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { chats, importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { ask } from './projects.js';
import { evaluated, saved, ScriptedWorker, started, step } from './scripted-worker.js';

// What is deleted, when, and what never is. Rows are aged by SQL; everything else is real.

const SEVERAL_ROUNDS_MS = 600;
let api: TestApi;
let pools = 0;

beforeAll(async () => {
  api = await startTestApi({
    leaseMs: 3000,
    reconcileMs: 200,
    retentionMs: 100,
    retryBackoffMs: 50,
  });
  await importBase(api);
});
afterAll(() => api?.close());

/** Names of all files in the blob store. */
const stored = (): string[] =>
  readdirSync(join(api.home, 'blobs'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => entry.name);
const has = (sha256: string): boolean => stored().includes(sha256);
const sha = (text: string): string => createHash('sha256').update(text).digest('hex');
const age = (table: 'blob' | 'artifact'): Promise<unknown> =>
  api.query(`UPDATE ${table} SET created_at = created_at - interval '2 hours'`);
const rounds = (): Promise<void> => new Promise((done) => setTimeout(done, SEVERAL_ROUNDS_MS));

async function upload(text: string): Promise<string> {
  const file = new File([text], 'a.jsonl');
  return (await api.client.files.create({ file, purpose: 'fine-tune' })).id;
}

async function create(training_file: string, graft: object = {}) {
  const pool = `pool-${pools++}`;
  const body = { model: 'tiny', training_file, graft: { pool, ...graft } };
  const { id } = await api.post<{ id: string }>('/fine_tuning/jobs', body);
  return { id, pool };
}

async function running() {
  const { id, pool } = await create(await uploadChats(api));
  const worker = await new ScriptedWorker(api, { pool }).connect();
  const lease = await worker.nextAssignment();
  const alive = setInterval(() => {
    void worker.heartbeat([{ jobId: id, attempt: lease.attempt, step: 0 }]).catch(() => undefined);
  }, 500);
  return { id, pool, worker, lease, end: () => (clearInterval(alive), worker.vanish()) };
}

const steps = async (id: string): Promise<number[]> => {
  const { data } = await api.get<{ data: { step_number: number }[] }>(
    `/fine_tuning/jobs/${id}/checkpoints?limit=100`,
  );
  return data.map((row) => row.step_number);
};

/** Steps of the checkpoints from which the job can resume, newest first. */
const whole = async (id: string): Promise<number[]> =>
  (
    await api.query<{ step: number }>(
      `SELECT step FROM checkpoint WHERE job_id = $1 AND files <> '[]' ORDER BY step DESC`,
      [id],
    )
  ).map((row) => row.step);

afterEach(async () => {
  // Every referenced blob exists and matches its hash.
  const named = await api.query<{ sha256: string }>(
    `SELECT sha256 FROM file UNION SELECT sha256 FROM artifact
     UNION SELECT part->>'sha256' FROM checkpoint, jsonb_array_elements(files || adapter) AS part
     UNION SELECT part->>'sha256' FROM model, jsonb_array_elements(files) AS part`,
  );
  for (const { sha256 } of named) {
    const bytes = readFileSync(join(api.home, 'blobs', sha256.slice(0, 2), sha256));
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(sha256);
  }
  expect(readdirSync(join(api.home, 'blobs', 'incoming'))).toEqual([]);
});

describe('interrupted uploads', () => {
  it('are deleted after an hour; newer ones stay, even after a restart', async () => {
    const incoming = join(api.home, 'blobs', 'incoming');
    for (const [name, minutes] of [
      ['old', 61],
      ['young', 59],
    ] as const) {
      writeFileSync(join(incoming, name), 'half');
      utimesSync(join(incoming, name), new Date(), new Date(Date.now() - minutes * 60_000));
    }
    await until(() => !readdirSync(incoming).includes('old'));
    await api.restart();
    expect(readdirSync(incoming)).toEqual(['young']);
    rmSync(join(incoming, 'young'));
  });
});

describe('files', () => {
  const expire = (id: string): Promise<unknown> =>
    api.query(`UPDATE file SET expires_at = now() - interval '1 s' WHERE id = $1`, [id]);

  it('are deleted with their blobs after they expire', async () => {
    const text = `${chats(12)}\n`;
    const file = await api.client.files.create({
      file: new File([text], 'a.jsonl'),
      purpose: 'fine-tune',
      expires_after: { anchor: 'created_at', seconds: 3600 },
    });
    await rounds();
    expect(has(sha(text))).toBe(true);
    await expire(file.id);
    await expect(api.get(`/files/${file.id}`)).rejects.toThrow('404');
    await until(() => !has(sha(text)));
    expect(await api.query('SELECT 1 FROM file WHERE id = $1', [file.id])).toEqual([]);
  });

  it.each(['queued', 'paused', 'running'])('remain while a %s job uses them', async (state) => {
    const text = chats(12).repeat(2) + `{"text": "${state}"}\n`;
    const file = await upload(text);
    const { id, pool } = await create(file);
    if (state === 'paused') await api.post(`/fine_tuning/jobs/${id}/pause`);
    const worker = await new ScriptedWorker(api, { pool }).connect();
    const assigned = async () => {
      const lease = await worker.nextAssignment();
      worker.keep(lease);
      return lease;
    };
    const early = state === 'running' ? await assigned() : null;
    const refusal = await fetch(`${api.url}/v1/files/${file}`, {
      method: 'DELETE',
      headers: api.headers,
    });
    expect(refusal.status).toBe(409);
    expect(await refusal.json()).toMatchObject({ error: { code: 'conflict', param: 'file_id' } });
    await expire(file);
    await rounds();
    if (state === 'paused') await api.post(`/fine_tuning/jobs/${id}/resume`);
    const lease = early ?? (await assigned());
    expect((await worker.fetch(lease.trainingFile?.sha256 ?? '')).toString()).toBe(text);
    await worker.finish(lease, 10);
    await until(() => !has(sha(text)));
    worker.vanish();
  });
});

describe('checkpoints', () => {
  it('keep the last three and the best, with the blobs that they share, and the job resumes', async () => {
    const { id, worker, lease, end } = await running();
    await worker.report(lease, started(0, 20));
    const losses = [3, 1, 2, 4, 5, 6];
    for (const [index, loss] of losses.entries()) {
      const at = index + 1;
      const config = await worker.put(lease, 'adapter_config.json', `config of ${id}`);
      const state = await worker.put(lease, 'state.safetensors', `${id} at ${at}`);
      await worker.report(
        lease,
        step(at),
        evaluated(at, loss, true, 0),
        saved(at, [config, state], [config]),
      );
    }
    await until(async () => (await steps(id)).length === 6 && (await whole(id)).length === 4);
    expect(await whole(id)).toEqual([6, 5, 4, 2]);
    const bytes = (at: number): boolean => has(sha(`${id} at ${at}`));
    await rounds();
    // Blobs are deleted after they have been unreferenced and untouched for an hour.
    expect([1, 2, 3, 4, 5, 6].map(bytes)).toEqual([true, true, true, true, true, true]);
    await age('blob');
    await until(() => !bytes(1) && !bytes(3));
    expect([1, 2, 3, 4, 5, 6].map(bytes)).toEqual([false, true, false, true, true, true]);
    expect(has(sha(`config of ${id}`))).toBe(true);

    // Uploaded blobs of a running attempt remain until their event arrives, however late.
    const slow = await worker.put(lease, 'state.safetensors', `${id} at 7`);
    await age('blob');
    await age('artifact');
    await rounds();
    expect(bytes(7)).toBe(true);
    await worker.report(lease, step(7), saved(7, [slow]));
    await until(async () => (await whole(id)).join() === '7,6,5,2');

    const crash = {
      code: 'crash',
      message: 'signal 11',
      param: '',
      retryable: true,
      stderr_tail: '',
    };
    await worker.report(lease, { kind: 'failed', payload: crash });
    const again = await worker.nextAssignment();
    expect(again).toMatchObject({ checkpointStep: 7, checkpoint: [slow] });
    expect((await worker.fetch(slow.sha256)).toString()).toBe(`${id} at 7`);
    await worker.finish(again, 20);
    await rounds();
    expect(await whole(id)).toEqual([7, 6, 5, 2]);
    const job = await api.get<{ result_files: string[] }>(`/fine_tuning/jobs/${id}`);
    await age('blob');
    await age('artifact');
    await rounds();
    for (const file of job.result_files)
      expect((await (await api.client.files.content(file)).text()).length).toBeGreaterThan(0);
    end();
  });

  it('keep the adapters of up to 12 others, spread over the run, until the job is deleted', async () => {
    const { id, worker, lease, end } = await running();
    await worker.report(lease, started(0, 48));
    const weights = (at: number): string => `weights of ${id} at ${at}`;
    for (let at = 2; at <= 40; at += 2) {
      const state = await worker.put(lease, 'state.safetensors', `state of ${id} at ${at}`);
      const config = await worker.put(lease, 'adapter_config.json', '{"peft_type":"LORA"}');
      const adapter = [config, await worker.put(lease, 'adapter_model.safetensors', weights(at))];
      await worker.report(lease, step(at), saved(at, [state, ...adapter], adapter));
    }
    // 48 steps in 12 parts: the last checkpoint of each part, and the newest three.
    const spread = '40,38,36,32,28,24,20,16,12,8,4';
    await until(async () => (await steps(id)).join() === spread);
    expect(await whole(id)).toEqual([40, 38, 36]);
    await age('blob');
    await until(() => !has(sha(weights(2))) && !has(sha(`state of ${id} at 4`)));
    expect(has(sha(weights(4)))).toBe(true);

    // An adapter is a model: a worker reads it to answer.
    const { data } = await api.get<{
      data: { step_number: number; fine_tuned_model_checkpoint: string }[];
    }>(`/fine_tuning/jobs/${id}/checkpoints?limit=100`);
    const model = data.find((row) => row.step_number === 12)?.fine_tuned_model_checkpoint ?? '';
    const messages = [{ role: 'user' as const, content: 'hello' }];
    const answer = api.client.chat.completions.create({ model, messages });
    const asked = await worker.nextRequest();
    const file = asked.adapter.find(({ name }) => name === 'adapter_model.safetensors');
    expect((await worker.fetch(file?.sha256 ?? '')).toString()).toBe(weights(12));
    worker.sendText(asked.id, 'hi');
    expect((await answer).choices[0]?.message.content).toBe('hi');

    // The job resumes from none of them, even if all whole checkpoints are damaged.
    await api.query(
      `UPDATE checkpoint SET damaged_at = now() WHERE job_id = $1 AND files <> '[]'`,
      [id],
    );
    const crash = { code: 'crash', message: '', param: '', retryable: true, stderr_tail: '' };
    await worker.report(lease, { kind: 'failed', payload: crash });
    const again = await worker.nextAssignment();
    expect(again).toMatchObject({ checkpointStep: 0, checkpoint: [] });
    // A checkpoint of the new attempt is resumed from, although it is at an earlier step.
    const state = await worker.put(again, 'state.safetensors', `state of ${id} again`);
    await worker.report(again, started(0, 48), step(1), saved(1, [state]));
    await rounds();
    await rounds();
    expect(await whole(id)).toEqual([1]);
    await worker.report(again, { kind: 'failed', payload: crash });
    expect(await worker.nextAssignment()).toMatchObject({ checkpointStep: 1, checkpoint: [state] });

    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    await api.client.delete(`/fine_tuning/jobs/${id}`);
    await api.query(`UPDATE job SET deleted_at = now() - interval '8 days' WHERE id = $1`, [id]);
    await until(
      async () =>
        (await api.query('SELECT 1 FROM checkpoint WHERE job_id = $1', [id])).length === 0,
    );
    await age('artifact');
    await age('blob');
    await until(() => !has(sha(weights(4))));
    end();
  });

  it('keep the best by a loss that was measured at their own step', async () => {
    const { id, worker, lease, end } = await running();
    await worker.report(lease, started(0, 20));
    for (let at = 1; at <= 6; at++) {
      const state = await worker.put(lease, 'state', `${id} at ${at}`);
      await worker.report(lease, step(at));
      if (at === 2) await worker.report(lease, evaluated(at, 1, true, 0));
      await worker.report(lease, saved(at, [state]));
    }
    await until(async () => (await steps(id)).length === 4);
    expect(await steps(id)).toEqual([6, 5, 4, 2]);
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    end();
  });

  it("keep the best by the job's metric", async () => {
    const { id, worker, lease, end } = await running();
    // No task of this base has such a metric.
    await api.query(
      `UPDATE job SET request = jsonb_set(request, '{graft,metric_for_best_model}', '"wer"') WHERE id = $1`,
      [id],
    );
    await worker.report(lease, started(0, 20));
    for (let at = 1; at <= 7; at++) {
      const state = await worker.put(lease, 'state', `${id} at ${at}`);
      const measured = { loss: at, wer: Math.abs(at - 3) };
      const value = { step: at, full: true, metrics: measured };
      await worker.report(lease, step(at), { kind: 'evaluated', payload: value });
      await worker.report(lease, saved(at, [state]));
    }
    await until(async () => (await steps(id)).join() === '7,6,5,3');
    const { data } = await api.get<{ data: { step_number: number; graft: { best: boolean } }[] }>(
      `/fine_tuning/jobs/${id}/checkpoints`,
    );
    expect(data.find(({ graft }) => graft.best)?.step_number).toBe(3);
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    end();
  });

  it('keep the best by eval score, whatever the loss, and those that an eval run still needs', async () => {
    const { id, worker, lease, end } = await running();
    await worker.report(lease, started(0, 20));
    // As a finished eval run leaves it, and as an unfinished one.
    const scored = (at: number, score: number) =>
      api.query(
        `UPDATE evaluation SET values = values || jsonb_build_object('eval_score', $3::float8) WHERE job_id = $1 AND step = $2`,
        [id, at, score],
      );
    const asked = (at: number) =>
      api.query(
        `INSERT INTO eval_run (id, eval_id, project_id, key_id, name, model, data_source, status, owner, owner_until, job_id, step)
         VALUES ('evalrun_' || $1, '', '', '', '', '', '{}', 'in_progress', 'x', now() + interval '1 hour', $1, $2)`,
        [id, at],
      );
    for (let at = 1; at <= 7; at++) {
      const state = await worker.put(lease, 'state', `${id} at ${at}`);
      await worker.report(lease, step(at), evaluated(at, at, true, 0));
      await scored(at, at === 2 ? 1 : 0.5);
      if (at === 3) await asked(at);
      await worker.report(lease, saved(at, [state]));
    }
    await until(async () => (await steps(id)).join() === '7,6,5,3,2');
    await api.query(`UPDATE eval_run SET status = 'completed' WHERE job_id = $1`, [id]);
    const state = await worker.put(lease, 'state', `${id} at 8`);
    await worker.report(lease, step(8), saved(8, [state]));
    await until(async () => (await steps(id)).join() === '8,7,6,2');
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    end();
  });

  it('without an evaluation keep the last three', async () => {
    const { id, worker, lease, end } = await running();
    await worker.report(lease, started(0, 20));
    for (let at = 1; at <= 5; at++) {
      const state = await worker.put(lease, 'state', `${id} at ${at}`);
      await worker.report(lease, step(at), saved(at, [state]));
    }
    await until(async () => (await steps(id)).join() === '5,4,3');
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    end();
  });
});

describe('blobs', () => {
  it('of a cancelled attempt that nothing references are deleted after an hour', async () => {
    const { id, worker, lease, end } = await running();
    const { sha256 } = await worker.put(lease, 'state', `for nothing in ${id}`);
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    await rounds();
    expect(has(sha256)).toBe(true);
    await age('artifact');
    await rounds();
    expect(has(sha256)).toBe(true);
    await age('blob');
    await until(() => !has(sha256));
    end();
  });

  it('of a deleted adapter remain for the job that starts from it', async () => {
    const { id, worker, lease, end } = await running();
    await worker.finish(lease, 10);
    end();
    const { fine_tuned_model: model } = await api.get<{ fine_tuned_model: string }>(
      `/fine_tuning/jobs/${id}`,
    );
    const next = await create(await uploadChats(api), { init_adapter: model });
    await api.client.models.delete(model);
    for (const file of await api.query<{ id: string }>('SELECT id FROM file WHERE job_id = $1', [
      id,
    ]))
      await api.client.files.delete(file.id);
    await age('artifact');
    await age('blob');
    await rounds();
    const second = await new ScriptedWorker(api, { pool: next.pool }).connect();
    const taken = await second.nextAssignment();
    expect(taken.initAdapter.length).toBe(3);
    for (const { sha256 } of taken.initAdapter)
      expect((await second.fetch(sha256)).length).toBeGreaterThan(0);
    await api.post(`/fine_tuning/jobs/${next.id}/cancel`);
    const weights = taken.initAdapter.find((file) => file.name.endsWith('.safetensors'));
    await until(() => !has(weights?.sha256 ?? ''));
    second.vanish();
  });

  it('data reports are deleted after a month; jobs keep theirs', async () => {
    const { id } = await create(await uploadChats(api, 17));
    const count = async (): Promise<number> =>
      Number((await api.query<{ n: string }>('SELECT count(*) AS n FROM data_report'))[0]?.n);
    const before = await count();
    expect(before).toBeGreaterThan(0);
    await rounds();
    expect(await count()).toBe(before);
    await api.query(`UPDATE data_report SET created_at = created_at - interval '31 days'`);
    await until(async () => (await count()) === 0);
    expect(
      (await api.get<{ graft: { data: object } }>(`/fine_tuning/jobs/${id}`)).graft.data,
    ).not.toBeNull();
  });
});

describe('rows of the audit log', () => {
  it('remain forever, or for auditDays', async () => {
    const old = `UPDATE audit SET created_at = created_at - interval '366 days'`;
    const count = async (): Promise<number> =>
      (await api.query<{ n: number }>('SELECT count(*)::int AS n FROM audit'))[0]?.n ?? NaN;
    const before = await count();
    expect(before).toBeGreaterThan(1);
    await api.query(old);
    await rounds();
    expect(await count()).toBe(before);
    const other = await startTestApi({ beside: api, retentionMs: 100, auditDays: 365 });
    try {
      await until(async () => (await count()) === 0);
    } finally {
      await other.close();
    }
  });
});

describe('deleted jobs', () => {
  it('can be restored for restoreDays, and are then deleted', async () => {
    const month = await startTestApi({ retentionMs: 100, restoreDays: 30 });
    let none: TestApi | null = null;
    try {
      none = await startTestApi({ beside: month, retentionMs: 100, restoreDays: 0 });
      await importBase(month);
      const body = { model: 'tiny', training_file: await uploadChats(month) };
      const removed = async (of: TestApi) => {
        const { id } = await month.post<{ id: string }>('/fine_tuning/jobs', body);
        await month.post(`/fine_tuning/jobs/${id}/cancel`);
        const { text } = await ask(of, of.apiKey, 'delete', `/v1/fine_tuning/jobs/${id}`);
        const { graft } = JSON.parse(text) as { graft: { restorable_until: number } };
        const days = (graft.restorable_until - Date.now() / 1000) / 86_400;
        return { id, days: Math.abs(Math.round(days)) };
      };
      const age = (id: string, days: number) =>
        month.query(`UPDATE job SET deleted_at = now() - $2 * interval '1 day' WHERE id = $1`, [
          id,
          days,
        ]);
      const isGone = async (id: string) =>
        (await month.query('SELECT 1 FROM job WHERE id = $1', [id])).length === 0;

      const now = await removed(none);
      expect(now.days).toBe(0);
      await until(() => isGone(now.id));

      await none.close();
      none = null;
      const later = await removed(month);
      expect(later.days).toBe(30);
      await age(later.id, 29);
      await month.post(`/fine_tuning/jobs/${later.id}/restore`);
      await ask(month, month.apiKey, 'delete', `/v1/fine_tuning/jobs/${later.id}`);
      await age(later.id, 31);
      await until(() => isGone(later.id));
    } finally {
      await none?.close();
      await month.close();
    }
  });
});
