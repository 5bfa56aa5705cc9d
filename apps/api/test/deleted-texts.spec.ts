// Deleting a file, model or job also deletes the texts that eval runs took from it; scores and counts remain.
import type { EvalOutputItemObject, EvalRunObject, JobObject, Page } from '@graft/contracts';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { caught, importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { ask } from './projects.js';
import { saved, ScriptedWorker, started, step } from './scripted-worker.js';

/** Text in every item and every answer, and nowhere else. It must be deleted. */
const SECRET = 'xyzzy';

let api: TestApi;
let worker: ScriptedWorker;
let answers: NodeJS.Timeout;
/** Whether the worker answers. */
let answering = true;
let pools = 0;

beforeAll(async () => {
  api = await startTestApi({ retentionMs: 100 });
  await importBase(api);
  worker = await new ScriptedWorker(api, { maxChats: 8 }).connect();
  let seen = 0;
  answers = setInterval(() => {
    for (; answering && seen < worker.requests.length; seen++)
      worker.sendText(worker.requests[seen]!.id, `${SECRET} answered`);
  }, 20);
});
afterEach(() => {
  answering = true;
});
afterAll(async () => {
  clearInterval(answers);
  worker?.vanish();
  await api?.close();
});

const SAME = {
  type: 'string_check',
  name: 'same',
  operation: 'eq',
  input: '{{sample.output_text}}',
  reference: '{{item.answer}}',
};
const JUDGE = {
  type: 'score_model',
  name: 'judge',
  model: 'tiny',
  input: [{ role: 'user', content: '{{item.word}}' }],
};

async function makeEval(criteria: object[] = [SAME]): Promise<string> {
  const { id } = await api.client.evals.create({
    data_source_config: { type: 'custom', item_schema: {}, include_sample_schema: true },
    testing_criteria: criteria as never,
  });
  return id;
}

async function upload(): Promise<string> {
  const right = { word: SECRET, answer: `${SECRET} answered` };
  const wrong = { word: SECRET, answer: SECRET };
  const lines = [right, wrong].map((item) => JSON.stringify({ item })).join('\n');
  const file = new File([lines], 'items.jsonl');
  return (await api.client.files.create({ file, purpose: 'evals' })).id;
}

const ofFile = (id: string) => ({ type: 'file_id', id });
const inline = { type: 'file_content', content: [{ item: { word: SECRET, answer: SECRET } }] };

async function createRun(of: string, source: object, model = 'tiny'): Promise<string> {
  const template = [{ role: 'user', content: '{{item.word}}' }];
  const input_messages = { type: 'template', template };
  const data_source = { type: 'completions', model, source, input_messages } as never;
  return (await api.client.evals.runs.create(of, { data_source })).id;
}

const run = (of: string, id: string) => api.get<EvalRunObject>(`/evals/${of}/runs/${id}`);
const items = async (of: string, id: string) =>
  (await api.get<Page<EvalOutputItemObject>>(`/evals/${of}/runs/${id}/output_items`)).data;
const ended = (of: string, id: string) =>
  until(async () => (await run(of, id)).status === 'completed', 20_000);
/** Rows of a run that still contain the text, whatever the API shows. */
const rowsWithText = (id: string) =>
  api.query(
    `SELECT number FROM eval_item AS one WHERE run_id = $1 AND strpos(to_jsonb(one)::text, $2) > 0`,
    [id, SECRET],
  );

describe('deleting a file', () => {
  it('deletes the items and samples of its runs, and keeps the scores', async () => {
    const of = await makeEval([SAME, JUDGE]);
    const file = await upload();
    const [doomed, kept] = [await createRun(of, ofFile(file)), await createRun(of, inline)];
    await ended(of, doomed);
    await ended(of, kept);
    const [before, neighbour] = [await run(of, doomed), await items(of, kept)];
    expect(before.graft).toEqual({ items_deleted_at: null, samples_deleted_at: null });
    const scores = (all: readonly EvalOutputItemObject[]) =>
      all.map(({ status, results }) => [
        status,
        results.map(({ name, score, passed }) => [name, score, passed]),
      ]);
    const scored = scores(await items(of, doomed));
    expect(JSON.stringify(await items(of, doomed))).toContain(SECRET);

    await api.client.files.delete(file);
    // The API hides it immediately; the database rows follow soon.
    expect(JSON.stringify(await items(of, doomed))).not.toContain(SECRET);
    await until(async () => (await rowsWithText(doomed)).length === 0);
    const after = await run(of, doomed);
    expect(after).toEqual({
      ...before,
      graft: { items_deleted_at: expect.any(Number), samples_deleted_at: expect.any(Number) },
    });
    const shown = await items(of, doomed);
    expect(scores(shown)).toEqual(scored);
    expect(shown.map(({ datasource_item, sample }) => [datasource_item, sample])).toEqual([
      [{}, null],
      [{}, null],
    ]);
    expect(await items(of, kept)).toEqual(neighbour);
  });

  it('waits for the end of a run that uses its items', async () => {
    const of = await makeEval();
    answering = false;
    const file = await upload();
    const id = await createRun(of, ofFile(file));
    await until(async () => (await run(of, id)).status === 'in_progress');
    await api.client.files.delete(file);
    answering = true;
    await ended(of, id);
    expect((await run(of, id)).result_counts).toMatchObject({ total: 2, passed: 1, failed: 1 });
    await until(async () => (await rowsWithText(id)).length === 0);
  });

  it('leaves no run that checkpoints could repeat', async () => {
    const of = await makeEval();
    const file = await upload();
    const id = await createRun(of, ofFile(file));
    await ended(of, id);
    await api.client.files.delete(file);
    for (const name of [of, id]) {
      const body = { model: 'tiny', training_file: await uploadChats(api), graft: { eval: name } };
      const refused = await caught(api.client.fineTuning.jobs.create(body as never));
      expect([refused.status, refused.param]).toEqual([404, 'graft.eval']);
    }
  });
});

describe('deleting a model', () => {
  /** Trains an adapter with a job that is not deleted. */
  async function trainedModel(): Promise<string> {
    const training_file = await uploadChats(api);
    const pool = `pool-${pools++}`;
    const body = { model: 'tiny', training_file, graft: { pool } };
    const { id } = await api.post<JobObject>('/fine_tuning/jobs', body);
    const trainer = await new ScriptedWorker(api, { pool }).connect();
    const lease = await trainer.nextAssignment();
    await trainer.report(lease, started(0, 1), step(1));
    await trainer.finish(lease, 1);
    trainer.vanish();
    return (await api.get<JobObject>(`/fine_tuning/jobs/${id}`)).fine_tuned_model!;
  }
  const remove = (model: string) =>
    api.client.models.delete(model).then(() => null, (error: { status: number; message: string }) => error); // prettier-ignore

  it('deletes its answers', async () => {
    const model = await trainedModel();
    const of = await makeEval();
    const [doomed, kept] = [await createRun(of, inline, model), await createRun(of, inline)];
    await ended(of, doomed);
    await ended(of, kept);
    const others = await items(of, kept);
    expect((await items(of, doomed))[0]!.sample).not.toBeNull();
    expect(await remove(model)).toBeNull();
    expect((await items(of, doomed))[0]).toMatchObject({ status: 'fail', sample: null });
    const answered = `SELECT 1 FROM eval_item WHERE run_id = $1 AND sample IS NOT NULL`;
    await until(async () => (await api.query(answered, [doomed])).length === 0);
    expect(await items(of, kept)).toEqual(others);
  });

  it('is rejected while a run queries it or grades with it, or a job is to be scored by it', async () => {
    const model = await trainedModel();
    const graded = await makeEval([{ ...JUDGE, model }]);
    const template = await createRun(graded, inline);
    await ended(graded, template);
    answering = false;
    const of = await makeEval();
    const runs = [await createRun(of, inline, model), await createRun(graded, inline)];
    const job = await api.post<JobObject>('/fine_tuning/jobs', {
      model: 'tiny',
      training_file: await uploadChats(api),
      graft: { pool: `pool-${pools++}`, eval: template },
    });
    const refused = await remove(model);
    expect(refused?.status).toBe(409);
    for (const user of [...runs, `${job.id} (graft.eval)`])
      expect(refused?.message).toContain(user);
    answering = true;
    await ended(of, runs[0]!);
    await ended(graded, runs[1]!);
    await api.post(`/fine_tuning/jobs/${job.id}/cancel`);
    expect(await remove(model)).toBeNull();
  });

  it('makes a run that is being created with it fail, as the model and as the grader', async () => {
    const judge = await makeEval([{ ...JUDGE, model: await trainedModel() }]);
    const { testing_criteria } = await api.client.evals.retrieve(judge);
    const { model: judging } = testing_criteria[0] as { model: string };
    const asked = await trainedModel();
    const waits = `SELECT 1 FROM pg_stat_activity WHERE datname = current_database()
      AND wait_event_type = 'Lock' AND query LIKE '%FROM model%FOR KEY SHARE'`;
    const deletion = new pg.Client({ connectionString: api.databaseUrl });
    await deletion.connect();
    try {
      for (const [of, model, gone, param] of [
        [await makeEval(), asked, asked, 'data_source.model'],
        [judge, 'tiny', judging, 'testing_criteria.0.model'],
      ] as const) {
        await deletion.query('BEGIN');
        await deletion.query('SELECT 1 FROM model WHERE id = $1 FOR UPDATE', [gone]);
        const refused = caught(createRun(of, inline, model));
        await until(async () => (await api.query(waits)).length === 1);
        await deletion.query('DELETE FROM model WHERE id = $1', [gone]);
        await deletion.query('COMMIT');
        expect(await refused).toMatchObject({ status: 404, code: 'model_not_found', param });
      }
    } finally {
      await deletion.end();
    }
  });

  it('is rejected while a checkpoint needs it as its base', async () => {
    const pool = `pool-${pools++}`;
    const training_file = await uploadChats(api);
    const { id } = await api.post<JobObject>('/fine_tuning/jobs', {
      model: 'tiny',
      training_file,
      graft: { pool },
    });
    const trainer = await new ScriptedWorker(api, { pool }).connect();
    const lease = await trainer.nextAssignment();
    await trainer.report(lease, started(0, 2), step(1));
    const [config, state] = [
      await trainer.put(lease, 'adapter_config.json', '{"peft_type":"LORA"}'),
      await trainer.put(lease, 'state', 'at 1'),
    ];
    await trainer.report(lease, saved(1, [config, state], [config]));
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    trainer.vanish();
    expect((await remove('tiny'))?.message).toContain(id);
  });
});

describe('deleting a job permanently', () => {
  it('deletes the answers of its model and its checkpoints, and keeps items and scores', async () => {
    const pool = 'for-a-job';
    const trainer = await new ScriptedWorker(api, { pool, maxChats: 0 }).connect();
    const body = { model: 'tiny', training_file: await uploadChats(api), graft: { pool } };
    const { id } = await api.post<JobObject>('/fine_tuning/jobs', body);
    const lease = await trainer.nextAssignment();
    const config = await trainer.put(lease, 'adapter_config.json', '{"peft_type":"LORA"}');
    const state = await trainer.put(lease, 'state.safetensors', `state of ${id}`);
    await trainer.report(lease, started(0, 2), step(1));
    await trainer.report(lease, saved(1, [config, state], [config]), step(2));
    await trainer.finish(lease, 2);
    const { fine_tuned_model: model } = await api.get<JobObject>(`/fine_tuning/jobs/${id}`);
    const of = await makeEval();
    const runs = [];
    for (const name of [model!, `${model}:ckpt-step-1`, 'tiny'])
      runs.push(await createRun(of, inline, name));
    for (const one of runs) await ended(of, one);
    const others = await items(of, runs[2]!);
    await ask(api, api.apiKey, 'delete', `/v1/fine_tuning/jobs/${id}`);
    // Until it is deleted permanently, it can be restored with its answers.
    expect((await items(of, runs[0]!))[0]!.sample).not.toBeNull();
    await api.query(`UPDATE job SET deleted_at = now() - interval '8 days' WHERE id = $1`, [id]);
    for (const one of runs.slice(0, 2)) {
      await until(async () => (await run(of, one)).graft.samples_deleted_at !== null);
      const answered = `SELECT 1 FROM eval_item WHERE run_id = $1 AND sample IS NOT NULL`;
      await until(async () => (await api.query(answered, [one])).length === 0);
      const [item] = await items(of, one);
      expect(item).toMatchObject({
        status: 'fail',
        datasource_item: { word: SECRET },
        sample: null,
      });
      expect((await run(of, one)).graft.items_deleted_at).toBeNull();
    }
    expect(await items(of, runs[2]!)).toEqual(others);
    trainer.vanish();
  });
});
